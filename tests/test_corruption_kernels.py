"""What each corruption does to an image, against its definition: statistics, references of other libraries, by hand."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tfnoisekd.evaluation.corruptions import blur, digital, fractal, frost_textures, light, noise, spatter, weather
from tfnoisekd.evaluation.corruptions.levels import quantise
from tfnoisekd.evaluation.corruptions.motion import motion_kernel, move
from tfnoisekd.evaluation.corruptions.zoom import zoom


@pytest.fixture
def random():
    return np.random.RandomState(0)


@pytest.fixture
def image():
    return np.random.RandomState(1).randint(0, 256, (32, 32, 3)) / 255


def flat(value, side=200, channels=3):
    return np.full((side, side, channels), float(value))


def moments(kernel):
    """(total, mean y, mean x, variance y, variance x) of weights around their middle."""
    y, x = np.indices(kernel.shape) - np.array(kernel.shape).reshape(2, 1, 1) // 2
    total, (my, mx) = kernel.sum(), ((kernel * each).sum() for each in (y, x))
    return total, my, mx, (kernel * (y - my) ** 2).sum(), (kernel * (x - mx) ** 2).sum()


def spread_of_a_point(corrupt, side=33):
    """The moments of what becomes of one white pixel."""
    point = np.zeros((side, side, 1))
    point[side // 2, side // 2] = 1
    return moments(corrupt(point)[..., 0])


def test_levels_are_cut_off_but_not_by_a_rounding_error():
    values = np.array([-0.2, 0.0, 0.99 / 255, (1 - 1e-9) / 255, 1.5 / 255, 254.99 / 255, 1.0, 7.0])
    assert quantise(values).tolist() == [0, 0, 0, 1, 1, 254, 255, 255]
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantise(levels / 255), levels)


def test_gaussian_noise_has_its_deviation_everywhere(random):
    for value in (0.1, 0.9):
        added = noise.gaussian_noise(flat(value), random, 0.08) - value
        assert (added.mean(), added.std()) == pytest.approx((0, 0.08), abs=1e-3)


def test_shot_noise_counts_photons(random):
    seen = noise.shot_noise(flat(0.4), random, 50)
    np.testing.assert_allclose(seen * 50, np.round(seen * 50), atol=1e-9)
    assert (seen.mean(), seen.var()) == pytest.approx((0.4, 0.4 / 50), rel=0.02)


def test_impulse_noise_hits_each_value_on_its_own(random):
    seen = noise.impulse_noise(flat(0.4), random, 0.07)
    black, white = seen == 0, seen == 1
    assert set(np.unique(seen)) == {0, 0.4, 1}
    assert (black.mean(), white.mean()) == pytest.approx((0.035, 0.035), rel=0.05)
    assert (black | white).all(axis=2).mean() == pytest.approx(0.07**3, abs=4e-4)


def test_speckle_noise_grows_with_the_value(random):
    for value in (0.0, 0.2, 0.8):
        added = noise.speckle_noise(flat(value), random, 0.16) - value
        assert added.std() == pytest.approx(0.16 * value, rel=0.01)


@pytest.mark.parametrize("sigma", [0.4, 0.6, 0.7, 0.8, 1.0])
def test_gaussian_blur_spreads_a_point_as_a_sampled_gaussian(sigma):
    steps = np.arange(-8, 9)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    variance = (weights * steps**2).sum() / weights.sum()
    total, my, mx, vy, vx = spread_of_a_point(lambda point: blur.gaussian_blur(point, None, sigma))
    assert (total, my, mx) == pytest.approx((1, 0, 0), abs=1e-9)
    assert (vy, vx) == pytest.approx((variance, variance), rel=1e-2)


@pytest.mark.parametrize(
    "radius, alias, pixels", [(0.3, 0.4, 1), (0.4, 0.5, 1), (0.5, 0.6, 1), (1, 0.2, 5), (1.5, 0.1, 9)]
)
def test_defocus_blur_is_a_smoothed_disk(radius, alias, pixels):
    inside = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if y * y + x * x <= radius * radius]
    assert len(inside) == pixels
    rim = np.exp(-1 / (2 * alias**2))  # of three taps rim, 1, rim
    variance = sum(y * y for y, _ in inside) / pixels + 2 * rim / (1 + 2 * rim)
    total, my, mx, vy, vx = spread_of_a_point(lambda point: blur.defocus_blur(point, None, radius, alias))
    assert (total, my, mx) == pytest.approx((1, 0, 0), abs=1e-9)
    assert (vy, vx) == pytest.approx((variance, variance), abs=1e-6)


def test_glass_blur_takes_each_of_four_neighbours_equally_often(random):
    numbered = np.zeros((202, 202, 3))
    numbered[..., 0], numbered[..., 1] = np.indices((202, 202)) / 255
    # Without blur (sigma 0.05 is none), a pixel's colour says where it comes from.
    source = np.rint(blur.glass_blur(numbered, random, 0.05, 1) * 255)
    down, right = (source[..., axis] - np.indices((202, 202))[axis] for axis in (0, 1))
    assert not down[:2].any() and not right[:, :2].any()
    for step in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert np.mean((down[2:, 2:] == step[0]) & (right[2:, 2:] == step[1])) == pytest.approx(0.25, abs=0.01)
    twice = np.rint(blur.glass_blur(numbered, random, 0.05, 2) * 255)[..., 0] - np.indices((202, 202))[0]
    assert twice.min() == -2 and twice[4:, 4:].mean() == pytest.approx(-1, abs=0.02)


def test_glass_blur_blurs_before_and_after(random):
    step = np.zeros((32, 32, 1))
    step[:16] = 1
    rows = blur.glass_blur(step, random, 0.4, 1)[:, :, 0].mean(axis=1)
    near = np.isin(np.arange(32), range(14, 19))
    np.testing.assert_allclose(rows[~near], np.arange(32)[~near] < 16, atol=1e-6)
    assert 0.01 < rows[16] < 0.99
    np.testing.assert_allclose(blur.glass_blur(flat(0.6, 32), random, 0.4, 2), 0.6, atol=1e-9)


# One white pixel under `convert -depth 8 -motion-blur 3x1.5+ANGLE` of ImageMagick 6.9.11: (down, right, level).
IMAGEMAGICK = {
    30: [(-2, -3, 3), (-1, -3, 14), (-1, -2, 44), (0, -1, 85), (0, 0, 107)],
    -60: [(0, 0, 107), (1, -1, 85), (2, -1, 44), (3, -2, 17)],
    117: [(-4, 2, 3), (-3, 1, 14), (-2, 1, 44), (-1, 0, 85), (0, 0, 107)],
}


@pytest.mark.parametrize("angle", IMAGEMAGICK)
def test_motion_blur_is_that_of_imagemagick(angle):
    point = np.zeros((13, 13, 1))
    point[6, 6] = 1
    levels = quantise(move(point, 3, 1.5, angle))[..., 0]
    found = [(int(y) - 6, int(x) - 6, int(levels[y, x])) for y, x in zip(*np.nonzero(levels), strict=True)]
    assert found == IMAGEMAGICK[angle]


@pytest.mark.parametrize("radius, sigma", [(6, 1), (8, 2), (9, 2.5), (14, 12)])
def test_motion_blur_is_half_a_gaussian_along_a_line(radius, sigma):
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2)) / np.exp(-(steps**2) / (2 * sigma**2)).sum()
    mean = (weights * steps).sum()
    variance = (weights * (steps - mean) ** 2).sum()
    for angle, y, x in ((0, 0, 1), (90, 1, 0), (180, 0, -1)):
        total, my, mx, vy, vx = moments(motion_kernel(radius, sigma, angle))
        assert (total, my, mx) == pytest.approx((1, mean * y, mean * x), abs=1e-9)
        assert (vy, vx) == pytest.approx((variance * abs(y), variance * abs(x)), abs=1e-9)
    total, my, mx, vy, vx = moments(motion_kernel(radius, sigma, 45))
    assert (my, mx) == pytest.approx((mean / 2**0.5,) * 2, abs=0.3)
    assert vy + vx == pytest.approx(variance, abs=1 / 6)  # rounding to whole pixels adds up to 1/12 a coordinate


def test_motion_blur_repeats_the_edge_and_draws_its_angle(image, random):
    np.testing.assert_allclose(move(flat(0.3, 16), 9, 2.5, 77), 0.3)
    angles = [np.random.RandomState(seed).uniform(-45, 45) for seed in range(2)]
    for seed, angle in enumerate(angles):
        moved = blur.motion_blur(image, np.random.RandomState(seed), 6, 2)
        np.testing.assert_allclose(moved, move(image, 6, 2, angle))


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.05, 1.15, 1.24, 1.75, 2.25])
@pytest.mark.parametrize("side", [31, 32])
def test_zoom_is_scipys_zoom_of_the_middle(factor, side, random):
    image = random.uniform(size=(side, side, 2))
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    zoomed = ndimage.zoom(image[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    cut = (len(zoomed) - side) // 2
    np.testing.assert_allclose(zoom(image, factor), zoomed[cut : cut + side, cut : cut + side], atol=1e-12)


def test_zoom_blur_is_the_mean_of_the_image_and_its_zooms(image):
    expected = (2 * image + zoom(image, 1.1) + zoom(image, 1.2)) / 4
    np.testing.assert_allclose(blur.zoom_blur(image, None, (1.0, 1.1, 1.2)), expected)
    np.testing.assert_allclose(blur.zoom_blur(flat(0.7, 30), None, (1.0, 1.05)), 0.7)


def test_clouds_fill_their_range_repeat_and_get_rougher():
    roughness = []
    for decay in (3, 2.5, 2, 1.75):
        maps = [fractal.clouds(32, decay, np.random.RandomState(seed)) for seed in range(40)]
        assert all((each.min(), each.max()) == (0, 1) for each in maps)
        steps = np.mean([np.abs(np.diff(each, axis=0)).mean() for each in maps])
        seam = np.mean([np.abs(each[0] - each[-1]).mean() for each in maps])
        assert seam == pytest.approx(steps, rel=0.35)
        roughness.append(steps)
    assert roughness == sorted(roughness)


def test_clouds_displace_each_octave_less_by_the_square_of_the_decay():
    # Around the mean of its four neighbours, a point in the middle of four is uniform in -amplitude to amplitude.
    ratios = []
    for seed in range(60):
        heights = fractal.clouds(32, 2, np.random.RandomState(seed))
        residuals = []
        for step in (2, 4, 8):
            corners = heights[::step, ::step]
            pairs = corners + np.roll(corners, -1, axis=1)
            middle = heights[step // 2 :: step, step // 2 :: step]
            residuals.append((middle - (pairs + np.roll(pairs, -1, axis=0)) / 4).std())
        ratios.append([residuals[1] / residuals[0], residuals[2] / residuals[1]])
    np.testing.assert_allclose(np.median(ratios, axis=0), [4, 4], rtol=0.1)


def test_fog_keeps_the_highest_value_and_black_images_black(random):
    foggy = weather.fog(flat(0.8, 32), random, 1.5, 1.75)
    assert foggy.max() == pytest.approx(0.8 * (0.8 + 1.5) / (0.8 + 1.5))
    assert foggy.min() == pytest.approx(0.8 * 0.8 / (0.8 + 1.5))
    assert not weather.fog(flat(0, 32), random, 1.5, 1.75).any()


def test_frost_lays_a_crop_of_a_texture_over_the_image(image, random):
    frosted = weather.frost(image, random, 0.75, 0.45)
    crop = (frosted - 0.75 * image) / 0.45
    found = []
    for texture in frost_textures.textures():
        corners = np.abs(texture[:97, :97] - crop[0, 0]).max(axis=2) < 1e-9
        found += [texture[y : y + 32, x : x + 32] for y, x in zip(*np.nonzero(corners), strict=True)]
    assert any(np.allclose(each, crop, atol=1e-9) for each in found)
    large = weather.frost(flat(0, 300), random, 1, 0.2)  # larger than a texture
    assert large.shape == (300, 300, 3) and 0.2 * 0.1 < large.mean() < 0.2


def test_drawn_frost_has_the_colours_of_the_photographs():
    for texture, (mean, stddev, _) in zip(frost_textures.textures(), frost_textures.DRAWN, strict=True):
        assert texture.min() >= 0 and texture.max() <= 1
        np.testing.assert_allclose(255 * texture.mean(axis=(0, 1)), mean, atol=2)
        np.testing.assert_allclose(255 * texture.std(axis=(0, 1)), stddev, atol=2)


def test_photographs_of_frost_come_from_a_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`frost` must be a folder that holds frost1.png.*no file .*frost1.png"
    ):
        frost_textures.textures(str(tmp_path))
    for number, name in enumerate(frost_textures.PHOTOGRAPHS):
        Image.fromarray(np.full((200, 250, 3), (200, 100, 10 * number), np.uint8)).save(tmp_path / name, quality=100)
    textures = frost_textures.textures(str(tmp_path))
    assert [texture.shape for texture in textures] == [(40, 50, 3)] * 5
    np.testing.assert_allclose(255 * textures[2].mean(axis=(0, 1)), [200, 100, 20])  # red first
    (tmp_path / "frost2.png").write_text("none")
    frost_textures.textures.cache_clear()
    with pytest.raises(ValueError, match=r"`frost` must be a folder of images. Received: .*frost2.png"):
        frost_textures.textures(str(tmp_path))


def test_snow_falls_twice_and_whitens(random):
    snowy = weather.snow(flat(0, 32), random, 0.1, 0.2, 1, 0.5, 10, 4, 0.9)
    fallen = snowy - 0.1 * 0.5  # black is whitened to 0.5, and that counts 0.1
    assert fallen.min() == pytest.approx(0, abs=1e-12) and fallen.max() > 0.05
    np.testing.assert_allclose(fallen, fallen[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(fallen, fallen[..., :1].repeat(3, axis=2), atol=1e-12)
    without = weather.snow(flat(0.8, 16), random, 0, 0.01, 1, 0.5, 10, 4, 0.9)
    np.testing.assert_allclose(without, 0.9 * 0.8 + 0.1 * (1.5 * 0.8 + 0.5))
    assert np.mean(fallen > 0.02) < 0.6  # flakes, not a sheet


def hsv(image, change):
    """`change` of each pixel's (hue, saturation, value), by the standard library."""
    changed = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in image.reshape(-1, 3)]
    return np.reshape(changed, image.shape)


