"""The names of wide residual networks, and what can be said of a network by its name, without Keras."""

import math
import re

GROUP_WIDTHS = (16, 32, 64)


def is_name(name):
    """Whether a string names a network (wrn-DEPTH-WIDTH) rather than a file."""
    return re.fullmatch(r"wrn-\d+-\d+", str(name)) is not None


def parse_name(name):
    """(depth, width) of a name such as "wrn-16-2".

    Raises:
        ValueError: If the name is not of that form, or names an impossible network.
    """
    if not is_name(name):
        raise ValueError(f"`name` must look like wrn-16-2. Received: {name}")
    depth, width = (int(part) for part in name.split("-")[1:])
    check_size(depth, width)
    return depth, width


def check_size(depth, width):
    """Raises a ValueError unless there is a network of that depth and width."""
    if not isinstance(depth, int) or depth < 10 or (depth - 4) % 6:
        nearest = max(10, 6 * round((depth - 4) / 6) + 4) if isinstance(depth, (int, float)) else 16
        raise ValueError(
            f"`depth` must be 6n + 4 with n >= 1 (10, 16, 22, 28, 34, 40, ...). Received: depth={depth!r}; "
            f"the nearest possible depth is {nearest}."
        )
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"`width` must be an integer of at least 1. Received: width={width!r}")


def macs(name, num_classes, input_shape):
    """Multiply-accumulates of one image through a network, those of its convolutions and its dense layer.

    Args:
        name: Such as "wrn-16-2".
        num_classes: Number of logits.
        input_shape: (height, width, channels) of the images.

    Returns:
        An integer; 101,106,944 for a WRN-16-2 with 10 classes on 32x32x3.

    Raises:
        ValueError: If there is no such network.
    """
    depth, width = parse_name(name)
    height, width_of_image, channels = input_shape
    total, positions = height * width_of_image * 9 * channels * 16, height * width_of_image
    incoming = 16
    for group, base in enumerate(GROUP_WIDTHS):
        filters = base * width
        if group:  # a stride of 2 with padding rounds up
            height, width_of_image = math.ceil(height / 2), math.ceil(width_of_image / 2)
            positions = height * width_of_image
        for _ in range((depth - 4) // 6):
            shortcut = incoming * filters if incoming != filters else 0
            total += positions * (9 * incoming * filters + 9 * filters * filters + shortcut)
            incoming = filters
    return total + incoming * num_classes
