"""Modules for the layers that PyTorch does not have; see `elman.interop.pytorch.modules`. This file needs PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elman.layers.pointwise import MODES, merged
from elman.layers.windows import Windows

Lengths: TypeAlias = Tensor | None
Value: TypeAlias = tuple[Tensor, Lengths]  # a sequence, or a vector per sequence


def _real(x: Tensor, lengths: Tensor) -> Tensor:
    """(batch, time): where a step is real."""
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]


def cleared(x: Tensor, lengths: Lengths) -> Tensor:
    """x with 0 after the end of each sequence."""
    if lengths is None:
        return x
    real = _real(x, lengths)
    return x.masked_fill(~(real if x.dim() == 2 else real[..., None]), 0)


def _at(x: Tensor, steps: Tensor) -> Tensor:
    """The steps of each sequence, (batch, ...), by their numbers."""
    rows = torch.arange(len(x), device=x.device)
    return x[rows.view(-1, *[1] * (steps.dim() - 1)), steps]


def _all_steps(x: Tensor) -> Tensor:
    """The lengths of sequences without padding."""
    return torch.full((len(x),), x.shape[1], device=x.device)


class Own(nn.Module):
    """A module for the layer of elman of the same name, with its options as attributes."""

    has_states = False  # that go from step to step: called with x, lengths and a state, it gives them all

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = tuple(options)
        self.__dict__.update(options)
        self.make()

    def make(self) -> None:
        """Sets what follows from the options; parameters without numbers."""

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device="meta"))


class OverTime(Own):
    """A module that looks along time: from x and lengths to y and its lengths, None for vectors."""

    drops_steps = False

    def forward(self, x: Tensor, lengths: Lengths = None) -> Value:
        """y, and how many of its steps are real."""
        y, left = self.along(x, _all_steps(x) if lengths is None else lengths)
        return y, None if lengths is None and not self.drops_steps else left

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        """The same, with lengths given."""
        raise NotImplementedError


class LastStep(OverTime):
    """The last real step; with `bidirectional` what each direction computed last."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        last = _at(x, lengths - 1)
        if not self.bidirectional:
            return last, None
        half = x.shape[-1] // 2
        return torch.cat([last[:, :half], x[:, 0, half:]], dim=1), None


class LastSteps(OverTime):
    """The last `count` real steps side by side, zeros before those of shorter sequences."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        steps = lengths[:, None] - torch.arange(self.count, 0, -1, device=x.device)  # (B, count)
        return _at(x, steps.clamp(min=0)).masked_fill((steps < 0)[..., None], 0).flatten(1), None


class MeanOverTime(OverTime):
    """The mean over the real steps."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        return cleared(x, lengths).sum(1) / lengths[:, None], None


class MaxOverTime(OverTime):
    """The largest value of each feature over the real steps; where two are equal, the first takes the gradient."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        return x.masked_fill(~_real(x, lengths)[..., None], -torch.inf).max(1).values, None


class Reverse(OverTime):
    """Each sequence backwards in time; padding stays at the end."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        steps = torch.arange(x.shape[1], device=x.device)
        return _at(x, torch.where(_real(x, lengths), lengths[:, None] - 1 - steps, steps)), lengths


class Masking(OverTime):
    """Drops every step whose features all equal `value`; what remains of each sequence moves together."""

    drops_steps = True

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        remain = (x != self.value).any(-1) & _real(x, lengths)
        left = remain.sum(1)
        if not left.all():
            raise ValueError(f"each sequence must have a step other than {self.value:g}, which is masked. Got none.")
        # Those that remain first, in their order.
        return cleared(_at(x, torch.argsort(~remain, dim=1, stable=True)), left), left


