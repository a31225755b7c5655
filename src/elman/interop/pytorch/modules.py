"""A network of elman as a module of PyTorch.

x is (batch, time, features), and `lengths` (batch,) says how many steps of each row are real; of a vector per sequence,
(batch, features), there are none. This file needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elman.checks import ShapeError, describe
from elman.interop.pytorch.parts import Bidirectional, Conv1d, Lengths, OverTime, Reverse, Several, Value, cleared


class Flow(NamedTuple):
    """What the children of a network read, by their places among the inputs and the children before them."""

    inputs: tuple[str, ...]
    children: tuple[str, ...]
    reads: tuple[tuple[int, ...], ...]
    starts: tuple[int | None, ...]  # the child from whose last state each one starts
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
        count = len(self)
        row = tuple((i,) for i in range(count))
        flow = self.flow or Flow(("x",), tuple(self._modules), row, (None,) * count, {"y": count}, False)
        modules = [self.get_submodule(name) for name in flow.children]
        tokens = {j for m, reads in zip(modules, flow.reads, strict=True) if isinstance(m, nn.Embedding) for j in reads}
        values, ends = _inputs(flow.inputs, tokens, x, lengths), list[Any]()
        states = iter(_spread(state, sum(map(has_states, modules))))
        for module, reads, start in zip(modules, flow.reads, flow.starts, strict=True):
            begin = next(states) if has_states(module) else None
            value, end = _called(module, [values[j] for j in reads], begin if start is None else ends[start])
            values.append(value)
            ends.append(end)
        y = {name: cleared(*values[j]) for name, j in flow.outputs.items()}
        kept = [end for module, end in zip(modules, ends, strict=True) if has_states(module)]
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


def _spread(state: Any, count: int) -> list[Any]:
    if state is None:
        return [None] * count
    if not isinstance(state, (list, tuple)) or len(state) != count:
        raise ShapeError(f"state must be a list of {count}, one entry per recurrent layer. Got {describe(state)}.")
    return list(state)


def has_states(module: nn.Module) -> bool:
    """Whether a module has states that go from step to step."""
    return isinstance(module, (nn.RNNBase, Bidirectional)) or (isinstance(module, Conv1d) and module.kept > 0)


def _called(module: nn.Module, values: list[Value], state: Any) -> tuple[Value, Any]:
    """What a module makes of what it reads, and its last state."""
    x, lengths = values[0]
    if isinstance(module, (nn.RNNBase, Bidirectional)):
        y, end = (_run if isinstance(module, nn.RNNBase) else _run_both)(module, x, state, lengths)
        return (y, lengths), end
    if isinstance(module, Conv1d):
        y, lengths, end = module(x, lengths, state)
        return (y, lengths), end
    if isinstance(module, Several):
        return module(*values), None
    return module(x, lengths) if isinstance(module, OverTime) else (module(x), lengths), None


def _run(module: nn.RNNBase, x: Tensor, state: Any, lengths: Lengths) -> tuple[Tensor, Any]:
    """A recurrent module over the real steps; states (batch, hidden), with a leading axis of 2 for both directions."""
    pair, both = isinstance(module, nn.LSTM), module.bidirectional
    if state is None:
        start = _learned(module, len(x))
    else:
        start = tuple(part if both else part[None] for part in (state if pair else (state,)))
    steps = x if lengths is None else pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    y, end = module(steps, start if pair or start is None else start[0])
    if lengths is not None:
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    ends = tuple(part if both else part[0] for part in (end if pair else (end,)))
    return y, ends if pair else ends[0]


def _run_both(module: Bidirectional, x: Tensor, state: Any, lengths: Lengths) -> tuple[Tensor, Any]:
    """The second of two modules from the end to the start; states as `elman.Bidirectional` has them."""
    turn, pair = Reverse(), isinstance(module.first, nn.LSTM)
    if state is not None and module.alike:
        state = list(zip(*state, strict=True)) if pair else list(state)
    begins = [None, None] if state is None else state
    a, first = _run(module.first, x, begins[0], lengths)
    b, second = _run(module.second, turn(x, lengths)[0], begins[1], lengths)
    y = module.merged(a, turn(b, lengths)[0])
    if not module.alike:
        return y, (first, second)
    both = [torch.stack(parts) for parts in zip(first, second, strict=True)] if pair else torch.stack([first, second])
    return y, tuple(both) if pair else both


def _learned(module: nn.RNNBase, batch: int) -> tuple[Tensor, ...] | None:
    """The state before the first step where it is learned, (directions, batch, hidden) each."""
    if not hasattr(module, "h0"):
        return None
    suffixes = ("", "_reverse")[: 1 + module.bidirectional]
    names = ("h0", "c0") if isinstance(module, nn.LSTM) else ("h0",)
    by_name = [torch.stack([getattr(module, name + suffix) for suffix in suffixes]) for name in names]
    return tuple(part[:, None].expand(-1, batch, -1).contiguous() for part in by_name)
