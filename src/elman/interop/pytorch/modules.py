"""A network of elman as a module of PyTorch.

x is (batch, time, features), and `lengths` (batch,) says how many steps of each row are real; of a vector per sequence,
(batch, features), there are none. This file needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from elman.checks import ShapeError, describe
from elman.interop.pytorch.parts import Bidirectional, Conv1d, OverTime, Several, Value, cleared, run


class Flow(NamedTuple):
    """How values go through a network; they stand in a row, the inputs and then what each child gives."""

    inputs: tuple[str, ...]
    # Each child, the values that it reads, and the child from whose last state it starts.
    children: tuple[tuple[str, tuple[int, ...], int | None], ...]
    outputs: Mapping[str, int]
    named: bool  # whether y is a dict


class TorchNetwork(nn.Sequential):
    """The layers of a network of elman, a module each; see `elman.to_torch`.

    ``y, state = module(x, state=None, lengths=None)`` is what ``net(x, state, lengths)`` of elman is, for batches:
    batch first, state a list with one entry per layer that has states, y 0 after the end of each sequence; several
    inputs and outputs are dicts by name. What stands in the padding of x is not read. A recurrent layer is an
    `nn.LSTM`, `nn.GRU` or `nn.RNN`; a learned state stands beside its weights as `h0` and `c0`, and counts where no
    state is given. `flow` says what reads what; without one the children stand in a row.
    """

    flow: Flow | None = None

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, list[Any]]:
        """Output and final state of each layer that has states."""
        row = tuple((name, (i,), None) for i, name in enumerate(self._modules))
        flow = self.flow or Flow(("x",), row, {"y": len(row)}, False)
        children = [(self.get_submodule(name), reads, start) for name, reads, start in flow.children]
        count = sum(_has_states(module) for module, _, _ in children)
        if state is not None and (not isinstance(state, (list, tuple)) or len(state) != count):
            raise ShapeError(f"state must be a list of {count}, one entry per recurrent layer. Got {describe(state)}.")
        begins = iter([None] * count if state is None else state)
        tokens = {j for module, reads, _ in children if isinstance(module, nn.Embedding) for j in reads}
        values, ends, kept = _inputs(flow.inputs, tokens, x, lengths), list[Any](), list[Any]()
        for module, reads, start in children:
            begin = next(begins) if _has_states(module) else None
            value, end = _called(module, [values[j] for j in reads], begin if start is None else ends[start])
            values.append(value)
            ends.append(end)
            kept += [end] * _has_states(module)
        y = {name: cleared(*values[j]) for name, j in flow.outputs.items()}
        return y if flow.named else next(iter(y.values())), kept


def _inputs(names: tuple[str, ...], tokens: set[int], x: Any, lengths: Any) -> list[Value]:
    """The inputs; beside a batch, one without an axis of time is a vector per sequence."""
    given = {names[0]: x} if len(names) == 1 else dict(x)
    if set(given) != set(names):
        raise ShapeError(f"x must be a dict of {', '.join(names)}. Got {describe(x)}.")
    values: list[Value] = []
    for j, name in enumerate(names):
        part, known = given[name], lengths.get(name) if isinstance(lengths, Mapping) else lengths
        axes = part.dim() - (j not in tokens)
        if axes != 2 and (axes != 1 or len(names) == 1):
            shape = "(batch, time)" if j in tokens else "(batch, time, features)"
            raise ShapeError(f"{name} must have shape {shape}. Got {tuple(part.shape)}.")
        if known is None or axes == 1:
            values.append((part, None))
        else:
            known = torch.as_tensor(known, dtype=torch.int64, device=part.device)
            values.append((cleared(part, known), known))
    return values


def _has_states(module: nn.Module) -> bool:
    return isinstance(module, nn.RNNBase) or getattr(module, "has_states", False)


def _called(module: nn.Module, values: list[Value], state: Any) -> tuple[Value, Any]:
    """What a module makes of what it reads, and its last state."""
    x, lengths = values[0]
    if isinstance(module, (nn.RNNBase, Bidirectional, Conv1d)):
        given = (x, lengths, state)
        y, lengths, end = run(module, *given) if isinstance(module, nn.RNNBase) else module(*given)
        return (y, lengths), end
    if isinstance(module, Several):
        return module(*values), None
    return module(x, lengths) if isinstance(module, OverTime) else (module(x), lengths), None
