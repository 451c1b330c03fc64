"""The folder of a page, and every way in which it may fail; what browsers make of it is in test_web_browser.py."""

import base64
import gzip
import hashlib
import html
import io
import json
import os
import re
import tarfile

import pytest
import tiny_onnx

from tfnoisekd.export import web_page
from tfnoisekd.export.web import web
from tfnoisekd.export.web_page import runtime

CLASSES = [f"class {i}" for i in range(10)]
MODULE = "var a=import.meta.url,b=2;export{a as InferenceSession,b as default};\n//# sourceMappingURL=ort.mjs.map\n"
WASM = b"\0asm"


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Function (shell commands) that makes them the only npm there is."""

    def install(*commands):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "npm").write_text("\n".join(["#!/bin/sh", *commands]))
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return install


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the runtime's shape with next to nothing in it, whose checksum is the right one."""
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in ((runtime.SCRIPT, MODULE.encode()), (runtime.WASM, WASM)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{digest}")
    return path


@pytest.fixture
def registry(npm, package):
    npm(f'echo "$@" > {package.parent}/arguments', f"/bin/cp {package} onnxruntime-web.tgz")


@pytest.fixture
def onnx_file(tmp_path):
    return tiny_onnx.write(tmp_path / "student.onnx", (16, 16, 1))


def data_block(page, name):
    return html.unescape(re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.S)[1])