def with_greys(image):
    image = image.copy()
    image[0], image[1, :3] = image[0, :, :1], [[0, 0, 0], [1, 1, 1], [0, 1, 0]]
    return image


def test_brightness_adds_to_the_value_of_hsv(image):
    image = with_greys(image)
    expected = hsv(image, lambda h, s, v: (h, s, min(v + 0.3, 1)))
    np.testing.assert_allclose(light.brightness(image, None, 0.3), expected, atol=1e-12)
    np.testing.assert_allclose(light.brightness(image[..., :1], None, 0.3), np.minimum(image[..., :1] + 0.3, 1))


@pytest.mark.parametrize("factor, offset", [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)])
def test_saturate_changes_the_saturation_of_hsv(image, factor, offset):
    image = with_greys(image)
    expected = hsv(image, lambda h, s, v: (h, min(s * factor + offset, 1), v))
    np.testing.assert_allclose(light.saturate(image, None, factor, offset), expected, atol=1e-12)


def test_contrast_keeps_the_mean_of_each_channel_and_scales_the_rest(image):
    seen = light.contrast(image, None, 0.4)
    np.testing.assert_allclose(seen.mean(axis=(0, 1)), image.mean(axis=(0, 1)))
    np.testing.assert_allclose(seen.std(axis=(0, 1)), 0.4 * image.std(axis=(0, 1)))


