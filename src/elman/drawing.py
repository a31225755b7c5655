"""The one look of all plots: colors, frames, and where a figure goes. matplotlib is the extra "plot"."""

from __future__ import annotations

import io
import os
from typing import Any

from elman.checks import missing_extra, show
from elman.files import PathError, Where, check_path, replace

#: Colors that stay apart for all kinds of color vision (Okabe, Ito 2008), and one that marks.
COLORS, MARK = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8f7a00", "#777777"), "#d1310f"
#: Around 0: blue, white, orange.
SIGNED = ("#053a73", "#1f6bb0", "#5fa2d4", "#aacfe8", "#f4f3f0", "#f7c894", "#ec8f3c", "#bd5b0c", "#7a3403")


def new_figure(what: str, path: Any, size: tuple[float, float] = (6.4, 4.0), returned: bool = False) -> Any:
    """A figure of pyplot, or one for a file, which belongs to nobody.

    A notebook shows those of pyplot and what a cell returns: one that is itself `returned` must not be both.
    """
    try:
        from matplotlib import get_backend, pyplot
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra(what, "plot") from None
    alone = path is not None or (returned and "inline" in get_backend())
    return (Figure if alone else pyplot.figure)(figsize=size, layout="constrained")


def dress(axes: Any, xlabel: str, ylabel: str, grid: bool = True, beside: bool = False) -> None:
    """Names the axes, and takes away what says nothing, when all is drawn. `beside`: where the legend stands."""
    axes.set(xlabel=text(xlabel), ylabel=text(ylabel), axisbelow=True)
    if grid:
        axes.grid(True, which="major", color="0.5", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, **({"loc": "center left", "bbox_to_anchor": (1, 0.5)} if beside else {}))


def text(label: Any) -> str:
    """A label of a user's as matplotlib draws it: no dollar begins a formula, and no half of a character is left."""
    return str(label).replace("$", r"\$").encode("utf-8", "replace").decode()


def finish(path: Where | None, figure: Any) -> None:
    """Draws a figure into a file, where one is named; its ending says in which format."""
    if path is None:
        return
    ending = os.path.splitext(check_path("path", path))[1].lower().lstrip(".")
    known = figure.canvas.get_supported_filetypes()
    if ending not in known:
        endings = ", ".join(f".{one}" for one in sorted(known))
        raise PathError(f"path must end in the format of a picture: {endings}. Got {show(path)}.")
    content = io.BytesIO()
    figure.savefig(content, format=ending, dpi=150)
    replace(path, content.getvalue())
