"""`folder:PATH`: which files are read, into which pixels, and what is said about those that can't be."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tfnoisekd.data import folder, load


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def colour(value, shape=(8, 8)):
    return np.full((*shape, 3), value, np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two classes; each image is of one colour that tells which file it is."""
    for part, base in (("train", 0), ("test", 100)):
        for i in range(3):
            write(tmp_path / part / "cat" / f"{i}.png", colour((base + i, 0, 0)))
            write(tmp_path / part / "ant" / f"{i}.png", colour((base + 10 + i, 0, 9)))
    return tmp_path


def test_train_and_test_folders_in_sorted_order(root):
    (root / "order").mkdir()  # beside train/ and test/, other folders are no classes
    data = load(f"folder:{root}", validation_size=0)
    assert data.class_names == ("ant", "cat")
    np.testing.assert_array_equal(data.train.images[:, 0, 0, 0], [10, 11, 12, 0, 1, 2])
    np.testing.assert_array_equal(data.test.images[:, 7, 7, 0], [110, 111, 112, 100, 101, 102])
    np.testing.assert_array_equal(data.train.images[:, 3, 4, 2], [9, 9, 9, 0, 0, 0])
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.labels, [0, 0, 0, 1, 1, 1])
    assert (data.input_shape, data.train.images.dtype, data.crop_padding, data.flip) == ((8, 8, 3), np.uint8, 1, True)


@pytest.mark.parametrize("place", ["", "train"])
def test_without_a_test_folder_a_test_part_is_held_out(place, root):
    import shutil

    shutil.rmtree(root / "test")
    data = load(f"folder:{root / place}", validation_size=0, test_size=2)
    np.testing.assert_array_equal(np.bincount(data.test.labels), [1, 1])
    values = np.concatenate([data.train.images, data.test.images])[:, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(values), [0, 1, 2, 10, 11, 12])


def test_a_class_may_be_called_train(tmp_path):
    for name in ("car", "train"):
        for i in range(2):
            write(tmp_path / name / f"{i}.png", colour(i))
    assert load(f"folder:{tmp_path}", validation_size=0, test_size=2).class_names == ("car", "train")


def test_hidden_and_other_files_are_passed_over(root):
    (root / "train" / ".git").mkdir()
    (root / "train" / "cat" / ".hidden.png").write_text("x")
    (root / "train" / "cat" / "notes.txt").write_text("x")
    write(root / "train" / "cat" / "9.JPEG", colour(200), format="JPEG")
    data = load(f"folder:{root}", validation_size=0)
    np.testing.assert_array_equal(data.train.images[:, 0, 0, 0], [10, 11, 12, 0, 1, 2, 200])


def test_jpeg_pixels_are_what_pillow_decodes(root):
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write(root / "train" / "ant" / "0.jpg", noise, quality=75)
    data = load(f"folder:{root}", validation_size=0)
    with Image.open(root / "train" / "ant" / "0.jpg") as image:
        np.testing.assert_array_equal(data.train.images[0], np.asarray(image))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_photos_are_turned_upright(tmp_path, orientation, turns):
    upright = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    tag = Image.Exif()
    tag[0x0112] = orientation
    stored = np.rot90(upright, -turns)  # as the sensor lay
    for name in ("a", "b"):
        write(tmp_path / "train" / name / "0.png", stored, exif=tag)
        write(tmp_path / "test" / name / "0.png", upright)
    data = load(f"folder:{tmp_path}", validation_size=0)
    np.testing.assert_array_equal(data.train.images, data.test.images)


def test_greyscale_stays_greyscale_only_if_all_are(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "0.png", np.full((8, 8), 50, np.uint8))
        write(tmp_path / name / "1.png", np.full((8, 8), 60 * 257, np.uint16))  # 16 bits, scaled and not clipped
    data = load(f"folder:{tmp_path}", validation_size=0, test_size=2)
    assert data.input_shape == (8, 8, 1)
    assert {*data.train.images.ravel().tolist(), *data.test.images.ravel().tolist()} == {50, 60}
    write(tmp_path / "b" / "2.png", colour((1, 2, 3)))
    data = load(f"folder:{tmp_path}", validation_size=0, test_size=2)
    pixels = {tuple(pixel) for split in (data.train, data.test) for pixel in split.images[:, 0, 0].tolist()}
    assert pixels == {(50, 50, 50), (60, 60, 60), (1, 2, 3)}


