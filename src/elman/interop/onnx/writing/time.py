"""What the layers of an ONNX graph need to know of time: its axis, which steps are real, which is the last.

A graph with an input of lengths takes each sequence to its own end, as elman does; padding may hold anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from elman.interop.onnx.writing.nodes import Graph, Steps, Value


def ordered(graph: Graph, x: Value, time_axis: int) -> Value:
    """The same sequences with time at `time_axis`: (time, batch, features), batch first, or features before time."""
    axes = "tbf", "btf", "bft"
    if x.time_axis == time_axis:
        return x
    perm = [axes[x.time_axis].index(axis) for axis in axes[time_axis]]
    return Value(graph.add("Transpose", x.name, perm=perm), time_axis, x.steps)


def batch_size(graph: Graph) -> str:
    """The number of sequences, (1,)."""
    return graph.shared("batch", lambda: graph.add("Shape", graph.inputs[0].name, start=0, end=1))


def lengths64(graph: Graph, steps: Steps) -> str:
    """The lengths as int64, (batch,)."""
    return graph.shared(f"lengths{steps.key}", lambda: graph.add("Cast", steps.lengths, to=7))  # 7 is INT64


def real_steps(graph: Graph, steps: Steps) -> str:
    """Whether each step is a real one, (batch, time)."""

    def make() -> str:
        time = graph.add("Squeeze", graph.add("Shape", steps.source, start=steps.axis, end=steps.axis + 1))
        places = graph.add("Range", graph.integer(0), time, graph.integer(1))
        return graph.add("Less", places, graph.unsqueeze(lengths64(graph, steps), 1))

    return graph.shared(f"real_steps{steps.key}", make)


def without_padding(graph: Graph, x: Value, instead: float) -> Value:
    """The value with the number `instead` in all its padding; itself where there are no lengths."""
    steps, axis = x.steps, x.time_axis
    if not steps.lengths:
        return x

    def make() -> str:
        real = real_steps(graph, steps)
        real = real if axis else graph.add("Transpose", real, perm=[1, 0])
        return graph.add("Unsqueeze", real, graph.integers(1 if axis == 2 else 2))

    real = graph.shared(f"real_steps_{('time_first', 'batch_first', 'time_last')[axis]}{steps.key}", make)
    return x.at(graph.add("Where", real, x.name, graph.number(instead)))


def beside(graph: Graph, values: Sequence[Value], spread: bool = False) -> list[Value]:
    """Values that are joined step by step, with time on one axis; a vector stands at each step.

    It is written for each of them with `spread`, and once, where operators spread it themselves.
    """
    first = next((x for x in values if not x.is_vector), None)
    if first is None:
        return list(values)
    axis, found = first.time_axis, []
    for x in values:
        if x.is_vector:
            name = graph.add("Unsqueeze", x.name, graph.integers(axis))
            if spread:
                sizes = graph.add("Shape", first.name, start=0, end=2)
                name = graph.add("Expand", name, graph.add("Concat", sizes, graph.integers(1), axis=0))
            found.append(first.at(name))
            continue
        if x.steps.key != first.steps.key:
            graph.together.append((first.steps.key, x.steps.key))
        found.append(replace(ordered(graph, x, axis), steps=first.steps))
    return found


def reverse(graph: Graph, x: Value) -> Value:
    """Each sequence backwards, its padding still last."""
    axis = x.time_axis
    if x.steps.lengths:
        name = graph.add("ReverseSequence", x.name, lengths64(graph, x.steps), time_axis=axis, batch_axis=1 - axis)
    else:
        one = graph.integers(-1)
        name = graph.add("Slice", x.name, one, graph.integers(-(2**63)), graph.integers(axis), one)
    return x.at(name)


def last_step(graph: Graph, x: Value) -> str:
    """The last real step of each sequence, (batch, features)."""
    if not x.steps.lengths:
        return graph.add("Gather", x.name, graph.integer(-1), axis=x.time_axis)
    last = graph.unsqueeze(graph.add("Sub", lengths64(graph, x.steps), graph.integer(1)), 1)
    return graph.add("GatherND", ordered(graph, x, 1).name, last, batch_dims=1)


def last_steps(graph: Graph, x: Value, count: int, before: str = "") -> str:
    """The last `count` real steps, (batch, count x features); before those of a shorter sequence zeros, or `before`."""
    x = ordered(graph, x, 1)
    if before:
        padded = graph.add("Concat", before, x.name, axis=1)
    else:
        padded = graph.add("Pad", x.name, graph.integers(0, count, 0, 0, 0, 0), graph.number(0))
    if x.steps.lengths:  # the last steps of a sequence stand at length, ..., length + count - 1
        steps = graph.add("Add", graph.unsqueeze(lengths64(graph, x.steps), 1), graph.integers(*range(count)))
        steps = graph.unsqueeze(steps, 2)
        kept = graph.add("GatherND", padded, steps, batch_dims=1)
    else:
        kept = graph.add("Slice", padded, graph.integers(-count), graph.integers(2**63 - 1), graph.integers(1))
    return graph.add("Reshape", kept, graph.integers(0, -1))
