"""The documentation site: `make docs` builds it into build/docs, and takes every warning for an error.

The pages of the reference are made from the table of public names in `elman.__init__`, that of the equations from the
docstrings of the cells, so that nothing stands in two places.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

import elman

project = "elman"
author = copyright = "The elman developers"  # noqa: A001 (the name that Sphinx reads)
version = release = elman.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "myst_nb", "sphinx_copybutton"]
html_theme = "pydata_sphinx_theme"
html_title = "elman"
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": True,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"index": []}
exclude_patterns = ["api*.txt"]
default_role = "py:obj"  # a link where it names what there is, else code
highlight_language = "none"

# Tutorials keep their outputs; the tests run them.
nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

HERE = Path(__file__).parent

#: The pages of the reference: name, title, first words, and the modules of the table whose names stand on them.
PAGES = [
    ("layers", "Layers and networks", "layers network graph opening streaming cells"),
    ("steps", "Steps and functions", "cells.functions cells.rnn cells.lstm cells.gru cells.activations"),
    ("training", "Training", "training"),
    ("estimators", "Estimators", "estimators"),
    ("insight", "Seeing", "insight"),
    ("interop", "Models of other systems", "interop"),
    ("rest", "Errors and what runs", "checks engine"),
]
#: Where functions return objects of classes that have no public name.
ROOMS = ("elman.insight", "elman.interop")


def public_names() -> dict[str, list[str]]:
    """The public names by the module that has them."""
    found: dict[str, list[str]] = {}
    for name in sorted(set(elman.__all__) - {"__version__"}):
        found.setdefault(elman._MODULES[name].removeprefix("elman."), []).append(name)
    for some in found.values():  # functions before classes
        some.sort(key=lambda name: isinstance(getattr(elman, name), type))
    return found


def write_reference() -> None:
    """One page per group of names, and one list of them."""
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    names = public_names()
    for page, title, modules in PAGES:
        wanted = modules.split()
        mine = [m for m in names if any(m == one or (one == "insight" and m.startswith("insight")) for one in wanted)]
        place = {m: wanted.index(m) if m in wanted else 0 for m in mine}.__getitem__
        lines = [f"# {title}", "", "```{eval-rst}"]
        for module in sorted(mine, key=lambda m: (inspect.ismodule(getattr(elman, names[m][0])), place(m))):
            for name in names.pop(module):
                if inspect.ismodule(getattr(elman, name)):  # a section of its own, as its names may be those of others
                    lines += ["```", "", f"## elman.{name}", "", "```{eval-rst}"]
                lines += [*directive(name), ""]
        replace(folder / f"{page}.md", "\n".join([*lines, "```", ""]))
    if names:
        raise ValueError(f"PAGES must hold every module of public names. Got none for {', '.join(names)}.")
    toc = "\n".join(page for page, *_ in PAGES)
    text = "Every public name, with shapes, dtypes, errors and sources. `docs/api.txt` has the bare signatures."
    replace(folder / "index.md", f"# Reference\n\n{text}\n\n```{{toctree}}\n{toc}\n```\n")


def directive(name: str) -> list[str]:
    value = getattr(elman, name)
    if isinstance(value, type):
        if issubclass(value, Exception):
            return [f".. autoclass:: elman.{name}"]
        members = ":members:"
        bases = [base for base in (elman.Layer, elman.Loss, elman.Optimizer) if issubclass(value, base)]
        if bases and value not in bases:  # what all of a base have stands there once
            own = [one for one in vars(value) if not one.startswith("_") and not hasattr(bases[0], one)]
            members = f":members: {', '.join(own)}" if own else ""
        elif value is not elman.Layer:
            members = ":members:\n   :inherited-members: object"
        signature = inspect.signature(value).replace(return_annotation=inspect.Signature.empty)
        lines = [f".. autoclass:: elman.{name}" + re.sub(r": '([^']*)'", r": \1", str(signature))]
        return [*lines, *(f"   {line.strip()}" for line in members.split("\n") if line)]
    if callable(value):
        given = getattr(inspect.getmodule(value), str(inspect.signature(value).return_annotation), None)
        shown = isinstance(given, type) and given.__module__.startswith(ROOMS)  # of a class without a name
        own = [f".. autoclass:: {given.__module__}.{given.__name__}()", "   :members:"] if shown else []
        return [f".. autofunction:: elman.{name}", "", *own]
    if type(value) is type(elman):
        return [f".. automodule:: {value.__name__}", "   :members:"]
    return [f".. autodata:: elman.{name}", "   :no-value:"]


def write_equations() -> None:
    """The docstring of each file of cells, which is its notation and its equations."""
    parts = [
        "# Equations",
        "",
        "Each cell stands as plain NumPy in one file of `src/elman/cells`: one step and, under it, its derivative.",
    ]
    parts += ["These are those files; `layer.equations` shows them for a layer.", ""]
    for name in ("rnn", "lstm", "lstm_variants", "lstm_layer_norm", "gru", "unroll", "activations"):
        module = importlib.import_module(f"elman.cells.{name}")
        first, _, rest = (module.__doc__ or "").partition("\n")
        parts += [f"## `{name}.py`", "", first, "", as_blocks(rest), ""]
        code = [inspect.getsource(one) for key, one in vars(module).items() if key.startswith("step")]
        if code:
            parts += ["```python", "\n\n".join(code), "```", ""]
    replace(HERE / "equations.md", "\n".join(parts))


def as_blocks(text: str) -> str:
    """Paragraphs as they are, indented ones as blocks of code, those in two columns as terms and what they mean."""
    shown = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if paragraph.startswith("    "):
            shown.append(f"```text\n{textwrap.dedent(paragraph)}\n```")
        elif re.search(r"^\S.*?   ", paragraph):
            rows = re.split(r"\n(?=\S)", paragraph)
            shown += [re.sub(r" {3,}", "\n: ", re.sub(r"\n *", " ", row), count=1) for row in rows]
        else:
            shown.append(paragraph)
    return "\n\n".join(shown)


def replace(path: Path, text: str) -> None:
    """Writes a page where it has changed: Sphinx reads only those again."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text; what is indented after a line of text is a block of code, stars and bars are signs."""
    if what == "data":
        lines[:] = comment_of(name.removeprefix("elman.")).split("\n")
    text = re.sub(r"\bdocs/(\w+)\.md\b", r":doc:`/\1`", signs("\n".join(lines))).split("\n")
    shown: list[str] = []
    terms = block = example = False  # where a line stands: among names with what they mean, in code, in an example
    for i, line in enumerate(text):
        after = text[i + 1] if i + 1 < len(text) else ""
        if set(line) == {"-"}:
            shown[-1:] = [f".. rubric:: {shown[-1]}", ""]
            terms = True
            continue
        example = bool(line.strip()) and (example or line.startswith(">>>"))
        if line.strip() and not line.startswith(" "):
            block, terms = False, terms and after.startswith("    ")
        elif line.startswith("    ") and not (terms or block or example or text[i - 1].strip()):
            shown += [] if shown[-2:-1] and shown[-2].endswith("::") else ["::", ""]
            block = True
        shown.append(line)
    lines[:] = shown


