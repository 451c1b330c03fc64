"""The page's templates, and how they become one HTML file that needs nothing beside it.

One file, because browsers let a page from disk load no module, no WebAssembly and no data: a double click opens this
one, and it can be mailed to a phone. The policy in it names each script by its hash and allows no connection at all.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent
GENERATOR = '<meta name="generator" content="tfnoisekd export --web">'  # by which an earlier page is known again


def render(description, onnx, runtime):
    """The whole page.

    Args:
        description: Dict of what the page shows and how it feeds the model; see `tfnoisekd.export.web`.
        onnx: The ONNX file, as bytes.
        runtime: A `tfnoisekd.export.web_page.runtime.Runtime`.

    Returns:
        The text of an HTML file.
    """
    style, script = template("page.css"), template("pixels.js") + template("page.js")
    values = {
        "policy": policy([runtime.script, script], style),
        "generator": GENERATOR,
        "title": html.escape(description["title"]),
        "style": style,
        "description": json_in_html(description),
        "onnx": packed(onnx),
        "wasm": packed(runtime.wasm),
        "runtime": runtime.script,
        "script": script,
        "license": html.escape(template("onnxruntime-web.LICENSE.txt")),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template("index.html"))


def template(name):
    """The text of a template."""
    return (FOLDER / name).read_text(encoding="utf-8")


def policy(scripts, style):
    """The page's Content-Security-Policy: what may run, by its hash, and WebAssembly; nothing may be loaded or sent."""
    hashes = " ".join(hash_of(script) for script in scripts)
    return (
        f"default-src 'none'; script-src 'wasm-unsafe-eval' {hashes}; style-src {hash_of(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def hash_of(text):
    """The hash of an inline script or style, as a policy writes it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"


def packed(content):
    """Bytes as base64 of gzip, which browsers undo; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def json_in_html(value):
    """JSON that no class name or title can break out of."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
