"""Wide residual networks, by size or by name, and saved models from files."""

import zipfile

import keras
from keras import layers

from tfnoisekd import pretrained
from tfnoisekd.architectures import GROUP_WIDTHS, check_size, parse_name


def wide_resnet(depth, width, num_classes=10, input_shape=(32, 32, 3), dropout=0.0):
    """A pre-activation Wide ResNet, WRN-`depth`-`width` (Zagoruyko & Komodakis, 2016), that outputs logits.

    The networks of the paper: WRN-40-2 teaches (2,243,546 trainable parameters at 10 classes, 32x32x3), WRN-16-2
    learns (691,674). The model is functional and made of plain Keras layers only, so that a machine without this
    package can load it. Features by layer name: `group1`, `group2`, `group3` (the raw residual sum at the end of each
    group), `embedding` (the global average pool) and `logits`.

    Args:
        depth: Number of layers, 6n + 4 with n >= 1 blocks in each of the three groups: 10, 16, 22, 28, 40, ...
        width: Widening factor k >= 1; the groups have 16k, 32k and 64k channels.
        num_classes: Number of logits, at least 2.
        input_shape: (height, width, channels) of the images, whose values lie in [0, 1]; height and width at least 4.
        dropout: Rate in [0, 1) of the dropout between the second ReLU and the second convolution of each block; at 0
            no dropout layer is made. A teacher for `TeacherDropout` needs a rate above 0.

    Returns:
        A `keras.Model`: float images (batch, height, width, channels) -> float32 logits (batch, num_classes).

    Raises:
        ValueError: If an argument is outside the ranges above.

    Example:

    >>> student = wide_resnet(16, 2)
    >>> student.get_layer("embedding").output.shape
    (None, 128)
    """
    _check_wide_resnet(depth, width, num_classes, input_shape, dropout)
    blocks = (depth - 4) // 6
    inputs = keras.Input(tuple(input_shape), name="image")
    x = _conv(16, 3, 1, "stem")(inputs)
    for group, base in enumerate(GROUP_WIDTHS, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if group > 1 and block == 1 else 1
            end = f"group{group}" if block == blocks else None
            x = _block(x, base * width, stride, dropout, f"group{group}_block{block}", end)
    x = _norm_relu(x, "final")
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    # float32 also under mixed precision: temperatures and small robustness gradients need the range.
    x = layers.Dense(num_classes, kernel_initializer="he_normal", dtype="float32", name="logits")(x)
    return keras.Model(inputs, x, name=f"wrn_{depth}_{width}")


def from_name(name, num_classes, input_shape, dropout=0.0):
    """The Wide ResNet that a name such as "wrn-16-2" stands for; see `wide_resnet`.

    Raises:
        ValueError: If the name is not of that form, or names an impossible network.
    """
    return wide_resnet(*parse_name(name), num_classes, input_shape, dropout)


def load(path, *, unsafe=False):
    """Loads a saved Keras model in Keras's safe mode.

    Args:
        path: A `.keras` (or legacy `.h5`) file, or a network that comes with the package: "pretrained:student".
        unsafe: Also load files that carry code, such as lambda layers. Only for files you trust.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no Keras model, is damaged, or would need `unsafe`, or no network of the package.
    """
    path = pretrained.resolved(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no model file {path}")
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a Keras model that can be read: it is damaged or incomplete")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        if not unsafe and ("safe_mode" in reason or "lambda" in reason.lower()):
            raise ValueError(
                f"{path} carries Python code, which is not run unless you trust the file and say so: "
                "`--unsafe` on the command line, unsafe=True in Python"
            ) from error
        raise ValueError(f"{path} is not a Keras model that can be read: {reason[:200]}") from error


def copied(model):
    """A copy of a model on weights of its own, made for the devices of its surroundings."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _check_wide_resnet(depth, width, num_classes, input_shape, dropout):
    check_size(depth, width)
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"`num_classes` must be an integer of at least 2. Received: num_classes={num_classes!r}")
    if len(input_shape) != 3 or any(side is not None and side < 4 for side in input_shape[:2]):
        raise ValueError(
            "`input_shape` must be (height, width, channels) with height and width of at least 4. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be at least 0 and below 1. Received: dropout={dropout!r}")


def _conv(filters, size, stride, name):
    return layers.Conv2D(
        filters, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )


def _norm_relu(x, name):
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _block(x, filters, stride, dropout, name, end):
    out = _norm_relu(x, f"{name}_1")
    # Where the shape changes, the shortcut sees the pre-activated input; elsewhere it is the identity.
    shortcut = x if x.shape[-1] == filters else _conv(filters, 1, stride, f"{name}_shortcut")(out)
    out = _conv(filters, 3, stride, f"{name}_conv1")(out)
    out = _norm_relu(out, f"{name}_2")
    if dropout:
        out = layers.Dropout(dropout, name=f"{name}_dropout")(out)
    out = _conv(filters, 3, 1, f"{name}_conv2")(out)
    return layers.Add(name=end or f"{name}_sum")([shortcut, out])
