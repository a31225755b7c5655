"""What stands on the page: one sequence of a trace as JSON, its arrays as base64 of float32.

An array is {"shape", "data"}. Each direction of each recurrent layer is an entry of "layers", its arrays (steps, units)
by their names without node and direction.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.insight.page import words
from elman.insight.page.connectivity import connectivity
from elman.insight.page.equations import blocks, held_names, lines
from elman.insight.page.one import One, Part, read_text
from elman.insight.page.outcome import Outcome, read_labels

ROOM = 1_500_000  #: bytes of the arrays over units and steps, at most, where the user has not chosen
FEATURES = 128  #: of what a layer reads
LINES = 8  #: features of a series that are drawn
MOST = 10  #: outputs that are shown: of values the first, of probabilities the largest
LEAST = 8  #: units that stay when there is little room; then steps are left out


def page_data(
    trace: Any, *, text: Any = None, compare: Any = None, target: Any = None, labels: Any = None, title: Any = None,
    sequence: Any = 0, units: Any = None, steps: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """The data of a page; refuses in words what does not fit the trace."""
    one = One(trace, sequence)
    entries = read_text(text, one.time)
    shown, span, left_out = chosen(one, units, steps)
    outcome = output(one, entries, target, labels, span)
    series = one.x if one.x is not None else one.parts[0].read
    if series.ndim == 1 and entries is None:
        entries = [str(int(token)) for token in series]
    hangs = NO_MATRIX if one.x is None else connectivity(trace.net, one.x, span, one.state)
    names = [] if series.ndim == 1 else [f"{'x' if one.x is not None else 'read'}{k}" for k in range(series.shape[1])]
    found: dict[str, Any] = {
        "title": f"{type(trace.net).__name__}, step by step" if title is None else checks.text("title", title),
        "about": repr(trace.net),
        "steps": {"first": span.start, "count": span.stop - span.start},
        "text": None if entries is None else entries[span],
        "x": {"names": names[:LINES], "count": len(names), "array": packed(series[span, :LINES])} if names else None,
        "layers": [layer(part, shown[part.name], span) for part in one.parts],
        "output": outcome,
        "connectivity": None if isinstance(hangs, str) else between(*hangs, span),
        "noConnectivity": hangs if isinstance(hangs, str) else "",
        "words": [*words.of(one, hangs), *left_out],
        "compare": None,
    }
    if compare is not None:
        found["compare"] = compared(one, One(compare, sequence, "compare"), found["layers"], shown, span)
    return found


NO_MATRIX = "Here inputs and recurrent layers have other steps, or inputs are several: there is no such matrix."


def packed(array: Array) -> dict[str, Any]:
    """An array as the page reads it."""
    data = base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
    return {"shape": list(array.shape), "data": data}


def finite(values: Any) -> list[float | None]:
    """Numbers as JSON has them, None for one that is none."""
    return [float(value) if value is not None and np.isfinite(value) else None for value in values]


def chosen(one: One, units: Any, steps: Any) -> tuple[dict[str, Array], slice, list[str]]:
    """By layer the units that are shown, the steps, and in words what is left out where the user has not chosen."""
    parts, time = one.parts, one.time
    widest = max(part.width for part in parts)
    read, span = _places("units", units, widest), _places("steps", steps, time)
    room = ROOM * 3 // 16 // sum(len(part.arrays) for part in parts)  # numbers of an array; base64 has 16 bytes for 3
    if span is None:
        least = min(widest, LEAST) if read is None else len(read)
        span = np.arange(max(0, time - max(2, room // least)), time)
    if read is None:
        read = np.arange(min(widest, max(LEAST, room // len(span))))
    left_out = []
    if units is None and len(read) < widest:
        left_out.append(f"units {len(read)} to {widest - 1} (choose with units=[...])")
    if steps is None and len(span) < time:
        left_out.append(f"steps 0 to {span[0] - 1} (choose with steps=slice(a, b))")
    said = [f"The trace is too large for one page. Left out: {' and '.join(left_out)}."] if left_out else []
    others = [part.name for part in one.every if part.time != time]
    said += [f"Layers that go over other steps are left out: {', '.join(others)}."] if others else []
    wide = [part.name for part in parts if part.read.shape[1] > FEATURES]
    said += [f"Of what layer {name} reads, the first {FEATURES} features are shown." for name in wide]
    shown = {part.name: read[read < part.width] for part in parts}
    empty = next((name for name, own in shown.items() if not len(own)), None)
    if empty is not None:
        raise ValueError(f"units must name at least one unit of layer {empty}. Got {checks.show(units)}.")
    return shown, slice(int(span[0]), int(span[-1]) + 1), said


def _places(name: str, given: Any, count: int) -> Array | None:
    """What `units` or `steps` name, ascending; None for all."""
    if given is None:
        return None
    must = f"{name} must be a slice, or whole numbers from 0 to {count - 1}, each once"
    if name == "steps":
        must += ", one after another"
    places = np.arange(count)[given] if isinstance(given, slice) else checks.real_array(name, given)
    whole = places.ndim == 1 and len(places) and (places == np.floor(places)).all()
    good = whole and places.min() >= 0 and places.max() < count and len(np.unique(places)) == len(places)
    if not good or (name == "steps" and (np.diff(np.sort(places)) != 1).any()):
        raise ValueError(f"{must}. Got {checks.show(given)}.")
    return np.sort(places).astype(np.int64)


def layer(part: Part, units: Array, span: slice) -> dict[str, Any]:
    """One direction of a layer, its weights only for the units that are shown."""
    cell = part.cell
    forward, backward = lines(part.traced, part.time, units, part.has_gradients)
    held, arriving = held_names(part.traced, part.arrays, backward)
    of_units = {name: part.arriving(state)[span] for name, state in arriving.items()}
    arrays = {name: array[span, units[units < array.shape[1]]] for name, array in part.arrays.items()}
    before = part.before(span)
    return {
        "name": part.name,
        "title": f"{part.name}: {cell.name}, {part.traced.layer.hidden_size} units",
        "reverse": part.traced.reverse,
        "units": units.tolist(),
        "states": list(cell.states),
        "gates": list(cell.gates),
        "groups": groups(part),
        "arrays": {name: packed(array) for name, array in arrays.items()},
        "initial": {name: finite(array[units[units < len(array)]]) for name, array in before.items()},
        "input": packed(part.read[span, :FEATURES]),
        "weights": {name: packed(array) for name, array in weights(part, units).items()},
        "forward": forward,
        "backward": backward,
        "held": held,
        "arriving": {name: packed(array[:, units[units < array.shape[1]]]) for name, array in of_units.items()},
        "blocks": blocks(cell),
        "noBackward": NO_BACKWARD if not part.has_gradients else "This layer's derivative is its own.",
        "other": None,
    }


NO_BACKWARD = "Give elman.trace a dy, the gradient of a loss by the output, and the gradients stand here too."


def groups(part: Part) -> list[tuple[str, list[str]]]:
    """The arrays of a layer in the groups in which they are shown."""
    cell, left = part.cell, list(part.arrays)
    inside = [f"a_{gate}" for gate in cell.gates]
    gates = [gate for gate in cell.gates if gate not in cell.states]
    wanted = [("States and gates", [*cell.states, *gates]), ("Inside the gates", inside)]
    wanted += [(f"Gradients: {title.lower()}", [f"d{name}" for name in names]) for title, names in wanted]
    found = []
    for title, names in wanted:
        there = [name for name in names if name in left]
        left = [name for name in left if name not in there]
        if there:
            found.append((title, there))
    return found + ([("Kept besides", left)] if left else [])


def weights(part: Part, units: Array) -> dict[str, Array]:
    """The weights of a layer for some of its units, (rows, gates, units); a vector is one row."""
    found = {}
    for name, axes in part.cell.weights.items():
        if len(axes) > 2 or "gates" in axes[:-1]:  # of a cell of one's own: no line can be worked out with it
            continue
        array = np.atleast_2d(part.traced.weights[name])
        array = array.reshape(len(array), len(part.cell.gates) if axes[-1] == "gates" else 1, -1)
        if len(axes) == 2:
            array = array[:FEATURES] if axes[0] == "input" else array[units[units < len(array)]]
        found[name] = array[:, :, units[units < array.shape[2]]]
    return found


def between(matrix: Array, rows: Array, span: slice) -> dict[str, Any]:
    """The matrix of connections, for the steps that are shown."""
    meaning = (
        "The norm of the gradient of the largest output at a step by the input at each step: how much this output "
        "would change with a small change there."
    )
    return {
        "array": packed(matrix[:, span]),
        "rows": (rows - span.start).tolist() if len(rows) > 1 else [0],
        "meaning": meaning,
    }


def output(one: One, entries: list[str] | None, target: Any, labels: Any, span: slice) -> dict[str, Any] | None:
    """What comes out at each step, with what came and the loss."""
    if one.y is None:
        return None
    found = Outcome(one.y, one.x, one.trace.net.tokens, target)
    shown = slice(0, 1) if found.vector else span
    names = read_labels(labels, found.rows.shape[1], entries if found.follows else None, one.x)
    losses = found.losses()
    shared: dict[str, Any] = {
        "width": len(names),
        "loss": None if losses is None else finite(losses[shown]),
        "lossName": "squared error" if found.kind == "values" else "loss in nats, -log p of what came",
    }
    shared |= values(found, names, shown) if found.kind == "values" else told(found, names, shown)
    return shared


def values(found: Outcome, names: list[str], shown: slice) -> dict[str, Any]:
    """The first outputs, with what came."""
    came = None if found.target is None else packed(np.asarray(found.target)[shown, :MOST])
    return {"array": packed(found.rows[shown, :MOST]), "labels": names[:MOST], "target": came}


def told(found: Outcome, names: list[str], shown: slice) -> dict[str, Any]:
    """The largest probabilities of each step, with those of what came."""
    p, came = found.probabilities(), found.target if isinstance(found.target, list) else None
    top = np.argsort(-p, kind="stable")[shown, :MOST]
    own = None if came is None else [None if k is None else float(p[t, k]) for t, k in enumerate(came)]
    chosen = {*top.ravel().tolist(), *([] if came is None else [k for k in came[shown] if k is not None])}
    return {
        "array": packed(np.take_along_axis(p[shown], top, 1)),
        "top": top.tolist(),
        "labels": {k: names[k] for k in sorted(chosen)},
        "came": None if came is None else came[shown],
        "probability": None if own is None else own[shown],
    }


def compared(one: One, other: One, layers: list[dict[str, Any]], shown: Mapping[str, Array], span: slice) -> Any:
    """Where two traces of the same sequence part; puts the other's arrays into `layers`."""
    names = {(part.name, part.time, part.width) for part in one.parts}
    theirs = {(part.name, part.time, part.width) for part in other.parts}
    if names != theirs:
        listed = [checks.listed(sorted(f"{n} ({t} steps, {w} units)" for n, t, w in each)) for each in (names, theirs)]
        raise ShapeError(f"compare must be a trace with the layers {listed[0]}. Got {listed[1]}.")
    found, parts = None, []
    for part, twin, entry in zip(one.parts, other.parts, layers, strict=True):
        forward = [name for name in part.arrays if name in twin.arrays and not part.is_gradient(name)]
        forward.sort(key=lambda name: (name in part.cell.states, not name.startswith("a_")))  # as they are computed
        units = shown[part.name]
        entry["other"] = {
            name: packed(twin.arrays[name][span, units[units < twin.arrays[name].shape[1]]]) for name in forward
        }
        entry["groups"].append(("Differences", [f"Δ {name}" for name in part.cell.states]))
        apart = np.zeros(part.time)
        for name in forward:
            a, b = part.arrays[name].astype(np.float64), twin.arrays[name].astype(np.float64)
            step, difference = np.abs(a - b).max(-1), np.abs(a - b)
            far = np.flatnonzero(step > 1e-5 * max(1e-3, float(np.abs(a).max())))
            if len(far) and (found is None or far[0] < found[0]):
                unit = int(difference[far[0]].argmax())
                found = (int(far[0]), part.name, name, unit, float(a[far[0], unit]), float(b[far[0], unit]))
            apart = np.maximum(apart, step)
        parts.append({"name": part.name, "values": finite(apart[span])})
    if found is None:
        said = "Both networks have the same numbers at every step, to 5 digits."
        return {"words": said, "step": None, "parts": parts}
    step, where, name, unit, here, there = found
    said = f"They part at step {step}, in {name} of layer {where}: unit {unit} has {here:.7g} here, {there:.7g} there."
    return {"words": said, "step": step - span.start if span.start <= step < span.stop else None, "parts": parts}
