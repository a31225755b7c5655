"""``elman explain``: a file's network run on a table or a text, every number of it on one page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from elman import checks
from elman.checks import Array
from elman.files import PathError, check_path, check_source
from elman.insight import page
from elman.insight.page.outcome import Outcome
from elman.insight.tracing import trace
from elman.layers import Layer
from elman.opening import load

MOST = 2000  #: steps that are read where none are chosen
TABLES = (".csv", ".tsv")


class Opened(NamedTuple):
    """What is in a file: a network, what its tokens are, its classes, and the window of a forecaster."""

    net: Any
    symbols: list[str] | None = None
    classes: list[str] | None = None
    window: int | None = None


def write_page(
    model: Path,
    data: Path,
    out: Path,
    *,
    against: Path | None = None,
    columns: str | None = None,
    target: str | None = None,
    vocabulary: str | None = None,
    steps: str | None = None,
    units: str | None = None,
) -> None:
    """Writes the page, and prints what is on it."""
    if not check_path("--out", out).lower().endswith((".html", ".htm")):
        raise PathError(f"--out must end in .html. Got {str(out)!r}.")
    chosen, places = read_span(steps), read_units(units)
    found = opened(model, vocabulary)
    net, twin = found.net, None if against is None else opened(against, vocabulary).net
    x, came, said = read_data(data, found, columns, target)
    if chosen is not None and chosen.stop > len(x):
        raise ValueError(f"--steps must end at most at {len(x)}, the steps there are. Got {steps!r}.")
    if found.window is not None:  # what the network of a forecaster reads
        last = len(x) if chosen is None else chosen.stop
        span, chosen = slice(max(0, last - found.window), last), None
        said += f"; the last {found.window} steps, its window"
    else:
        span = slice(0, chosen.stop if chosen is not None else MOST)
        if chosen is None and len(x) > MOST:
            said += f"; the first {MOST:,} of {len(x):,} steps (--steps FIRST:LAST chooses)"
    x, came = x[span], came and came[span]
    y, _ = net(x)
    if isinstance(y, dict):
        raise ValueError("the network must have one output. Got several.")
    if y.ndim == 1 and came is not None:
        if len(set(came)) > 1:
            raise ValueError(
                f"{target!r} must be the same in each row, as one output comes of all. Got several values."
            )
        came = came[:1]
    outcome = Outcome(np.asarray(y), x, net.tokens, came)
    of = "the mean loss" if outcome.target is not None else "the largest output at the last step"
    labels = found.classes or found.symbols
    page.write(
        trace(net, x, dy=outcome.gradient().astype(y.dtype)),
        out,
        text=[found.symbols[k] for k in x] if net.takes_tokens and found.symbols else None,
        compare=None if twin is None else trace(twin, x),
        target=came,
        units=places,
        steps=chosen,
        labels=labels if labels is not None and len(labels) == y.shape[-1] else None,
        title=f"{model.name} on {data.name}; gradients are those of {of}",
    )
    size = out.stat().st_size / 1e6
    words = f"{out}: {size:.1f} MB, {len(x):,} steps; {said}; gradients of {of}. Open it in a browser."
    Console().print(words, markup=False, highlight=False, soft_wrap=True)


def opened(path: Path, vocabulary: str | None) -> Opened:
    """The network of a file, with what an estimator knows besides."""
    found, symbols = load(path), None if vocabulary is None else list(vocabulary)
    if isinstance(found, Layer):
        return Opened(found, symbols)
    if hasattr(found, "vocabulary_"):
        return Opened(found.network_, [*found.vocabulary_, *["⏎"] * found.ends_])
    named = [getattr(found, name, None) for name in ("tokens_", "classes_")]
    tokens, classes = [None if names is None else [str(name) for name in names] for names in named]
    return Opened(found.to_network(), tokens or symbols, classes, getattr(found, "window_", None))


def read_data(path: Path, found: Opened, columns: str | None, target: str | None) -> tuple[Array, Any, str]:
    """The input of the network, what should come out, and in words what was read."""
    if path.suffix.lower() in TABLES:
        names, x, told = read_table(path, found.net, columns, target, found.symbols)
        return x, None if told is None else labeled(told, found.classes, target), f"columns: {', '.join(names)}"
    text = read_text(path)
    return tokens_of("the text", text, found.net, found.symbols), None, f"{len(set(text))} different characters"


def read_text(path: Path) -> str:
    check_source("DATA", path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a text in UTF-8. Got {error.reason} at byte {error.start}.") from None
    if not text:
        raise ValueError(f"{path} must have at least one character. Got an empty file.")
    return text


def tokens_of(what: str, entries: Sequence[str], net: Any, symbols: list[str] | None) -> Array:
    """The place of each character or entry among the symbols."""
    if not net.takes_tokens:
        must = "a network of features must be given a table, DATA.csv"
        raise ValueError(f"{must}. Got a text.")
    if symbols is None:
        must = "a network of tokens must say which character each token is: --vocabulary 'abc...', in their order"
        raise ValueError(f"{must}. Got none.")
    place = {symbol: k for k, symbol in enumerate(symbols)}
    wrong = next((i for i, one in enumerate(entries) if place.get(one, net.tokens) >= net.tokens), None)
    if wrong is not None:
        must = f"{what} must hold what the vocabulary has, {checks.show(symbols)}"
        raise ValueError(f"{must}. Got {entries[wrong]!r} at position {wrong}.")
    return np.array([place[one] for one in entries], np.int64)


def read_table(
    path: Path, net: Any, columns: str | None, target: str | None, symbols: list[str] | None
) -> tuple[list[str], Array, Any]:
    """The names of the columns that the network reads, its input of them, and the texts of the target."""
    names, rows = _cells(path)
    place = {name: k for k, name in enumerate(names)}
    if target is not None:
        checks.choice("--target", target, names)
    wanted = None if columns is None else [name.strip() for name in columns.split(",")]
    for name in wanted or ():
        checks.choice("a column of --columns", name, names)
    width = 1 if net.takes_tokens else net.input_size
    told = None if target is None else [row[place[target]] for row in rows]
    others = [name for name in names if name != target]
    if net.takes_tokens and symbols is not None and len(wanted or others) == 1:
        (name,) = wanted or others
        return [name], tokens_of(f"column {name!r}", [row[place[name]].strip() for row in rows], net, symbols), told
    read = wanted or [name for name in others if all(_is_number(row[place[name]]) for row in rows)]
    if width is not None and len(read) != width:
        must = f"{path} must have {width} column{'s' * (width != 1)} of numbers, as the network reads"
        raise ValueError(f"{must}; --columns a,b chooses. Got {len(read)}: {', '.join(read) or 'none'}.")
    values = np.empty((len(rows), len(read)))
    for i, row in enumerate(rows):
        for k, name in enumerate(read):
            cell = row[place[name]]
            if not _is_number(cell):
                raise ValueError(f"{path} must hold numbers. Got {cell!r} in column {name!r}, row {i + 1}.")
            values[i, k] = _number(cell)
    return read, values[:, 0].astype(np.int64) if net.takes_tokens else values, told


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table; the separator is the one that the first line has most of."""
    text = read_text(path)
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    names = [name.strip() for name in rows[0]]
    if all(map(_is_number, names)):
        names, rows = [f"column {k}" for k in range(len(names))], [rows[0], *rows]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} must have columns of different names. Got {', '.join(names)}.")
    if len(rows) < 2:
        raise ValueError(f"{path} must have rows under its header. Got none.")
    for i, row in enumerate(rows[1:]):
        if len(row) != len(names):
            raise ValueError(f"{path} must have {len(names)} cells in each row. Got {len(row)} in row {i + 1}.")
    return names, rows[1:]