def windows(over: Any, x: Tensor, lengths: Tensor, past: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The steps under each window (batch, windows, width, features), which of them are real, and how many windows.

    `over` has the width, stride and padding of `elman.Conv1d`; `past` are steps before the sequence, in its first rows.
    """
    lie = Windows(over.width, over.stride or over.width, getattr(over, "dilation", 1), over.padding)
    counts = torch.as_tensor(lie.counts(lengths.cpu().numpy()), device=x.device)
    if over.padding == "same":
        left = ((counts - 1) * lie.stride + lie.span - lengths).clamp(min=0) // 2
    else:
        before = {"valid": 0, "causal": lie.span - 1}.get(over.padding, over.padding[0])
        left = torch.full_like(lengths, before)
    first = torch.arange(int(counts.max()), device=x.device) * lie.stride - left[:, None]
    steps = first[..., None] + torch.arange(over.width, device=x.device) * lie.dilation
    real = (steps >= -past) & (steps < lengths[:, None, None])
    return _at(x, (steps + past).clamp(0, x.shape[1] - 1)), real[..., None], counts


class Conv1d(Own):
    """A convolution, causal with its last inputs as a state; `weight` (output, input, width) as in `nn.Conv1d`."""

    def make(self) -> None:
        self.weight, self.bias = _empty(self.output_size, self.input_size, self.width), _empty(self.output_size)
        lie = Windows(self.width, self.stride, self.dilation, self.padding)
        self.kept = lie.span - 1 if lie.causal else 0
        self.has_states = self.kept > 0

    def forward(self, x: Tensor, lengths: Lengths = None, state: Any = None) -> Any:
        """y, how many of its steps are real, and its last inputs."""
        known, end = _all_steps(x) if lengths is None else lengths, None
        if self.kept:
            past = x.new_zeros(len(x), self.kept, x.shape[2]) if state is None else state.view(len(x), self.kept, -1)
            x = torch.cat([past, x], dim=1)
            end = _at(x, known[:, None] + torch.arange(self.kept, device=x.device)).flatten(1)
        rows, real, counts = windows(self, x, known, self.kept)
        y = rows.masked_fill(~real, 0).flatten(2) @ self.weight.permute(0, 2, 1).flatten(1).T + self.bias
        return self.act(y), None if lengths is None else counts, end


class MaxPool1d(OverTime):
    """The largest value of each feature under each window; where two are equal, the first takes the gradient."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        rows, real, counts = windows(self, x, lengths)
        return rows.masked_fill(~real, -torch.inf).max(2).values, counts


class AveragePool1d(OverTime):
    """The mean of the real steps under each window."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        rows, real, counts = windows(self, x, lengths)
        return rows.masked_fill(~real, 0).sum(2) / real.sum(2), counts


class BatchNorm(OverTime):
    """Batch normalization of the features over the real steps; weights and buffers as in `nn.BatchNorm1d`."""

    def make(self) -> None:
        self.weight, self.bias = _empty(self.size), _empty(self.size)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(self.size, device="meta"))

    def forward(self, x: Tensor, lengths: Lengths = None) -> Value:
        """y, and how many of its steps are real."""
        real = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device) if lengths is None else _real(x, lengths)
        running, own = (self.running_mean, self.running_var), (self.weight, self.bias)
        y = torch.zeros_like(x)
        y[real] = nn.functional.batch_norm(x[real], *running, *own, self.training, self.momentum, self.epsilon)
        return y, lengths


class Scale(Own):
    """(x - shift) factor."""

    def forward(self, x: Tensor) -> Tensor:
        """y in the dtype of x."""
        return (x - x.new_tensor(self.shift)) * x.new_tensor(self.factor)


class Repeat(OverTime):
    """A vector at each of `count` steps."""

    def along(self, x: Tensor, lengths: Tensor) -> Value:
        return x[:, None].expand(-1, self.count, -1), None


class Several(Own):
    """A module that reads several values; where some are sequences, a vector stands at each of their steps."""

    def forward(self, *values: Value) -> Value:
        """The value, and how many of its steps are real."""
        steps, lengths = next((value for value in values if value[0].dim() == 3), values[0])
        wide = (-1, *steps.shape[1:-1], -1)
        return self.join(
            [part if part.dim() == steps.dim() else part[:, None].expand(wide) for part, _ in values]
        ), lengths

    def join(self, parts: list[Tensor]) -> Tensor:
        """One value of several."""
        raise NotImplementedError


class Add(Several):
    """The sum."""

    def join(self, parts: list[Tensor]) -> Tensor:
        return sum(parts[1:], parts[0])


class Multiply(Several):
    """The product."""

    def join(self, parts: list[Tensor]) -> Tensor:
        return math.prod(parts[1:], start=parts[0])


class Concatenate(Several):
    """The features side by side."""

    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, dim=-1)


class Attention(Several):
    """Its parameters are the weights of the Linear `query`, `memory` and `score`, where it has any."""

    def make(self) -> None:
        units, size = self.units or 0, self.units or self.memory_size
        self.query = nn.Linear(self.query_size, units, device="meta") if units else nn.Identity()
        self.memory = nn.Linear(self.memory_size, units, bias=False, device="meta") if units else nn.Identity()
        additive = self.kind == "additive"
        self.score = nn.Linear(size, 1, bias=False, device="meta") if additive else nn.Identity()
        self.shrink = size**-0.5 if self.scaled is not False else 1.0

    def forward(self, *values: Value) -> Value:
        """The context, in the form of the query."""
        (x, lengths), (m, of_memory) = values
        q, k = self.query(x if x.dim() == 3 else x[:, None]), self.memory(m)
        if self.kind == "dot":
            scores = q @ k.mT * self.shrink
        else:
            scores = self.score(torch.tanh(q[:, :, None] + k[:, None]))[..., 0]
        if of_memory is not None:
            scores = scores.masked_fill(~_real(m, of_memory)[:, None], -torch.inf)
        y = scores.softmax(-1) @ cleared(m, of_memory)
        return y if x.dim() == 3 else y[:, 0], lengths


def run(module: nn.RNNBase, x: Tensor, lengths: Lengths, state: Any) -> tuple[Tensor, Lengths, Any]:
    """A recurrent module over the real steps; states (batch, hidden), with a leading axis of 2 for both directions.

    Where none is given, they start from those that are learned.
    """
    pair, both = isinstance(module, nn.LSTM), module.bidirectional
    start: Any = None
    if state is not None:
        start = tuple(part if both else part[None] for part in (state if pair else (state,)))
    elif hasattr(module, "h0"):
        names = [[name + end for end in ("", "_reverse")[: 1 + both]] for name in ("h0", "c0")[: 1 + pair]]
        learned = [torch.stack([getattr(module, name) for name in each])[:, None] for each in names]
        start = tuple(part.expand(-1, len(x), -1).contiguous() for part in learned)
    steps = x if lengths is None else pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    y, end = module(steps, start if pair or start is None else start[0])
    if lengths is not None:
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    ends = tuple(part if both else part[0] for part in (end if pair else (end,)))
    return y, lengths, ends if pair else ends[0]


class Bidirectional(Own):
    """Two recurrent modules of one direction, `first` and `second`, which goes from the end to the start."""

    has_states = True

    def forward(self, x: Tensor, lengths: Lengths = None, state: Any = None) -> tuple[Tensor, Lengths, Any]:
        """y, how many of its steps are real, and the states as `elman.Bidirectional` has them."""
        turn, pair = Reverse(), isinstance(self.first, nn.LSTM)
        sizes = {(part.hidden_size, part.proj_size, isinstance(part, nn.LSTM)) for part in (self.first, self.second)}
        alike = len(sizes) == 1  # their states stand in one array then
        if state is not None and alike and pair:
            state = list(zip(*state, strict=True))
        begins = [None, None] if state is None else state
        a, _, first = run(self.first, x, lengths, begins[0])
        b, _, second = run(self.second, turn(x, lengths)[0], lengths, begins[1])
        b = turn(b, lengths)[0]
        y = torch.cat([a, b], dim=-1) if self.merge == "concat" else merged(self.merge, a, b)
        if not alike:
            return y, lengths, (first, second)
        both = zip(first, second, strict=True)
        return y, lengths, tuple(map(torch.stack, both)) if pair else torch.stack([first, second])


class MergeDirections(Own):
    """One value from both halves of the features: their "sum", their product "mul", their mean "ave"."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., 2 features) to (..., features)."""
        a, b = x.chunk(2, dim=-1)
        return merged(MODES[self.mode], a, b)


class SequenceDropout(nn.Dropout):
    """Dropout with one mask per sequence, the same at all its steps."""

    def forward(self, x: Tensor) -> Tensor:
        """x, in training masked and scaled."""
        return x * super().forward(torch.ones_like(x[:, :1])) if x.dim() == 3 else super().forward(x)


#: Activations that PyTorch has no module for.
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "scaled_tanh": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
    "hard_sigmoid": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
}


class Activation(Own):
    """One of the activations of elman that PyTorch has no module for, by its `name` and `slopes`."""

    def forward(self, x: Tensor) -> Tensor:
        """y = act(x)."""
        return FUNCTIONS[self.name](x, **self.slopes)
