"""What the layers of an ONNX graph need to know of time: its axis, which steps are real, which is the last.

A graph with an input of lengths takes each sequence to its own end, as elman does; padding may hold anything.
"""

from __future__ import annotations

from elman.checks import ShapeError
from elman.interop.onnx.writing.nodes import Graph, Value


def ordered(graph: Graph, x: Value, time_axis: int) -> Value:
    """The same sequences with time at `time_axis`, 0 or 1."""
    sequence_axis(graph, x)
    return x if x.time_axis == time_axis else Value(graph.add("Transpose", x.name, perm=[1, 0, 2]), time_axis)


def sequence_axis(graph: Graph, x: Value) -> int:
    """The axis of time; refuses vectors."""
    if x.time_axis is None:
        raise ShapeError(f"layer {graph.scope} must be given sequences. Got vectors, one an example.")
    return x.time_axis


def batch_size(graph: Graph) -> str:
    """The number of sequences, (1,)."""
    return graph.shared("batch", lambda: graph.add("Shape", "x", start=0, end=1))


def lengths64(graph: Graph) -> str:
    """The lengths as int64, (batch,)."""
    return graph.shared("lengths", lambda: graph.add("Cast", graph.lengths, to=7))  # 7 is INT64


def real_steps(graph: Graph) -> str:
    """Whether each step is a real one, (batch, time)."""

    def make() -> str:
        time = graph.add("Squeeze", graph.add("Shape", "x", start=1, end=2))
        steps = graph.add("Range", graph.integer(0), time, graph.integer(1))
        return graph.add("Less", steps, graph.add("Unsqueeze", lengths64(graph), graph.integers(1)))

    return graph.shared("real_steps", make)


def without_padding(graph: Graph, x: Value, instead: float) -> Value:
    """The value with the number `instead` in all its padding; itself where there are no lengths."""
    if not graph.lengths:
        return x
    time_axis = sequence_axis(graph, x)

    def make() -> str:
        real = real_steps(graph) if time_axis else graph.add("Transpose", real_steps(graph), perm=[1, 0])
        return graph.add("Unsqueeze", real, graph.integers(2))

    real = graph.shared("real_steps_batch_first" if time_axis else "real_steps_time_first", make)
    return x.at(graph.add("Where", real, x.name, graph.number(instead)))


def reverse(graph: Graph, x: Value) -> Value:
    """Each sequence backwards, its padding still behind."""
    axis = sequence_axis(graph, x)
    if graph.lengths:
        name = graph.add("ReverseSequence", x.name, lengths64(graph), time_axis=axis, batch_axis=1 - axis)
    else:
        one = graph.integers(-1)
        name = graph.add("Slice", x.name, one, graph.integers(-(2**63)), graph.integers(axis), one)
    return x.at(name)


def first_step(graph: Graph, x: Value) -> str:
    """The first step of each sequence, (batch, features)."""
    return graph.add("Gather", x.name, graph.integer(0), axis=sequence_axis(graph, x))


def last_step(graph: Graph, x: Value) -> str:
    """The last real step of each sequence, (batch, features)."""
    if not graph.lengths:
        return graph.add("Gather", x.name, graph.integer(-1), axis=sequence_axis(graph, x))
    last = graph.add("Unsqueeze", graph.add("Sub", lengths64(graph), graph.integer(1)), graph.integers(1))
    return graph.add("GatherND", ordered(graph, x, 1).name, last, batch_dims=1)


def last_steps(graph: Graph, x: Value, count: int) -> str:
    """The last `count` real steps, zeros before those of a shorter sequence, (batch, count x features)."""
    x = ordered(graph, x, 1)
    padded = graph.add("Pad", x.name, graph.integers(0, count, 0, 0, 0, 0), graph.number(0))
    if graph.lengths:  # the last steps of a sequence stand at length, ..., length + count - 1
        steps = graph.add(
            "Add", graph.add("Unsqueeze", lengths64(graph), graph.integers(1)), graph.integers(*range(count))
        )
        steps = graph.add("Unsqueeze", steps, graph.integers(2))
        kept = graph.add("GatherND", padded, steps, batch_dims=1)
    else:
        kept = graph.add("Slice", padded, graph.integers(-count), graph.integers(2**63 - 1), graph.integers(1))
    return graph.add("Reshape", kept, graph.integers(0, -1))
