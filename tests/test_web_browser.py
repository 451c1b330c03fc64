"""The page in a real browser, opened from disk: it sees Python's pixels and gives ONNX Runtime's answers."""

import base64
import json
import struct

import chromium
import numpy as np
import onnxruntime
import pytest
import tiny_onnx
from PIL import Image, ImageCms, PngImagePlugin

from tfnoisekd.data.pixels import resize_one
from tfnoisekd.export.web import web
from tfnoisekd.export.web_page import runtime

CLASSES = [f"class {i}" for i in range(8)] + ["<b>bold</b>", "ä 猫"]
# name -> what `tiny_onnx.write` takes; the last has preprocessing and softmax in the file, and the channels first
MODELS = {
    "grey": {"image_shape": (16, 16, 1)},
    "rgb": {"image_shape": (32, 32, 3)},
    "bytes": {"image_shape": (3, 24, 32), "layout": "NCHW", "takes_bytes": True, "softmax": True},
}
SIZES = {"grey": (16, 16), "rgb": (32, 32), "bytes": (32, 24)}  # width, height
DONE = "!document.getElementById('numbers').hidden || !document.getElementById('error').hidden"
BUSY = "document.getElementById('numbers').hidden = true; document.getElementById('error').hidden = true"


@pytest.fixture(scope="module")
def real_runtime():
    try:
        return runtime.fetch()
    except (FileNotFoundError, ConnectionError) as error:
        pytest.skip(f"needs onnxruntime-web from npm: {error}")


@pytest.fixture(scope="module")
def tab():
    if chromium.PATH is None:
        pytest.skip("needs Chromium: none of " + ", ".join(chromium.NAMES) + " is on PATH")
    with chromium.browser() as page:
        yield page


@pytest.fixture(scope="module")
def pages(tab, real_runtime, tmp_path_factory):
    """Name of a model -> (its ONNX file, its page)."""
    folder, written = tmp_path_factory.mktemp("web"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "fetch", lambda: real_runtime)
        for name, options in MODELS.items():
            file = tiny_onnx.write(folder / f"{name}.onnx", **options)
            facts = {"accuracy": 0.9125, "num_test_images": 10000, "summary": {"Method": "sr <i>"}}
            written[name] = file, web(file, folder / name, class_names=CLASSES, title=f"Tiny & {name}", **facts)
    return written


@pytest.fixture
def show(tab, pages):
    """Function (model) that opens its page."""

    def show(name):
        tab.open(pages[name][1].as_uri())
        tab.wait("document.getElementById('status')?.textContent == 'Ready for an image.'")
        return tab

    yield show
    assert tab.errors == []


def picture(size, channels, seed=0):
    """A smooth image with noise on it, uint8: both show where a filter differs."""
    rng, (width, height) = np.random.default_rng(seed), size
    waves = np.sin(np.linspace(0, 9, width))[None, :, None] * np.cos(np.linspace(0, 7, height))[:, None, None]
    image = 128 + 90 * waves * rng.uniform(0.5, 1, channels) + rng.normal(0, 30, (height, width, channels))
    return image.clip(0, 255).astype(np.uint8)


def save(image, path, **options):
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path, **options)
    return path


def expected(file, path, name, box=None):
    """The pixels that the model gets and its probabilities, by Pillow and ONNX Runtime in Python."""
    width, height = SIZES[name]
    with Image.open(path) as image:
        image = image.convert("L" if name == "grey" else "RGB")
        image = image.crop(box) if box else image
    if width == height:
        pixels = resize_one(np.asarray(image).reshape(image.height, image.width, -1), width)
    else:
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    batch = pixels.transpose(2, 0, 1)[None] if name == "bytes" else pixels[None].astype(np.float32) / np.float32(255)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    output = session.run(None, {"image": batch})[0][0].astype(np.float64)
    return pixels, output if name == "bytes" else np.exp(output) / np.exp(output).sum()


def give(tab, path):
    """Chooses a file and waits for the answer to it."""
    tab.run(BUSY)
    tab.choose("#file", path)
    tab.wait(DONE)


def read(tab):
    """The same two of the page."""
    tab.wait(DONE)
    assert tab.run("document.getElementById('error').textContent") == ""
    canvas = "const canvas = document.getElementById('seen')"
    data = "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
    width, height, rgba = tab.run(f"(() => {{ {canvas}; return [canvas.width, canvas.height, Array.from({data})] }})()")
    cells = tab.run("Array.from(document.querySelectorAll('data')).map(cell => [cell.dataset.class, cell.value])")
    values = {int(index): float(value) for index, value in cells}
    return np.reshape(rgba, (height, width, 4)), np.array([values[i] for i in range(len(CLASSES))])