def _number(cell: str) -> float:
    cell = cell.strip()
    return float(cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell)


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(_number(cell)))
    except ValueError:
        return False


def labeled(told: list[str], classes: list[str] | None, target: str | None) -> Any:
    """The target as numbers, or the places of its classes."""
    if classes is not None:
        return [classes.index(checks.choice(f"a label in {target!r}", one.strip(), classes)) for one in told]
    wrong = next((i for i, one in enumerate(told) if not _is_number(one)), None)
    if wrong is not None:
        raise ValueError(f"{target!r} must hold numbers. Got {told[wrong]!r} in row {wrong + 1}.")
    return [_number(one) for one in told]


def read_span(given: str | None) -> slice | None:
    """``FIRST:LAST``, without the last."""
    if given is None:
        return None
    parts = given.split(":")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not int(parts[0]) < int(parts[1]):
        raise ValueError(f"--steps must be FIRST:LAST, such as 100:300. Got {given!r}.")
    return slice(int(parts[0]), int(parts[1]))


def read_units(given: str | None) -> list[int] | None:
    """``0,3,10:20``."""
    if given is None:
        return None
    found: list[int] = []
    for part in given.split(","):
        ends = part.split(":")
        if len(ends) > 2 or not all(end.strip().isdecimal() for end in ends):
            raise ValueError(f"--units must be whole numbers, such as 0,3,10:20. Got {given!r}.")
        found += [int(ends[0])] if len(ends) == 1 else range(int(ends[0]), int(ends[1]))
    return found
