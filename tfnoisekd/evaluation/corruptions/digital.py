"""What software does to images: coarse pixels, JPEG, and elastic distortion."""

import io

import numpy as np
from PIL import Image
from scipy import ndimage


def pixelate(image, random, share):
    """Box-filtered down to `share` of each side, and enlarged to the old size by boxes."""
    height, width, _ = image.shape
    picture = _picture(image)
    small = picture.resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return _pixels(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image, random, quality):
    """Written as a JPEG file of `quality` on libjpeg's scale, and read again; colours at half the resolution."""
    file = io.BytesIO()
    _picture(image).save(file, "JPEG", quality=quality)
    return _pixels(Image.open(file))


def elastic_transform(image, random, stretch, smoothness, corner):
    """A random affine map, then a random displacement of each pixel; all constants are shares of the shorter side.

    Args:
        image: (height, width, channels) floats in [0, 1].
        random: `numpy.random.RandomState`.
        stretch: The displacements are uniform in -1 to 1, smoothed, and then multiplied by this.
        smoothness: Standard deviation of the Gaussian that smooths them.
        corner: Three corners of a square in the middle move by up to this, each coordinate on its own, and the image
            with them.
    """
    height, width, _ = image.shape
    side = min(height, width)
    y, x = np.mgrid[:height, :width]
    middle, half = np.array([width // 2, height // 2]), side // 3
    square = np.stack([middle + half, middle + np.array([half, -half]), middle - half])
    moved = square + random.uniform(-corner * side, corner * side, (3, 2))
    # Where each pixel of the warped image was before: the affine map that takes the moved corners back.
    back = np.linalg.solve(np.column_stack([moved, np.ones(3)]), square)
    before = np.stack([x, y, np.ones_like(x)], axis=-1) @ back
    warped = _sampled(image, before[..., 1], before[..., 0], "mirror")
    right, down = (
        stretch * side * ndimage.gaussian_filter(noise, smoothness * side, mode="reflect", truncate=3)
        for noise in random.uniform(-1, 1, (2, height, width))
    )
    return _sampled(warped, y + down, x + right, "reflect")


def _sampled(image, y, x, mode):
    """`image` at the places (y, x), between its pixels by bilinear interpolation."""
    layers = (ndimage.map_coordinates(layer, (y, x), order=1, mode=mode) for layer in np.moveaxis(image, 2, 0))
    return np.stack(list(layers), axis=2)


def _picture(image):
    levels = np.rint(image * 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def _pixels(picture):
    levels = np.asarray(picture)
    return levels.reshape(*levels.shape[:2], -1) / 255