def check_same(tab, file, path, name, box=None):
    pixels, probabilities = expected(file, path, name, box)
    rgba, found = read(tab)
    np.testing.assert_array_equal(rgba[..., :3], np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    np.testing.assert_allclose(found, probabilities, atol=1e-5)
    assert np.ptp(probabilities) > 0.1  # an answer that tells one image from another


@pytest.mark.parametrize("name", MODELS)
def test_pixels_and_answer_are_those_of_python(show, pages, tmp_path, name):
    tab = show(name)
    for width, height in (SIZES[name], (61, 47), (301, 530), (5, 9)):
        for channels in (1, 3):
            path = save(picture((width, height), channels), tmp_path / f"{width}-{height}-{channels}.png")
            give(tab, path)
            check_same(tab, pages[name][0], path, name)


def test_an_exported_student_answers_as_in_python(show, pages, real_runtime, tmp_path, monkeypatch):
    import keras

    from tfnoisekd import export, wide_resnet

    keras.utils.set_random_seed(0)
    file, path = tmp_path / "student.onnx", save(picture((32, 32), 3), tmp_path / "image.png")
    student = wide_resnet(10, 1, input_shape=(32, 32, 3))
    export.onnx(student, file, np.asarray(Image.open(path))[None])
    monkeypatch.setattr(runtime, "fetch", lambda: real_runtime)
    monkeypatch.setitem(pages, "student", (file, web(file, tmp_path / "page", class_names=CLASSES)))
    tab = show("student")
    give(tab, path)
    image = np.asarray(Image.open(path), np.float32)[None] / 255
    logits = np.asarray(student(image, training=False), np.float64)[0]
    np.testing.assert_allclose(read(tab)[1], np.exp(logits) / np.exp(logits).sum(), atol=1e-4)


def test_colour_management_leaves_the_pixels_alone(show, pages, tmp_path):
    image, tab = picture((32, 32), 3), show("rgb")
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", struct.pack(">I", 100000))
    # A profile whose red and blue are exchanged: whoever applies it sees other colours.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for name, options in (("gamma", {"pnginfo": gamma}), ("profile", {"icc_profile": bytes(profile)})):
        path = save(image, tmp_path / f"{name}.png", **options)
        give(tab, path)
        check_same(tab, pages["rgb"][0], path, "rgb")


def test_the_middle_of_an_image_on_request(show, pages, tmp_path):
    path = save(picture((90, 41), 3), tmp_path / "wide.png")
    tab = show("rgb")
    give(tab, path)
    tab.run(f"{BUSY}; document.getElementById('crop').click()")
    check_same(tab, pages["rgb"][0], path, "rgb", box=(24, 0, 65, 41))


def test_a_photo_is_turned_upright_by_its_tag(show, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16] = 255
    tab = show("rgb")
    give(tab, save(image, tmp_path / "photo.jpg", exif=exif, quality=100))
    seen = read(tab)[0]
    assert (seen[:, 16:, :3] > 250).all() and (seen[:, :16, :3] < 5).all()


def test_what_a_person_reads(show, tmp_path):
    tab = show("bytes")
    text = tab.run("document.body.innerText").replace("\xa0", " ")
    assert tab.run("document.title") == "Tiny & bytes" and "Tiny & bytes" in text
    assert "It is right on 91.25 % of 10,000 test images." in text
    assert "It answers only with these 10 classes, whatever the image shows: class 0," in text
    assert "<b>bold</b>, ä 猫." in text and "sr <i>" in text and "32 \xd7 24 pixels, RGB" in text
    give(tab, save(picture((32, 24), 3), tmp_path / "image.png"))
    best = CLASSES[int(read(tab)[1].argmax())]
    bars = tab.run("Array.from(document.querySelectorAll('#bars .name')).map((name) => name.textContent)")
    assert len(bars) == 5 and bars[0] == best
    assert tab.run("document.getElementById('status').textContent").startswith(f"{best}, ")
    time = tab.run("document.getElementById('time').textContent").replace("\xa0", " ")
    assert time.endswith("ms per image, the median of 20 measurements on one processor core.")


def test_files_that_are_no_image_or_too_large_are_named_in_words(show, tmp_path):
    tab, large, text = show("grey"), tmp_path / "large.png", tmp_path / "notes.txt"
    text.write_text("no image")
    with large.open("wb") as file:
        file.truncate(2**26 + 2**20)
    for path, words in ((text, "“notes.txt” can't be read as an image"), (large, "“large.png” is too large: 65 MB")):
        give(tab, path)
        assert tab.run("document.getElementById('error').textContent").startswith(words)
    tab.run("createImageBitmap = async () => ({ width: 10000, height: 9000, close() {} }); 0")
    give(tab, text)
    assert "90 million pixels of at most 67 million" in tab.run("document.getElementById('error').textContent")


def drop(tab, fill):
    """Drops onto the page what the statements in `fill` put into `transfer`."""
    event = f"{fill}; dispatchEvent(new DragEvent('drop', {{ dataTransfer: transfer, cancelable: true }}))"
    tab.run(f"(() => {{ {BUSY}; const transfer = new DataTransfer(); {event} }})()")


def test_dropping_works_and_a_drop_without_a_file_says_so(show, pages, tmp_path):
    tab, path = show("grey"), save(picture((40, 30), 3), tmp_path / "image.png")
    content = json.dumps(base64.b64encode(path.read_bytes()).decode())
    file = f"new File([Uint8Array.from(atob({content}), (letter) => letter.charCodeAt(0))], 'dropped.png')"
    drop(tab, "transfer.setData('text/plain', 'words')")
    tab.wait(DONE)
    assert tab.run("document.getElementById('error').textContent").startswith("That was no file.")
    drop(tab, f"transfer.items.add({file})")
    tab.wait("!document.getElementById('numbers').hidden && document.getElementById('error').hidden")
    assert "dropped.png" in tab.run("document.getElementById('original-caption').textContent")


def test_the_keyboard_reaches_the_file_dialog_which_has_a_label(show):
    tab = show("grey")
    tab.send("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert tab.run("document.activeElement.id") == "file"
    assert tab.run("document.getElementById('file').labels[0].textContent").split()[:2] == ["Choose", "an"]
    assert tab.run("document.getElementById('error').getAttribute('role')") == "alert"


def test_nothing_is_loaded_or_sent(show, pages, tmp_path):
    tab = show("grey")
    give(tab, save(picture((16, 16), 1), tmp_path / "image.png"))
    assert [url for url in tab.requests if not url.startswith("data:")] == [pages["grey"][1].as_uri()]
    refused = "addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective))"
    attempt = "fetch('https://example.org').catch(() => {})"
    assert tab.run(f"new Promise((resolve) => {{ {refused}; {attempt} }})") == "connect-src"
    tab.errors.clear()  # the refusal that was just asked for