def test_palettes_and_transparency_become_rgb(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "0.png", colour((10, 20, 30)))
        palette = Image.fromarray(colour((10, 20, 30))).convert("P", palette=Image.Palette.ADAPTIVE)
        palette.save(tmp_path / name / "1.png", transparency=b"\x80\x40")
        Image.fromarray(np.full((8, 8, 4), (10, 20, 30, 128), np.uint8)).save(tmp_path / name / "2.png")
    data = load(f"folder:{tmp_path}", validation_size=0, test_size=2)
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.images, np.broadcast_to([10, 20, 30], split.images.shape))


def test_several_sizes_are_an_error_that_names_them_and_the_way_out(root):
    write(root / "train" / "cat" / "3.png", colour(3, (6, 9)))
    with pytest.raises(
        ValueError, match=r"2 sizes \(height x width\): 8x8 \(12 images\), 6x9 \(1 images\).*--image-size"
    ):
        load(f"folder:{root}")


def test_image_size_resizes_bilinearly_without_aliasing(root):
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    write(root / "train" / "ant" / "0.png", stripes)
    write(root / "train" / "cat" / "3.png", colour(33, (6, 9)))
    data = load(f"folder:{root}", image_size=4, validation_size=0)
    assert data.input_shape == (4, 4, 3)
    with Image.open(root / "train" / "ant" / "0.png") as image:
        expected = np.asarray(image.resize((4, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(data.train.images[0], expected)
    np.testing.assert_allclose(data.train.images[0], 100, atol=30)  # striding would give 0 or 200
    np.testing.assert_array_equal(data.train.images[-1], np.full((4, 4, 3), 33))


def damage(root):
    """A truncated JPEG, a file that is no image, and a PNG that claims more pixels than anyone has memory for."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write(root / "train" / "ant" / "3.jpg", noise)
    file = root / "train" / "ant" / "3.jpg"
    file.write_bytes(file.read_bytes()[:-40])
    (root / "train" / "cat" / "3.png").write_text("no image")
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    bomb += struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    (root / "train" / "cat" / "4.png").write_bytes(bomb)


def test_bad_images_are_counted_and_named(root):
    damage(root)
    with pytest.raises(ValueError, match=r"3 of 15 images in .* can't be read: .*--skip-bad-images") as raised:
        load(f"folder:{root}")
    message = str(raised.value)
    assert "train/ant/3.jpg (image file is truncated" in message
    assert "train/cat/3.png (cannot identify image file" in message
    assert "train/cat/4.png (9000x9000 pixels, more than" in message
    assert "\n" not in message


def test_bad_images_are_left_out_on_request(root):
    damage(root)
    with pytest.warns(UserWarning, match="3 of 15 images in .* can't be read.* They are left out"):
        data = load(f"folder:{root}", skip_bad_images=True, validation_size=0)
    np.testing.assert_array_equal(data.train.images[:, 0, 0, 0], [10, 11, 12, 0, 1, 2])
    np.testing.assert_array_equal(data.train.labels, [0, 0, 0, 1, 1, 1])


def test_only_a_few_of_many_bad_images_are_named(root):
    for i in range(10, 30):
        (root / "train" / "cat" / f"{i}.png").write_text("x")
    with pytest.raises(ValueError, match="20 of 32 images") as raised:
        load(f"folder:{root}")
    assert str(raised.value).count(".png (") == folder.SHOWN
    assert "and 15 more" in str(raised.value)


def test_a_class_of_which_nothing_is_left_is_an_error(root):
    for i in range(3):
        (root / "train" / "cat" / f"{i}.png").write_text("x")
    with (
        pytest.warns(UserWarning, match="3 of 12"),
        pytest.raises(ValueError, match=r"Every class must have a training example.*1 \(cat\)"),
    ):
        load(f"folder:{root}", skip_bad_images=True)


def test_wrong_layouts(root, tmp_path):
    def fails(place, error, message):
        with pytest.raises(error, match=message):
            load(f"folder:{place}")

    fails(root / "none", FileNotFoundError, "needs an existing folder. Received: .*none")
    fails(root / "train" / "cat" / "0.png", ValueError, "needs a folder. Received: the file")
    np.savez(root / "a.npz", images=1)
    fails(root / "a.npz", ValueError, "did you mean 'npz:.*a.npz'")
    fails(root / "train" / "cat", ValueError, "needs a sub-folder for each class.*has no sub-folders")
    (root / "test" / "dog").mkdir()
    write(root / "test" / "dog" / "0.png", colour(0))
    fails(root, ValueError, "one of the training classes. Received: dog, not among ant, cat")
    (root / "train" / "dog").mkdir()
    fails(root, ValueError, "must hold JPEG or PNG images .*Received: .*train/dog without any; add images or remove")
    (root / "train" / "dog" / "notes.txt").write_text("x")
    fails(root, ValueError, "train/dog without any")
    (root / "train").rename(root / "old")
    fails(root, ValueError, "with test/ but nothing to train on")
