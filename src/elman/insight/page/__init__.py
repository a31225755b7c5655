"""The page: one HTML file with a trace in it, which works by itself, from a disk, without a network.

`contents` says what is on it, `connectivity` what an output hangs on. The scripts beside this file draw it: data.js
reads arrays, colors.js and draw.js make pictures, arithmetic.js works out a step, panels.js and outcome.js are the
parts, app.js moves the cursor. A policy in the page keeps the browser from loading anything, and from running any
script but these: no text of a user's can.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from importlib.resources import files
from typing import Any

from elman import checks
from elman.files import PathError, check_path, replace
from elman.insight.page.contents import page_data

SCRIPTS = ("data.js", "colors.js", "arithmetic.js", "draw.js", "panels.js", "outcome.js", "app.js")


def write(trace: Any, path: str | os.PathLike[str], **given: Any) -> None:
    """Writes one HTML file with a trace in it; the arguments are those of `Trace.to_html`."""
    if not check_path("path", path).lower().endswith((".html", ".htm")):
        raise PathError(f"path must end in .html. Got {checks.show(path)}.")
    replace(path, page(page_data(trace, **given)).encode())


def page(data: dict[str, Any]) -> str:
    """The HTML of a page with this data."""
    here = files("elman.insight.page")
    style, script = (
        "\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in names)
        for names in (("page.css",), SCRIPTS)
    )
    allowed = "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'"
    # In JSON "<" may be written so, and no text within can end the element.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {"POLICY": allowed.format(_hash(style), _hash(script)), "STYLE": style, "SCRIPT": script, "DATA": content}
    html = here.joinpath("page.html").read_text(encoding="utf-8")
    for mark, part in parts.items():  # the data last: what stands in it is no mark
        before, _, after = html.partition(f"@{mark}@")
        html = before + part + after
    return html


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