def test_the_folder_holds_the_page_the_model_and_its_description(registry, onnx_file, tmp_path):
    summary = {"Method": "sr", "Sigma": 0.05}
    path = web(onnx_file, tmp_path / "a" / "page", class_names=CLASSES, accuracy=0.9, summary=summary)
    assert path == tmp_path / "a" / "page" / "index.html"
    names = {"index.html", "model.json", "model.onnx", "onnxruntime-web.LICENSE.txt"}
    assert {entry.name for entry in path.parent.iterdir()} == names
    assert os.listdir(tmp_path / "a") == ["page"]
    model = onnx_file.read_bytes()
    assert path.with_name("model.onnx").read_bytes() == model
    assert "MIT License" in path.with_name("onnxruntime-web.LICENSE.txt").read_text()
    description = json.loads(path.with_name("model.json").read_text())
    image = {"name": "image", "dtype": "float32", "height": 16, "width": 16, "channels": 1, "layout": "NHWC"}
    assert description == {
        "title": "student",
        "class_names": CLASSES,
        "input": image | {"value_range": [0, 1], "preprocessing_in_graph": False},
        "output": {"name": "logits", "softmax_in_graph": False},
        "accuracy": 0.9,
        "num_test_images": None,
        "summary": {"Method": "sr", "Sigma": "0.05"},
        "onnx": {"bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()},
        "runtime": {"name": "onnxruntime-web", "version": runtime.VERSION},
    }
    assert (tmp_path / "arguments").read_text().startswith(f"pack onnxruntime-web@{runtime.VERSION} --ignore-scripts")


def test_the_page_needs_nothing_beside_it_and_its_policy_names_all_that_runs(registry, onnx_file, tmp_path):
    page = web(onnx_file, tmp_path / "page", class_names=CLASSES).read_text(encoding="utf-8")
    assert gzip.decompress(base64.b64decode(data_block(page, "onnx"))) == onnx_file.read_bytes()
    assert gzip.decompress(base64.b64decode(data_block(page, "wasm"))) == WASM
    assert not re.search(r"\ssrc=|@import|url\(", page)
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    scripts = re.findall(r'<script type="module">(.*?)</script>', page, re.S)
    assert scripts[0] == 'var a="https://page.invalid/",b=2;globalThis.ort={InferenceSession:a,default:b};'
    assert policy == web_page.policy(scripts, re.search(r"<style>(.*?)</style>", page, re.S)[1])
    assert policy.startswith("default-src 'none'") and "unsafe-inline" not in policy and "{{" not in page


def test_the_same_model_gives_the_same_page(registry, onnx_file, tmp_path):
    pages = [web(onnx_file, tmp_path / name, class_names=CLASSES).read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_no_title_or_class_name_breaks_out_of_the_page(registry, onnx_file, tmp_path):
    names = ["</script><script>alert(1)</script>", "<!--", "a & b", "ä 猫", '"', *CLASSES[5:]]
    page = web(onnx_file, tmp_path / "page", class_names=names, title="<b>{{wasm}}</b>").read_text(encoding="utf-8")
    assert page.count("alert(1)") == 1 and "<script>alert" not in page and "<!--" not in page
    assert json.loads(data_block(page, "description"))["class_names"] == names
    assert "<title>&lt;b&gt;{{wasm}}&lt;/b&gt;</title>" in page


@pytest.mark.parametrize(
    ("options", "input_shape", "expected"),
    [
        ({"image_shape": (3, 8, 9), "layout": "NCHW"}, None, ("float32", 8, 9, 3, "NCHW", [0, 1], False)),
        ({"image_shape": (8, 9, 3), "layout": None}, None, ("float32", 8, 9, 3, "NHWC", [0, 1], False)),
        ({"image_shape": (8, 9, 3), "takes_bytes": True}, None, ("uint8", 8, 9, 3, "NHWC", [0, 255], False)),
        ({"image_shape": (8, 9, 1), "softmax": True}, (8, 9, 1), ("float32", 8, 9, 1, "NHWC", [0, 1], True)),
    ],
)
def test_what_the_file_takes_and_gives_is_read_from_it(registry, tmp_path, options, input_shape, expected):
    file = tiny_onnx.write(tmp_path / "m.onnx", **options)
    page = web(file, tmp_path / "page", class_names=CLASSES, input_shape=input_shape)
    description = json.loads(page.with_name("model.json").read_text())
    keys = ("dtype", "height", "width", "channels", "layout", "value_range")
    found = (*(description["input"][key] for key in keys), description["output"]["softmax_in_graph"])
    assert found == expected
    assert description["input"]["preprocessing_in_graph"] == (found[0] == "uint8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"class_names": CLASSES[1:]},
            r"`class_names` must have a name for each .* Received: 9 names .*\(2, 10\)",
        ),
        ({"input_shape": (32, 32, 1)}, r"`input_shape` and `layout` must fit .* Received: input_shape=\(32, 32, 1\)"),
        ({"input_shape": (16, 16, 2)}, r"`input_shape` must be \(height, width, channels\)"),
        ({"input_shape": (16, 16)}, r"`input_shape` must be .* Received: input_shape=\(16, 16\)"),
        ({"layout": "NCHW"}, r"`input_shape` must be .* \(NCHW\)"),
        ({"layout": "HWC"}, "`layout` must be one of NHWC, NCHW. Received: layout='HWC'"),
        ({"value_range": (1, 0)}, r"`value_range` must be what black and white are .* Received: value_range=\[1, 0\]"),
        ({"accuracy": 91.2}, "`accuracy` must be between 0 and 1. Received: accuracy=91.2"),
        ({"num_test_images": 0}, "`num_test_images` must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_fetched(onnx_file, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        web(onnx_file, tmp_path / "page", **{"class_names": CLASSES} | arguments)
    assert os.listdir(tmp_path) == ["student.onnx"]


def test_files_that_no_page_can_use_are_refused(tmp_path):
    page, broken = tmp_path / "page", tmp_path / "broken.onnx"
    with pytest.raises(FileNotFoundError, match="`onnx_path` must be a file. Received: .*none.onnx"):
        web(tmp_path / "none.onnx", page, class_names=CLASSES)
    broken.write_bytes(b"no model")
    with pytest.raises(ValueError, match="`onnx_path` must be a file that ONNX Runtime can open. Received: "):
        web(broken, page, class_names=CLASSES)
    with pytest.raises(ValueError, match="must take one image at a time. Received: a fixed batch of 4"):
        web(tiny_onnx.write(tmp_path / "4.onnx", (8, 8, 1), batch=4), page, class_names=CLASSES)
    with pytest.raises(ValueError, match="`value_range` must be what black and white are"):
        file = tiny_onnx.write(tmp_path / "bytes.onnx", (8, 8, 1), takes_bytes=True)
        web(file, page, class_names=CLASSES, value_range=(0, 1))


def test_npm_that_is_missing_or_fails_leaves_nothing_and_says_the_way_out(npm, onnx_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="needs npm.* Received: no npm on PATH; install Node.js"):
        web(onnx_file, tmp_path / "page", class_names=CLASSES)
    npm("echo 'npm error code ENOTFOUND' >&2", "echo 'npm error A complete log of this' >&2", "exit 1")
    with pytest.raises(ConnectionError, match="through npm. Received: code ENOTFOUND; check the network"):
        web(onnx_file, tmp_path / "page", class_names=CLASSES)
    monkeypatch.setattr(runtime, "TIMEOUT", 0.2)
    npm("exec /bin/sleep 30")
    with pytest.raises(ConnectionError, match="Received: no answer within 0.2 seconds"):
        web(onnx_file, tmp_path / "page", class_names=CLASSES)
    assert sorted(os.listdir(tmp_path)) == ["bin", "student.onnx"]


def test_a_package_with_other_bytes_is_refused(npm, package, onnx_file, tmp_path):
    npm(f"/bin/cp {package} onnxruntime-web.tgz", "echo more >> onnxruntime-web.tgz")
    with pytest.raises(ValueError, match=f"must give onnxruntime-web {runtime.VERSION} with the checksum sha512-"):
        web(onnx_file, tmp_path / "page", class_names=CLASSES)
    assert not (tmp_path / "page").exists()


def test_only_an_earlier_page_is_overwritten(registry, onnx_file, tmp_path):
    folder = tmp_path / "page"
    web(onnx_file, folder, class_names=CLASSES, title="first")
    with pytest.raises(FileExistsError, match="`folder` must not exist yet. .*--overwrite"):
        web(onnx_file, folder, class_names=CLASSES)
    page = web(onnx_file, folder, class_names=CLASSES, title="second", overwrite=True)
    assert "<title>second</title>" in page.read_text(encoding="utf-8")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("a page of someone else")
    (folder / "notes.txt").write_text("mine")
    for path in (folder, tmp_path / "link", tmp_path / "site", onnx_file):
        with pytest.raises(FileExistsError, match="only where it is an earlier page and holds nothing else"):
            web(onnx_file, path, class_names=CLASSES, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_failure_while_writing_leaves_the_earlier_page(registry, onnx_file, tmp_path, monkeypatch):
    page = web(onnx_file, tmp_path / "page", class_names=CLASSES, title="first")
    before, entries = page.read_bytes(), sorted(os.listdir(tmp_path))

    def full(*arguments):
        raise OSError("No space left on device")

    for target in ("tfnoisekd.export.web_page.template", "tfnoisekd.export.files.replace", "pathlib.Path.write_bytes"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(target, full)
            web(onnx_file, tmp_path / "page", class_names=CLASSES, title="second", overwrite=True)
        assert page.read_bytes() == before and sorted(os.listdir(tmp_path)) == entries