def test_pixelate_makes_blocks_of_their_means(image):
    seen = digital.pixelate(image, None, 0.5)
    blocks = image.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(seen, blocks.repeat(2, axis=0).repeat(2, axis=1), atol=1.01 / 255)  # rounded twice
    for share, side in ((0.95, 30), (0.9, 28), (0.85, 27), (0.75, 24), (0.65, 20)):
        rows = quantise(digital.pixelate(image, None, share))
        assert 1 + np.any(rows[1:] != rows[:-1], axis=(1, 2)).sum() == side


def test_jpeg_is_pillows_and_loses_more_at_lower_quality(image):
    smooth = blur.gaussian_blur(image, None, 1)
    losses = []
    for quality in (80, 65, 58, 50, 40):
        file = io.BytesIO()
        Image.fromarray(np.rint(smooth * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
        seen = digital.jpeg_compression(smooth, None, quality)
        np.testing.assert_array_equal(quantise(seen), np.asarray(Image.open(file)))
        losses.append(np.square(seen - smooth).mean())
    assert losses == sorted(losses)
    # The second time, nearly nothing is left to lose; and one channel is a grey JPEG.
    again = digital.jpeg_compression(seen, None, 40)
    assert np.square(again - seen).mean() < 0.2 * losses[-1]
    assert digital.jpeg_compression(smooth[..., :1], None, 40).shape == (32, 32, 1)


def ramps(height, width):
    """An image whose first two channels say which column and row a pixel is from."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, x * 0], axis=2) / 100


def test_elastic_transform_without_displacement_changes_nothing(image, random):
    np.testing.assert_allclose(digital.elastic_transform(image, random, 0, 0, 0), image, atol=1e-6)


@pytest.mark.parametrize("stretch, smoothness", [(0.05, 0.2), (0.08, 0.06), (0.1, 0.04), (0.1, 0.03)])
def test_elastic_transform_displaces_by_smoothed_noise(stretch, smoothness):
    side, sigma = 64, 64 * smoothness
    line = np.exp(-(np.arange(-int(3 * sigma + 0.5), int(3 * sigma + 0.5) + 1) ** 2) / (2 * sigma**2))
    line /= line.sum()
    expected = stretch * side * np.sqrt(1 / 3) * (line**2).sum()  # of the mean of independent uniform draws, in 2-D
    moved = [
        100 * digital.elastic_transform(ramps(side, side), np.random.RandomState(seed), stretch, smoothness, 0)
        - 100 * ramps(side, side)
        for seed in range(20)
    ]
    inner = np.stack(moved)[:, 20:-20, 20:-20, :2]
    assert np.sqrt(np.square(inner).mean()) == pytest.approx(expected, rel=0.25)


def test_elastic_transform_moves_three_corners_by_at_most_its_share(image):
    inner = slice(11, 22)  # between the corners, where no mirrored edge is seen
    largest = 0
    for seed in range(50):
        moved = 100 * (
            digital.elastic_transform(ramps(32, 32), np.random.RandomState(seed), 0, 0, 0.08) - ramps(32, 32)
        )
        largest = max(largest, np.abs(moved[inner, inner, :2]).max())
    assert 0.08 * 32 / 2 < largest < 0.08 * 32 * 2  # the inverse map, between the corners and a little beyond


def test_mud_covers_with_its_colour_and_water_only_adds(image, random):
    mud = spatter.spatter(flat(1, 64), random, 0.65, 0.1, 0.5, 0.68, 0.6, True)
    covered = (mud < 0.99).any(axis=2)
    assert 0.02 < covered.mean() < 0.4
    share = (1 - mud[covered]) / (1 - spatter.MUD)
    np.testing.assert_allclose(share, share[:, :1].repeat(3, axis=1), atol=1e-9)
    assert share.min() >= 0.8
    water = spatter.spatter(image, random, 0.65, 0.3, 1, 0.69, 0.5, False) - image
    assert water.min() >= 0 and (water > 0.1).any() and water.max() <= 0.5 * spatter.WATER.max() + 1e-9
    np.testing.assert_allclose(water, water[..., :1] * spatter.WATER / spatter.WATER[0], atol=1e-9)


@pytest.mark.parametrize("mud", [False, True])
def test_where_no_drop_falls_spatter_changes_nothing(image, random, mud):
    np.testing.assert_array_equal(spatter.spatter(image, random, 0.1, 0.01, 1, 0.69, 0.5, mud), image)
