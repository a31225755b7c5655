"""The calls of a Keras model as nodes of a network, one after another."""

from __future__ import annotations

import warnings

from elman.checks import FormatError
from elman.graph import Node
from elman.interop.chain import free_name, network_of
from elman.interop.keras.arrays import Groups
from elman.interop.keras.flow import Facts, flow, returns_sequences
from elman.interop.keras.graph import OVER_STATES, Call, Graph, Ref
from elman.interop.keras.layers import read_layer
from elman.interop.keras.parts import At
from elman.layers import Activate, Bidirectional, Layer, Recurrent
from elman.network import Network

Key = tuple[Ref, int]  # a node: the call, and which of its parts; an input: its call, and -1


class Nodes:
    """A network in the making."""

    def __init__(self, graph: Graph, version: int, dtype: str) -> None:
        self._graph, self._version, self._dtype = graph, version, dtype
        values = [ref for call in graph.calls for ref in call.reads]
        self._outputs = {name: ref for name, ref in graph.outputs.items() if not self._is_state(ref)}
        if not self._outputs:  # of states alone: the first of them is the last output too
            self._outputs = dict([next(iter(graph.outputs.items()))])
        self._used: dict[Ref, set[int]] = {}
        for ref in (*values, *self._outputs.values()):
            self._used.setdefault(ref._replace(output=0), set()).add(ref.output)
        started = [ref for call in graph.calls for ref in call.states]
        self._states_in = [ref for ref in graph.inputs.values() if ref in started]
        for ref in self._states_in:
            if ref in values or started.count(ref) > 1:
                raise FormatError(f"an input that is a state must be that of one layer alone. Got {ref.layer!r}.")
        self._masked: list[str] = []  # what is that of Keras as long as masked steps stand last
        self._facts: dict[Ref, Facts] = {}
        self._values: dict[Ref, Key] = {}  # the node, or the input, that gives an output
        self._memory: dict[Ref, tuple[Key, int]] = {}  # of which node and which of its states an output is
        self._nodes: dict[Key, tuple[Layer, list[Key], Key | None]] = {}

    def _is_state(self, ref: Ref) -> bool:
        """Whether an output of the model is a state that a layer gives after what it computes."""
        call = next((call for call in self._graph.calls if call.gives == ref._replace(output=0)), None)
        if call is None or call.entry.kind not in OVER_STATES:
            return False
        two = call.entry.kind == "Bidirectional" and call.entry.config.get("merge_mode", "concat") is None
        return ref.output > two

    def add(self, call: Call, arrays: Groups) -> None:
        """The nodes of one call."""
        if not call.reads:
            self._facts[call.gives] = Facts().start(call.entry.config)
            self._values[call.gives] = (call.gives, -1)
            return
        for ref in call.reads:
            if ref not in self._values:
                raise FormatError(f"it must read an output that {ref.layer!r} has. Got its output {ref.output}.")
        read = [self._facts[ref].start(call.entry.config) for ref in call.reads]
        self._facts.update(zip(call.reads, read, strict=True))
        if call.entry.kind == "InputLayer":  # of a nested model
            return
        after = flow(call, read)
        used = self._used.get(call.gives, {0})
        if self._version >= 3 and call.states and read[0].mask is not None and not any(call.masks):
            self._check_unmasked(call)
        parts = read_layer(call.entry, arrays, At(tuple(read), self._version, self._dtype, used))
        values: list[Key] = [self._values[ref] for ref in call.reads]
        widths = [facts.features for facts in read]
        for i, (layer, reads) in enumerate(parts.layers):
            key = (call.gives, i)
            self._nodes[key] = (layer, [values[j] for j in reads], None)
            values.append(key)
            widths.append(layer.features(*[widths[j] for j in reads]))
        self._start(
            call,
            [value for value in values[parts.count :] if isinstance(self._nodes[value][0], (Recurrent, Bidirectional))],
        )
        for output, j in parts.outputs.items():
            ref = call.gives._replace(output=output)
            self._values[ref] = values[j]
            self._facts[ref] = (
                Facts(after.axes, widths[j], after.steps, after.mask, after.lost)
                if output in (parts.outputs if not parts.memory else {0})
                else Facts(2, widths[j])
            )
        for output, (j, k) in parts.memory.items():
            self._memory[call.gives._replace(output=output)] = (values[j], k)

    def _check_unmasked(self, call: Call) -> None:
        """Refuses what Keras 3 computes of masked steps: it hands no mask to a layer that is given its first states."""
        ends = [*self._graph.outputs.values(), *(ref for other in self._graph.calls for ref in other.states)]
        ends += [ref for other in self._graph.calls for ref in other.reads]
        asked = any(ref._replace(output=0) == call.gives and ref.output for ref in ends)
        if not returns_sequences(call.entry) or asked:
            raise FormatError(
                "its steps must not be masked where it is given its first states, and its last step or state is used: "
                "Keras 3 computes masked steps there. Got a mask."
            )
        self._masked.append(call.entry.name)

    def _start(self, call: Call, cells: list[Key]) -> None:
        """Sets from which states the recurrent layers of a call start."""
        if not call.states:
            return
        left = list(call.states)
        for key in cells:
            layer, reads, _ = self._nodes[key]
            count = len(layer.first_state(1))
            mine, left = left[:count], left[count:]
            if len(mine) == count and all(ref in self._states_in for ref in mine):
                continue
            origins = [self._memory.get(ref, (None, -1)) for ref in mine]
            if len(mine) < count or [k for _, k in origins] != list(range(count)) or len({o for o, _ in origins}) > 1:
                raise FormatError(
                    f"initial_state must be {count} inputs of the model, or all {count} states of one layer, in their "
                    f"order. Got {', '.join(repr(ref.layer) for ref in mine) or 'none'}."
                )
            self._nodes[key] = (layer, reads, origins[0][0])
        if left:
            raise FormatError(f"initial_state must be as many states as the layer has. Got {len(left)} more.")

    def network(self, source: str) -> Network:
        """The network, a list where it is a chain."""
        for name, ref in self._outputs.items():
            if ref not in self._values:
                raise FormatError(f"{source}: the output {name!r} must be one that its layer has. Got {ref.output}.")
            if self._facts[ref].mask is not None:
                self._masked.append(name)
        if self._masked:
            warnings.warn(
                f"{source}: masked steps must stand last for what {', '.join(map(repr, self._masked))} gives to be "
                f"that of Keras, step by step: Keras keeps the places of masked steps, here they are left out.",
                UserWarning,
                stacklevel=5,
            )
        inputs = {name: ref for name, ref in self._graph.inputs.items() if ref not in self._states_in}
        given = [self._values[ref] for ref in self._outputs.values()]
        for i, (name, value) in enumerate(zip(self._outputs, given, strict=True)):
            if value in given[:i] or (value[1] < 0 and self._nodes):  # a node of its own gives it
                ref = Ref(name, -1, 0)
                self._nodes[ref, 0] = (Activate("identity"), [value], None)
                self._outputs[name], self._values[ref] = ref, (ref, 0)
        ends = [self._values[ref] for ref in self._outputs.values()]
        needed = set(ends)
        for key, (_, reads, start) in reversed(self._nodes.items()):
            needed |= {*reads, *([] if start is None else [start])} if key in needed else set()
        nodes = {key: node for key, node in self._nodes.items() if key in needed}
        if not nodes:
            raise FormatError("the model must have at least one layer that computes something. Got none.")
        keys = [*((ref, -1) for ref in inputs.values()), *nodes]
        chain = all(node[1] == [keys[i]] and node[2] is None for i, node in enumerate(nodes.values()))
        if chain and len(inputs) == 1 and ends == keys[-1:]:
            return network_of([layer for layer, _, _ in nodes.values()], source)
        names: dict[Key, str] = {(ref, -1): name for name, ref in inputs.items()}
        taken = set(names.values())
        for name, end in zip(self._outputs, ends, strict=True):
            names[end] = free_name(name, taken)
        last_part = dict(nodes.keys())
        for key, (layer, _, _) in nodes.items():
            last = last_part[key[0]] == key[1]
            called = key[0].layer + (f"_{key[0].call + 1}" if key[0].call else "")
            if key not in names:
                names[key] = free_name(called if last else f"{called}/{type(layer).__name__}", taken)
        made = {
            names[key]: Node(layer, *(names[j] for j in reads), state=None if start is None else names[start])
            for key, (layer, reads, start) in nodes.items()
        }
        single = len(ends) == 1 and ends == keys[-1:]
        return network_of(made, source, None if single else tuple(names[end] for end in ends))
