"""ONNX Runtime Web, the part of the page that computes: taken from npm's registry when a page is written."""

import base64
import dataclasses
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# What npm's registry says of this version: a package with other bytes never gets into a page.
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# The smallest build: on the CPU only, and without a second script to load, which a page from disk could not.
SCRIPT = "package/dist/ort.wasm.bundle.min.mjs"
WASM = "package/dist/ort-wasm-simd-threaded.wasm"
TIMEOUT = 600  # seconds; the package has 33 MB


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What a page needs of ONNX Runtime Web.

    Args:
        script: Its JavaScript, which makes the global object `ort`.
        wasm: Its WebAssembly, as bytes.
    """

    script: str
    wasm: bytes


def fetch():
    """The pinned version of ONNX Runtime Web; npm keeps it in its cache, so that only the first time takes long.

    Returns:
        A `Runtime`.

    Raises:
        ConnectionError: If npm can't get the package.
        FileNotFoundError: If there is no npm.
        ValueError: If the registry gives another package than the pinned one.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"`web` export needs npm, to take {PACKAGE} {VERSION} from its registry. Received: no npm on PATH; install "
            "Node.js, which brings it (https://nodejs.org), or export without the page."
        )
    # A folder of its own, so that no package.json or .npmrc of the current one takes part.
    with tempfile.TemporaryDirectory(prefix="tfnoisekd-") as folder:
        _pack(npm, folder)
        return _open(Path(folder))


def _pack(npm, folder):
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--prefer-offline", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        reason = f"no answer within {TIMEOUT} seconds"
    else:
        if done.returncode == 0:
            return
        lines = done.stderr.decode("utf-8", "replace").split("\n")
        told = [line.removeprefix("npm error").strip() for line in lines if "complete log" not in line]
        reason = " ".join(filter(None, told))[:300] or f"exit code {done.returncode}"
    raise ConnectionError(
        f"`web` export must get {PACKAGE} {VERSION} through npm. Received: {reason}; check the network and `npm config "
        "get registry`, or export without the page. Once npm has it in its cache, no network is needed."
    ) from None


def _open(folder):
    archive = next(folder.glob("*.tgz"), None)
    content = archive.read_bytes() if archive else b""
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != INTEGRITY:
        raise ValueError(
            f"npm must give {PACKAGE} {VERSION} with the checksum {INTEGRITY}. Received: "
            f"{found if archive else 'no file'}; the registry that npm asks changed the package: use "
            "https://registry.npmjs.org."
        )
    with tarfile.open(archive) as package:
        script, wasm = (package.extractfile(name).read() for name in (SCRIPT, WASM))
    return Runtime(global_script(script.decode("utf-8")), wasm)


def global_script(module):
    """An ES module as a script that makes the global `ort`: a page from disk may not import a module.

    Its last statement, `export{a as InferenceSession,...}`, becomes `globalThis.ort={InferenceSession:a,...}`. Its own
    address, of which Firefox can make no other ones when the page is on disk, becomes one that nothing is loaded from.
    """
    body, exports = re.fullmatch(
        r"(.*)\bexport\s*\{([^{}]*)\};?\s*(?://# sourceMappingURL=\S*\s*)?", module, re.S
    ).groups()
    pairs = [pair.split(" as ") for pair in exports.split(",")]
    body = body.replace("import.meta.url", '"https://page.invalid/"')
    return f"{body}globalThis.ort={{{','.join(f'{name}:{local}' for local, name in pairs)}}};"