def signs(text: str) -> str:
    """Stars and bars outside of code and examples are signs, not marks of a language."""
    parts = re.split(r"(``.*?``|`[^`]*`|^>>>.*?(?:\n\s*\n|\Z)|^    .*?$)", text, flags=re.DOTALL | re.MULTILINE)
    code = (">>>", "`", "    ")
    return "".join(one if one.startswith(code) else re.sub(r"([*|]|_(?!\w))", r"\\\1", one) for one in parts)


def comment_of(name: str) -> str:
    """The comment that stands above a public value where it is made."""
    folder = Path(elman.__file__).parent
    made = re.compile(rf"((?:^#:.*\n)+)^{name}\b.*=", re.MULTILINE)
    found = [match[1] for file in folder.rglob("*.py") if (match := made.search(file.read_text()))]
    return re.sub(r"^#: ?", "", found[0], flags=re.MULTILINE)


def short_types(app: Any, what: str, name: str, obj: Any, options: Any, arguments: str, returned: str) -> Any:
    """Arrays without the types of their numbers, which are all of any."""
    long = re.compile(r"~?(?:numpy\.)?ndarray\[~?(?:typing\.)?Any, ~?(?:numpy\.)?dtype\[~?(?:typing\.)?Any\]\]")
    return tuple(text and long.sub("~numpy.ndarray", text) for text in (arguments, returned))


def without_empty_ends(app: Any, doctree: Any) -> None:
    """Examples on pages end in an empty line, which doctest needs and a reader does not."""
    for block in doctree.findall(nodes.literal_block):
        if block.rawsource == block.astext():  # else it has marks in it
            block.rawsource = block.astext().rstrip()
            block[:] = [nodes.Text(block.rawsource)]


def names_as_links(app: Any, doctree: Any) -> None:
    """Public names in code on pages lead to the reference."""
    for code in list(doctree.findall(nodes.literal)):
        name = code.astext()
        known = name.removeprefix("elman.").partition(".")[0] in elman.__all__ and name.startswith("elman.")
        if known and re.fullmatch(r"[\w.]+", name) and not isinstance(code.parent, addnodes.pending_xref):
            link = addnodes.pending_xref("", refdomain="py", reftype="obj", reftarget=name, refdoc=app.env.docname)
            code.replace_self(link)
            link += code


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """What scikit-learn's own classes bring along has its page there."""
    if re.fullmatch(r"set_\w+_request|get_metadata_routing", name):
        return True
    module = getattr(obj, "__module__", None) or ""
    return True if module.startswith("sklearn") else None


def setup(app: Any) -> None:
    write_reference()
    write_equations()
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("autodoc-process-signature", short_types)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-read", without_empty_ends)
    app.connect("doctree-read", names_as_links)
