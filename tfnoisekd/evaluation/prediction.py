"""Predictions: the logits of a model for images, in batches of one size, with every mistake named."""

import numpy as np

from tfnoisekd.evaluation.calibration import check_logits


def predict_logits(model, images, batch_size=256):
    """A model's logits for images, in inference mode: no dropout, BatchNorm with its moving statistics.

    Args:
        model: A `keras.Model` with one image input and one output.
        images: Array (n, height, width, channels), uint8 or float in [0, 1]; uint8 is scaled to [0, 1] batch by batch,
            so that a large set never lies in memory as floats.
        batch_size: Images per forward pass.

    Returns:
        float32 array (n, num_classes).

    Raises:
        ValueError: If the images are empty, out of range or of a shape the model does not take, or the logits are not
            finite.

    Example:

    >>> predict_logits(wide_resnet(10, 1), np.zeros((3, 32, 32, 3), "uint8")).shape
    (3, 10)
    """
    check_images(images, image_shape(model))
    logits = []
    for batch in unit_batches(images, batch_size):
        # The last batch is filled up to the size of the others: another shape would be compiled for anew.
        missing = min(batch_size, len(images)) - len(batch)
        padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge") if missing else batch
        logits.append(_single_output(model.predict_on_batch(padded))[: len(batch)])
    return check_logits(np.concatenate(logits), f"logits of {model.name}")


def image_shape(model):
    """(height, width, channels) that a model takes, None where it leaves a side open; None if it does not know yet.

    Raises:
        ValueError: If the model takes several inputs.
    """
    try:
        shape = model.input_shape
    except AttributeError:  # Keras knows the input of a subclassed model only from its first call or build
        config = model.get_build_config() or {}
        shape = config.get("input_shape", config.get("shapes_dict"))
    if shape is None:
        return None
    if isinstance(shape, dict) or any(isinstance(side, (tuple, list, dict)) for side in shape):
        raise ValueError(f"`model` must take one input, a batch of images. Received: inputs of shapes {shape}")
    return tuple(shape[1:])


def check_images(images, expected=None):
    """Raises a ValueError unless these are images (n, height, width, channels) of the expected shape and a known type.

    Values are checked by `unit_batches`, which has them in hand anyway.
    """
    shape, dtype = np.shape(images), np.asarray(images[:1]).dtype if len(images) else np.dtype("uint8")
    if len(shape) != 4 or not shape[0]:
        raise ValueError(
            "`images` must have shape (n, height, width, channels) with at least one image. "
            f"Received: shape {shape}; a single image needs a batch axis, image[None]."
        )
    if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
        raise ValueError(f"`images` must be uint8 in 0..255 or float in [0, 1]. Received: dtype {dtype}")
    if expected is not None and (
        len(expected) != 3 or any(want not in (None, got) for want, got in zip(expected, shape[1:], strict=True))
    ):
        raise ValueError(
            f"`images` must have the shape that the model takes, (n, {', '.join(map(str, expected))}). "
            f"Received: shape {shape}; resize the images or choose a model built for them."
        )


def unit_batches(images, batch_size=256):
    """Yields float32 batches in [0, 1] of images that are uint8, or float and in [0, 1] already."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be an integer of at least 1. Received: batch_size={batch_size!r}")
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size])
        if batch.dtype == np.uint8:
            batch = batch.astype(np.float32) / np.float32(255)
        low, high = batch.min(), batch.max()
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            raise ValueError(
                "`images` of a float type must lie in [0, 1]. "
                f"Received: values from {low} to {high}; divide by 255, or pass uint8."
            )
        yield batch.astype(np.float32, copy=False)


def _single_output(outputs):
    if isinstance(outputs, (tuple, list, dict)) or np.ndim(outputs) != 2:
        shapes = np.shape(outputs) if isinstance(outputs, np.ndarray) else f"{len(outputs)} outputs"
        raise ValueError(f"`model` must give one output, logits (batch, num_classes). Received: {shapes}")
    return np.asarray(outputs).astype(np.float32)
