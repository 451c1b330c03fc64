"""What a `Distiller` accepts: its arguments, checked and made uniform, with errors that say the way out."""

import inspect
import math

import keras

from tfnoisekd import inspection
from tfnoisekd.distillation_losses import DistillationLoss, Hinton
from tfnoisekd.keras_losses import Weighted
from tfnoisekd.noise import Noise


def as_losses(losses, teacher):
    if losses is None:
        losses = () if teacher is None else (Hinton(),)
    losses = tuple(losses) if isinstance(losses, (list, tuple)) else (losses,)
    for loss in losses:
        if not isinstance(loss, keras.distillation.DistillationLoss):
            raise ValueError(f"`losses` must hold distillation losses such as `Hinton()`. Received: {loss!r}")
    if losses and teacher is None:
        raise ValueError(f"`losses` need a teacher. Received: teacher=None, losses={list(losses)}")
    if sum(isinstance(loss, Hinton) for loss in losses) > 1:
        raise ValueError(f"`losses` may hold one `Hinton`, whose alpha is Eq. 1's. Received: {list(losses)}")
    return tuple(loss if isinstance(loss, DistillationLoss) else Weighted(loss) for loss in losses)


def term_names(losses):
    """Under which name each term of each loss is logged: its own, numbered where two are equal."""
    taken, names = set(), []
    for loss in losses:
        names.append({})
        for term in loss.weights:
            number, name = 1, term
            while name in taken:
                number += 1
                name = f"{term}_{number}"
            taken.add(name)
            names[-1][term] = f"{name}_loss"
    return names


def layer_names(losses, role):
    """Names of all layers of a network ("teacher" or "student") that some losses read."""
    found = set()
    for loss in losses:
        layers = getattr(loss, f"{role}_layers")
        found.update(layers if isinstance(layers, tuple) else () if layers is None else (layers,))
    return found


def as_noises(noises):
    noises = tuple(noises) if isinstance(noises, (list, tuple)) else (noises,)
    for noise in noises:
        if not isinstance(noise, Noise):
            raise ValueError(f"`noise` must hold noises such as `InputNoise(0.05)`. Received: {noise!r}")
    kinds = [type(noise).__name__ for noise in noises]
    repeated = sorted({kind for kind in kinds if kinds.count(kind) > 1})
    if repeated:
        raise ValueError(f"`noise` may hold one noise of each kind. Received: {kinds.count(repeated[0])} {repeated[0]}")
    return noises


def check_models(teacher, student, from_logits):
    for role, model in (("teacher", teacher), ("student", student)):
        if model is None and role == "teacher":
            continue
        if not isinstance(model, keras.Model):
            raise ValueError(f"`{role}` must be a keras.Model. Received: {model!r}")
        if role == "student" and not model.built and teacher is not None and inspection.input_shape(teacher):
            model.build((None, *inspection.input_shape(teacher)))
        if not model.built:
            raise ValueError(
                f"`{role}` must be built. Received: '{model.name}' without a known input shape; "
                "give it a `keras.Input`, or call it once on a batch."
            )
        inspection.check_outputs(model, role, from_logits)
    if teacher is None:
        return
    shapes = [inspection.output_shape(model) for model in (teacher, student)]
    if None not in shapes and shapes[0] != shapes[1]:
        raise ValueError(
            "`teacher` and `student` must have outputs of the same shape (the same classes). "
            f"Received: teacher {shapes[0]}, student {shapes[1]}"
        )
    shared = {id(v) for v in teacher.weights} & {id(v) for v in student.weights}
    if shared:
        raise ValueError(
            f"`teacher` and `student` must not share weights. Received: {len(shared)} shared variables; freezing the "
            "teacher would freeze the student. Use keras.models.clone_model."
        )


def check_noise(noises, teacher, student):
    shape = inspection.output_shape(student)
    for noise in noises:
        classes = noise.get_config().get("num_classes")
        if classes is not None and shape is not None and classes != shape[-1]:
            raise ValueError(f"`num_classes` of {noise!r} must equal the student's {shape[-1]} outputs")
        if not noise.fickle_teacher:
            continue
        if teacher is None:
            raise ValueError("`TeacherDropout` needs a teacher. Received: teacher=None")
        moved = inspection.moved_in_training(teacher)
        if moved:
            raise ValueError(
                f"`TeacherDropout` must leave the teacher as it is. Received: '{teacher.name}', whose {moved[0]} moves "
                "with every forward pass in training mode, frozen or not; use a teacher without such a layer."
            )
        if not inspection.varies_in_training(teacher):
            raise ValueError(
                f"`TeacherDropout` needs a teacher with active dropout. Received: '{teacher.name}' without a dropout "
                "layer of a positive rate, so the noise would do nothing. Train the teacher with dropout first, for "
                "example wide_resnet(40, 2, dropout=0.4)."
            )


def cross_entropy_weight(given, losses):
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < math.inf:
            raise ValueError(f"`student_loss_weight` must be a number of at least 0. Received: {given!r}")
        return float(given)
    implied = [loss.student_loss_weight for loss in losses if isinstance(loss, Hinton)]
    return implied[0] if implied else 1.0


def resolve_loss(loss, from_logits):
    """A loss that reads the models' outputs as what they are."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        return resolve_loss(loss[0], from_logits)
    if isinstance(loss, (list, tuple, dict)):
        raise ValueError(f"`loss` must be one loss, for the one output of the models. Received: loss={loss!r}")
    if loss is None:
        loss = "sparse_categorical_crossentropy"
    by_name = {
        "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
        "SparseCategoricalCrossentropy": keras.losses.SparseCategoricalCrossentropy,
        "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "CategoricalCrossentropy": keras.losses.CategoricalCrossentropy,
    }
    if isinstance(loss, str):
        loss = by_name[loss](from_logits=from_logits) if loss in by_name else keras.losses.get(loss)
    if inspect.isfunction(loss) and from_logits and "from_logits" in inspect.signature(loss).parameters:
        raise ValueError(
            "`loss` must be made with from_logits=True, as the distiller is: pass an object such as "
            f"`SparseCategoricalCrossentropy(from_logits=True)`. Received: the function {loss.__name__}"
        )
    if isinstance(loss, keras.losses.Loss):
        expects_logits = loss.get_config().get("from_logits", from_logits)
        if expects_logits != from_logits:
            raise ValueError(
                f"`loss` must be made with from_logits={from_logits}, as the distiller is. "
                f"Received: {type(loss).__name__}(from_logits={expects_logits})"
            )
    return loss


def check_labels(labels, outputs, loss):
    """Refuses one-hot labels for a loss of integer labels, in words that Keras does not find."""
    sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    if sparse and len(labels.shape) == 2 and labels.shape[1] == outputs.shape[1] != 1:
        raise ValueError(
            "`loss` must fit the labels: for one-hot labels compile with loss='categorical_crossentropy'. "
            f"Received: labels of shape {tuple(labels.shape)} and SparseCategoricalCrossentropy, the default"
        )
