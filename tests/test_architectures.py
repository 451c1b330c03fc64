"""Names of networks: what can be said of them without Keras."""

import pytest

from tfnoisekd import architectures, models


@pytest.mark.parametrize("shape", [(32, 32, 3), (17, 20, 1)])
@pytest.mark.parametrize("name", ["wrn-10-1", "wrn-16-2", "wrn-22-3"])
def test_macs_are_those_of_the_layers(name, shape):
    import keras

    total = 0
    for layer in models.from_name(name, 7, shape).layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, filters = layer.output.shape
            total += height * width * filters * layer.kernel.shape[0] * layer.kernel.shape[1] * layer.kernel.shape[2]
        elif isinstance(layer, keras.layers.Dense):
            total += layer.kernel.shape[0] * layer.kernel.shape[1]
    assert architectures.macs(name, 7, shape) == total


def test_macs_of_the_papers_networks():
    assert architectures.macs("wrn-16-2", 10, (32, 32, 3)) == 101_106_944
    assert architectures.macs("wrn-40-2", 10, (32, 32, 3)) == 327_599_360


@pytest.mark.parametrize(("name", "depth", "width"), [("wrn-16-2", 16, 2), ("wrn-40-10", 40, 10)])
def test_a_name_is_depth_and_width(name, depth, width):
    assert architectures.is_name(name) and architectures.parse_name(name) == (depth, width)


@pytest.mark.parametrize("name", ["wrn-16", "resnet-16-2", "teacher.keras", "wrn-16-2.keras", None])
def test_other_names_are_none(name):
    assert not architectures.is_name(name)
    with pytest.raises(ValueError, match="`name` must look like wrn-16-2"):
        architectures.parse_name(name)


def test_an_impossible_size_is_named():
    with pytest.raises(
        ValueError, match="`depth` must be 6n \\+ 4 .*Received: depth=17; the nearest possible depth is 16"
    ):
        architectures.parse_name("wrn-17-2")
