"""Random networks that branch and join, with inputs for them."""

from __future__ import annotations

import numpy as np

import elman

DTYPE = "float64"


class Drawn:
    """A random graph, whether it can stream, and its inputs of three sequences.

    With `states` last states are values, and nodes start from values.
    """

    def __init__(self, seed: int, streamable: bool = False, plain: bool = False, states: bool = False) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.streamable, self.plain, self.states = streamable, plain, states
        self.nodes: dict[str, object] = {}
        self.kinds: dict[str, str] = {}  # "steps", "vectors", "tokens", "memory": steps of other lengths
        self.widths: dict[str, int] = {}
        self.cells: dict[str, type] = {}
        self.lengths = rng.integers(1, 6, 3)
        self.memory_lengths = rng.integers(1, 7, 3)
        if plain:
            self.lengths[:] = 5
        kinds = ["steps", "vectors", "tokens", *["memory"] * (not streamable)]
        for i in range(int(rng.integers(1, 4))):
            kind = "steps" if i == 0 else str(rng.choice(kinds))
            self._value(f"in{i}", kind, 7 if kind == "tokens" else int(rng.integers(1, 4)))
        self.inputs = tuple(self.kinds)
        for i in range(int(rng.integers(3, 9))):
            self._node(f"n{i}")
        self._join_what_is_left()

    def _value(self, name: str, kind: str, width: int) -> None:
        self.kinds[name], self.widths[name] = kind, width

    def _seed(self) -> int:
        return int(self.rng.integers(1 << 30))

    def _read(self) -> str:
        """An earlier value, the late ones more often."""
        names = list(self.kinds)
        return names[max(int(self.rng.integers(len(names))), int(self.rng.integers(len(names))))]

    def _node(self, name: str) -> None:
        rng, read = self.rng, self._read()
        kind, width = self.kinds[read], self.widths[read]
        if kind == "tokens":
            size = int(rng.integers(1, 4))
            self.nodes[name] = (elman.Embedding(7, size, dtype=DTYPE, seed=self._seed()), read)
            self._value(name, "steps", size)
            return
        choices = ["dense", "norm", "batch", "activate", "scale", "join", "join"]
        choices += ["rnn", "gru", "lstm", "network", "convolution"] * (kind == "steps")
        choices += ["both", "two", "mean", "max", "last", "window", "attention"] * (
            kind == "steps" and not self.streamable
        )
        choices += (
            ["rnn", "gru", "lstm", "both", "two"] * 2 if self.states and kind == "steps" and not self.streamable else []
        )
        choices = ["attention"] if kind == "memory" else choices
        getattr(self, f"_{rng.choice(choices)}")(name, read, kind, width)

    def _dense(self, name, read, kind, width):
        size = int(self.rng.integers(1, 4))
        self.nodes[name] = (elman.Dense(width, size, activation="tanh", dtype=DTYPE, seed=self._seed()), read)
        self._value(name, kind, size)

    def _norm(self, name, read, kind, width):
        if width == 1:
            return self._dense(name, read, kind, width)
        layer = elman.LayerNorm(width, epsilon=2.0**-10, dtype=DTYPE)  # a number of float32 too
        layer.gain = self.rng.standard_normal(width)
        self.nodes[name] = (layer, read)
        self._value(name, kind, width)
        return None

    def _batch(self, name, read, kind, width):
        layer = elman.BatchNorm(width, dtype=DTYPE)
        layer.gain, layer.variance = self.rng.standard_normal(width), self.rng.uniform(0.5, 2, width)
        self.nodes[name] = (layer, read)
        self._value(name, kind, width)

    def _activate(self, name, read, kind, width):
        self.nodes[name] = (elman.Activate(str(self.rng.choice(["sigmoid", "softmax"]))), read)
        self._value(name, kind, width)

    def _scale(self, name, read, kind, width):
        self.nodes[name] = (elman.Scale(width, self.rng.standard_normal(width), 0.7), read)
        self._value(name, kind, width)

    def _convolution(self, name, read, kind, width):
        padding = "causal" if self.streamable else ("causal", "same", (2, 0))[self.rng.integers(3)]
        size, span = int(self.rng.integers(1, 4)), 3 if padding == (2, 0) else int(self.rng.integers(1, 4))
        layer = elman.Conv1d(width, size, span, 1, 1, padding, "tanh", DTYPE, seed=self._seed())
        self.nodes[name] = (layer, read)
        self._value(name, "steps", size)

    def _window(self, name, read, kind, width):
        """Fewer steps, which only a pool can bring beside the others."""
        pool = (elman.MaxPool1d, elman.AveragePool1d)[self.rng.integers(2)](2, padding="same")
        convolution = elman.Conv1d(width, 2, 3, 2, padding=(1, 1), dtype=DTYPE, seed=self._seed())
        end = (elman.LastStep, elman.MeanOverTime)[self.rng.integers(2)]()
        self.nodes[name] = (elman.Network([convolution, pool, end]), read)
        self._value(name, "vectors", 2)

    def _join(self, name, read, kind, width):
        others = self._of_kind("steps", "vectors")
        reads = [read, *(str(self.rng.choice(others)) for _ in range(int(self.rng.integers(1, 3))))]
        widths = [self.widths[each] for each in reads]
        same = len(set(widths)) == 1
        layer = self.rng.choice([elman.Add, elman.Multiply, elman.Concatenate] if same else [elman.Concatenate])
        self.nodes[name] = (layer(), *reads)
        kind = "steps" if "steps" in {self.kinds[each] for each in reads} else "vectors"
        self._value(name, kind, width if layer is not elman.Concatenate else sum(widths))

    def _of_kind(self, *kinds):
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def _attention(self, name, memory, kind, width):
        query = str(self.rng.choice(self._of_kind("steps", "vectors")))
        size = self.widths[query]
        units = None if size == width and self.rng.random() < 0.5 else int(self.rng.integers(1, 4))
        which = str(self.rng.choice(["dot", "additive"]))
        layer = elman.Attention(size, width, units, which, dtype=DTYPE, seed=self._seed())
        self.nodes[name] = (layer, query, memory)
        self._value(name, self.kinds[query], width)

    def _recurrent(self, name, read, width, kind, **options):
        size = int(self.rng.integers(2, 4))
        layer = kind(width, size, dtype=DTYPE, seed=self._seed(), **options)
        before = [other for other, its in self.cells.items() if its == (kind, size, options)]
        state = None
        if before and self.rng.random() < 0.5 and not self.streamable:
            state = str(self.rng.choice(before))
            layer = layer.replace(learned_state=False)
        elif self._starts():
            layer = layer.replace(learned_state=False)
            state = self._made(name, layer)
        self.nodes[name] = elman.Node(layer, read, state=state)
        self.cells[name] = (kind, size, options)
        self._value(name, "steps", layer.output_size)
        self._last_states(name, layer)

    def _last_states(self, name, layer):
        for part, its in layer.states().items() if self.states and not self.streamable else []:
            if self.rng.random() < 0.6:
                self._value(f"{name}.{part}", "vectors", its)

    def _starts(self):
        return self.states and not self.streamable and self.rng.random() < 0.7 and self._of_kind("vectors")

    def _made(self, name, layer):
        return tuple([self._start(name, part, width) for part, width in layer.states().items()])

    def _start(self, name, part, width):
        """A vector as wide as a state: one that is there, or one that a layer makes."""
        vectors = self._of_kind("vectors")
        fitting = [other for other in vectors if self.widths[other] == width]
        if fitting and self.rng.random() < 0.5:
            return str(self.rng.choice(fitting))
        read = str(self.rng.choice(vectors))
        made = f"{name}_{part.replace('_reverse', '_back')}"
        self.nodes[made] = (elman.Dense(self.widths[read], width, "tanh", dtype=DTYPE, seed=self._seed()), read)
        self._value(made, "vectors", width)
        return made

    def _rnn(self, name, read, kind, width):
        self._recurrent(name, read, width, elman.RNN)

    def _gru(self, name, read, kind, width):
        self._recurrent(name, read, width, elman.GRU)

    def _lstm(self, name, read, kind, width):
        self._recurrent(name, read, width, elman.LSTM, learned_state=True)

    def _both(self, name, read, kind, width):
        self._recurrent(name, read, width, elman.GRU, bidirectional=True)

    def _two(self, name, read, kind, width):
        """Two layers of any cells, one in each direction."""
        merge = str(self.rng.choice(["concat", "sum", "mean", "multiply"]))
        size, parts = int(self.rng.integers(1, 4)), []
        starts = self._starts()
        for cell in self.rng.choice([elman.RNN, elman.GRU, elman.LSTM], 2):
            more = {"learned_state": True} if self.rng.random() < 0.3 and not starts else {}
            if cell is elman.LSTM and self.rng.random() < 0.3:
                more["peepholes"] = True
            parts.append(cell(width, size, dtype=DTYPE, seed=self._seed(), **more))
            size = int(self.rng.integers(1, 4)) if merge == "concat" else size
        layer = elman.Bidirectional(*parts, merge=merge)
        self.nodes[name] = elman.Node(layer, read, state=self._made(name, layer) if starts else None)
        self._value(name, "steps", layer.output_size)
        self._last_states(name, layer)

    def _network(self, name, read, kind, width):
        first = elman.GRU(width, 3, dtype=DTYPE, seed=self._seed())
        dense = elman.Dense(3, 2, dtype=DTYPE, seed=self._seed())
        inside = {"a": first, "b": dense, "c": (elman.Concatenate(), "a", "b")}
        self.nodes[name] = (elman.Network(inside), read)
        self._value(name, "steps", 5)

    def _mean(self, name, read, kind, width):
        self.nodes[name] = (elman.MeanOverTime(), read)
        self._value(name, "vectors", width)

    def _max(self, name, read, kind, width):
        self.nodes[name] = (elman.MaxOverTime(), read)
        self._value(name, "vectors", width)

    def _last(self, name, read, kind, width):
        self.nodes[name] = (elman.LastStep(), read)
        self._value(name, "vectors", width)

    def _join_what_is_left(self) -> None:
        """What nobody reads is joined, or comes out."""
        parts = [elman.Node(*n) if isinstance(n, tuple) else n for n in self.nodes.values()]
        read = {name for node in parts for name in node.reads} | {node.state for node in parts}
        read |= {name for node in parts if isinstance(node.state, tuple) for name in node.state}
        for name in set(self.inputs) - read:
            if self.kinds[name] == "tokens":
                self.nodes[f"{name}_e"] = (elman.Embedding(7, 2, dtype=DTYPE, seed=self._seed()), name)
                self._value(f"{name}_e", "steps", 2)
            if self.kinds[name] == "memory":
                self._attention(f"{name}_a", name, "memory", self.widths[name])
                read |= {*self.nodes[f"{name}_a"][1:]}
        left = [name for name in self.kinds if name not in read and self.kinds[name] in ("steps", "vectors")]
        owners = {name.partition(".")[0] for name in self.kinds if "." in name}
        left = [name for name in left if name not in owners or self.rng.random() < 0.5]  # its states alone are read
        self.outputs = tuple(name for name in left if name not in self.inputs and self.rng.random() < 0.5)
        rest = [name for name in left if name not in self.outputs]
        if len(rest) > 1:
            self.nodes["end"] = (elman.Concatenate(), *rest)
        elif rest:
            self.nodes["end"] = (elman.Dense(self.widths[rest[0]], 2, dtype=DTYPE, seed=self._seed()), rest[0])
        if rest:
            self.outputs = (*self.outputs, "end")
        steps = [name for name in self.nodes if self.kinds.get(name) == "steps"]
        if self.streamable and steps and self.rng.random() < 0.5:  # a pool, which steps cannot stand beside
            read = str(self.rng.choice(steps))
            pool = (elman.LastStep, elman.MeanOverTime, elman.MaxOverTime)[self.rng.integers(3)]()
            dense = elman.Dense(self.widths[read], 2, dtype=DTYPE, seed=self._seed())
            self.nodes["pool"] = (elman.Network([pool, dense]), read)
            self.outputs = (*self.outputs, "pool")
        if self.streamable and self.states and self.cells:
            some = str(self.rng.choice(list(self.cells)))
            state = f"{some}.{self.rng.choice(list(elman.Node(*self._parts(some)).layer.states()))}"
            width = self.cells[some][1]
            self.nodes["dense"] = (elman.Dense(width, 2, "tanh", dtype=DTYPE, seed=self._seed()), state)
            self.nodes["state"] = (elman.Concatenate(), "dense", state)
            self.outputs = (*self.outputs, "state", state)
        self.named = len(self.outputs) > 1 or self.rng.random() < 0.3 or next(reversed(self.nodes)) != self.outputs[0]

    def _parts(self, name):
        node = self.nodes[name]
        return (node.layer, *node.reads) if isinstance(node, elman.Node) else node

    def network(self) -> elman.Network:
        return elman.Network(self.nodes, outputs=self.outputs if self.named else None)

    def lengths_of(self, name: str) -> np.ndarray:
        return self.memory_lengths if self.kinds.get(name) == "memory" else self.lengths

    def inputs_of(self, net: elman.Network, form: str = "list") -> object:
        """The inputs as lists of sequences, or as padded arrays with NaN in the padding."""
        given = {}
        for name in net.inputs:
            kind, width = self.kinds[name], self.widths[name]
            if kind == "vectors":
                given[name] = self.rng.standard_normal((3, width))
                continue
            parts = [
                self.rng.integers(0, width, n) if kind == "tokens" else self.rng.standard_normal((n, width))
                for n in self.lengths_of(name)
            ]
            given[name] = parts if form == "list" else padded(parts)
        return given if len(net.inputs) > 1 else given[net.inputs[0]]


def padded(parts: list[np.ndarray]) -> np.ndarray:
    """One array with NaN, or -1 among tokens, after the end of each sequence."""
    time = max(map(len, parts))
    fill = -1 if parts[0].dtype.kind == "i" else np.nan
    array = np.full((len(parts), time, *parts[0].shape[1:]), fill, parts[0].dtype)
    for row, part in zip(array, parts, strict=True):
        row[: len(part)] = part
    return array
