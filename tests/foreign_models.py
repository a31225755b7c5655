"""Models as other people write them: what a case is, and what became of it beside ONNX Runtime.

A shape is written as "b t 4": batch, steps ("s" those of a memory) and numbers; "t=6" is an axis whose length the model
fixes. What an input is, other than floats, stands before it: "tokens11 b t", "lengths b", "lengths32 b", "lengths/s b",
"mask b t", "boolmask b t", "intmask b t", "h 2 b 4", "c 2 b 4" and "hc 2 b 4", one after the other in one array, or
"hcw b 8", side by side.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZES = ({"b": 3, "t": 7, "s": 5}, {"b": 2, "t": 8, "s": 11})
TOLERANCE = 1e-4


@dataclass
class Case:
    """A model and its inputs. `inputs` are in the order of the arguments of a module."""

    name: str
    inputs: dict[str, str]
    build: Callable[[], bytes]
    given: dict[str, Any] = field(default_factory=dict)


@dataclass
class Verdict:
    """OK, REFUSED, WRONG, CRASH, or BAD where ONNX Runtime cannot run the model; and the error or the words."""

    kind: str
    words: str
    layers: str = ""


def parsed(spec: str) -> tuple[str, list[str]]:
    words = spec.split()
    return ("floats", words) if re.fullmatch(r"[bts](=\d+)?|\d+", words[0]) else (words[0], words[1:])


def shape_of(dims: list[str], sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(int(dim.split("=")[-1]) if dim[-1].isdigit() else sizes[dim] for dim in dims)


def sizes_of(case: Case, which: int) -> dict[str, int]:
    sizes = dict(SIZES[which])
    for spec in case.inputs.values():
        for dim in parsed(spec)[1]:
            if "=" in dim:
                sizes[dim[0]] = int(dim[2:])
    return sizes


def drawn(case: Case, which: int = 0) -> dict[str, np.ndarray]:
    """Inputs of the model: padded with numbers, the longest sequence whole."""
    rng, sizes = np.random.default_rng(which), sizes_of(case, which)
    lengths = {}
    for axis in "ts":
        lengths[axis] = rng.integers(1, sizes[axis] + 1, sizes["b"])
        lengths[axis][rng.integers(sizes["b"])] = sizes[axis]
    found = {}
    for name, spec in case.inputs.items():
        kind, dims = parsed(spec)
        shape = shape_of(dims, sizes)
        axis = "s" if "s" in [dim[0] for dim in dims] or kind.endswith("/s") else "t"
        if kind.startswith("tokens"):
            found[name] = rng.integers(0, int(kind[6:]), shape)
        elif kind.startswith("lengths"):
            found[name] = lengths[axis].astype(np.int32 if "32" in kind else np.int64)
        elif "mask" in kind:
            mask = np.arange(sizes[axis]) < lengths[axis][:, None]
            mask = mask if dims[0][0] == "b" else mask.T
            found[name] = mask.reshape(shape).astype({"mask": np.float32, "boolmask": bool, "intmask": np.int64}[kind])
        else:
            found[name] = rng.standard_normal(shape).astype(np.float32)
    return found


# elman's side.


def rows_of(kind: str, dims: list[str], array: np.ndarray) -> dict[str, list[np.ndarray]]:
    """States of an input, one (batch, hidden) after the other."""
    array = np.moveaxis(array, [dim[0] for dim in dims].index("b"), 0)
    rows = list(array.reshape(len(array), -1, array.shape[-1]).transpose(1, 0, 2))
    return {"h": rows[::2], "c": rows[1::2]} if kind == "hc" and len(rows) > 2 else (
        {"h": rows[:1], "c": rows[1:]} if kind == "hc" else {kind: rows})  # fmt: skip


def arguments(case: Case, net: Any, feeds: dict[str, np.ndarray]) -> dict[str, Any]:
    """The arguments of a network for the inputs of its model."""
    values, lengths, axes = {}, {}, {}
    states: dict[str, list[np.ndarray]] = {"h": [], "c": []}
    for name, spec in case.inputs.items():
        kind, dims = parsed(spec)
        letters, array = [dim[0] for dim in dims], feeds[name]
        axis = "s" if "s" in letters or kind.endswith("/s") else "t" if "t" in letters or "lengths" in kind else ""
        if kind.startswith("lengths"):
            lengths[axis] = array
        elif "mask" in kind:
            flat = array.reshape([n for n, letter in zip(array.shape, letters, strict=True) if letter in "bts"])
            flat = flat if letters.index("b") < letters.index(axis) else flat.T
            if name not in net.inputs:  # a network has it as lengths, or as values of its own
                lengths[axis] = flat.sum(1).astype(int)
            values[name], axes[name] = flat[..., None].astype(np.float32), axis
        elif kind == "hcw":
            values[name], axes[name] = array, ""
            states["h"].append(array[:, : array.shape[1] // 2])
            states["c"].append(array[:, array.shape[1] // 2 :])
        elif kind in ("h", "c", "hc"):
            for each, rows in rows_of(kind, dims, array).items():
                states[each] += rows
            values[name], axes[name] = (
                np.moveaxis(array, letters.index("b"), 0).reshape(array.shape[letters.index("b")], -1),
                "",
            )
        else:
            lead = [letters.index(letter) for letter in ("b", axis) if letter and letter in letters]
            array = array.transpose(*lead, *(i for i in range(array.ndim) if i not in lead))
            if not kind.startswith("tokens"):
                array = array.reshape(*array.shape[: len(lead)], -1)
            values[name], axes[name] = array, axis
    names = net.inputs
    unnamed = len(names) == 1 and names[0] not in values
    chosen = [next(iter(values))] if unnamed else [name for name in names if name in values]
    found: dict[str, Any] = {"x": values[chosen[0]] if len(names) == 1 else {name: values[name] for name in chosen}}
    by_name = {name: lengths[axes[name]] for name in chosen if axes[name] in lengths}
    if by_name:
        found["lengths"] = by_name if len(names) > 1 else next(iter(by_name.values()))
    if states["h"]:
        found["state"] = state_of(net, states)
    return found


def state_of(net: Any, states: dict[str, list[np.ndarray]]) -> list[Any]:
    """First states, layer by layer; None for layers that start from others, and where no rows are left."""
    entries: list[Any] = []
    nodes = net.config.get("nodes") or [{}] * len(net.layers)
    for node, layer in zip(nodes, net.layers, strict=True):
        if not layer.stateful:
            continue
        first = getattr(layer, "first", layer)
        count = 1 + bool(getattr(layer, "bidirectional", False))
        if node.get("state") is not None or len(states["h"]) < count or not hasattr(first, "cell"):
            entries.append(None)
            continue
        arrays = []
        for each in first.cell.states:
            rows, states[each] = states[each][:count], states[each][count:]
            arrays.append(np.stack(rows) if count > 1 else rows[0])
        entries.append(tuple(arrays) if len(arrays) > 1 else arrays[0])
    return entries


def results(y: Any, state: Any) -> list[np.ndarray]:
    """All that a network gave: values, and windows over rows of its states."""
    found = [np.asarray(array) for array in (y.values() if isinstance(y, dict) else [y])]
    rows: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for entry in state if isinstance(state, (list, tuple)) else [state]:
        parts = entry if isinstance(entry, (list, tuple)) else [entry]
        for i, part in enumerate(parts):
            if isinstance(part, np.ndarray):
                rows[i % 2] += list(part.reshape(-1, *part.shape[-2:]))
    both = [*itertools.chain.from_iterable(zip(rows[0], rows[1], strict=False))]
    for each in (rows[0], rows[1], both, rows[0] + rows[1]):
        for start, end in itertools.combinations(range(len(each) + 1), 2):
            if len({row.shape for row in each[start:end]}) == 1:
                found.append(np.stack(each[start:end], 1))  # (batch, rows, hidden)
    return found


def difference(want: np.ndarray, found: list[np.ndarray], lengths: Any, sizes: dict[str, int]) -> float:
    """The least difference of an output from any of what was found, its axes in any order."""
    least = np.inf
    wants = [want]
    if want.ndim and want.shape[0] == sizes["b"] * sizes["t"]:  # left flat
        wants += [want.reshape(*(sizes[axis] for axis in order), *want.shape[1:]) for order in ("bt", "tb")]
    for got, want in itertools.product(found, wants):
        if got.size != want.size:
            continue
        for order in itertools.permutations(range(want.ndim)):
            moved = want.transpose(order)
            try:
                moved = moved.reshape(got.shape)
            except ValueError:
                continue
            valid = np.ones(got.shape[:2], bool)
            if got.ndim > 2 and lengths is not None and got.shape[:2] == (sizes["b"], sizes["t"]):
                valid = np.arange(sizes["t"]) < np.asarray(lengths)[:, None]
            one, other = (np.asarray(a, np.float64)[valid] if got.ndim > 2 else a for a in (got, moved))
            with np.errstate(all="ignore"):
                error = float(np.max(np.abs(one - other) / np.maximum(1, np.abs(other)), initial=0))
            least = min(least, error if np.isfinite(error) else np.inf)
    return least


def ways(given: dict[str, Any]) -> list[dict[str, Any]]:
    """The arguments; where x has no steps also those with one step, where two layers have states also the other way."""
    x, state = given["x"], given.get("state", [])
    if len(state) == 2:  # the layers may have them in the order of their rows, or in another
        return [given, given | {"state": state[::-1]}]
    if isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype.kind == "f":
        return [given, given | {"x": x[:, None]}]
    if isinstance(x, dict) and any(array.ndim == 2 and array.dtype.kind == "f" for array in x.values()):
        return [
            given,
            given | {"x": {n: a[:, None] if a.ndim == 2 and a.dtype.kind == "f" else a for n, a in x.items()}},
        ]
    return [given]


def compared(net: Any, given: dict[str, Any], want: list[Any], sizes: dict[str, int]) -> float:
    worst = 0.0
    for _ in range(2):
        y, state = net(**given)
        lengths = given.get("lengths")
        if isinstance(lengths, dict):
            lengths = next(iter(lengths.values()), None)
        found = results(y, state)
        worst = max([worst, *(difference(np.asarray(each), found, lengths, sizes) for each in want)])
    return worst


def run(case: Case, elman: Any, session: Callable[[bytes], Any]) -> Verdict:
    model = case.build()
    try:
        runtime = session(model)
        feeds = [drawn(case, which) for which in (0, 1)]
        names = {each.name for each in runtime.get_inputs()}
        more = {name: np.asarray(value) for name, value in case.given.items() if name in names}
        wants = [runtime.run(None, {n: a for n, a in (feed | more).items() if n in names}) for feed in feeds]
    except Exception as error:  # whatever: the case is at fault
        return Verdict("BAD", f"ONNX Runtime: {error}"[:300])
    try:
        net = elman.from_onnx(model, given=case.given) if case.given else elman.from_onnx(model)
    except elman.FormatError as error:
        return Verdict("REFUSED", str(error))
    except Exception as error:
        return Verdict("CRASH", f"from_onnx: {type(error).__name__}: {error}")
    layers = " ".join(type(layer).__name__ for layer in net.layers)
    worst = 0.0
    for which, (feed, want) in enumerate(zip(feeds, wants, strict=True)):
        sizes, errors, failed = sizes_of(case, which), [], None
        for given in ways(arguments(case, net, feed)):
            try:
                errors.append(compared(net, given, want, sizes))
            except Exception as error:
                failed = failed or error
        if not errors:
            return Verdict("CRASH", f"running: {type(failed).__name__}: {failed}", layers)
        worst = max(worst, min(errors))
    return Verdict("OK" if worst < TOLERANCE else "WRONG", f"{worst:.1e}", layers)
