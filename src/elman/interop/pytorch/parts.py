"""Modules for the layers that PyTorch does not have; see `elman.interop.pytorch.modules`. This file needs PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from elman.checks import ShapeError
from elman.layers.directions import MODES

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


class Own(nn.Module):
    """A module for the layer of elman of the same name, with its options as attributes."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)
        self.make()

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)

    def make(self) -> None:
        """Sets what follows from the options; parameters without numbers."""

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device="meta"))


class OverTime(Own):
    """A module that looks along time: from x and lengths to y and its lengths, None for vectors."""

    def forward(self, x: Tensor, lengths: Lengths = None) -> tuple[Tensor, Lengths]:
        """y, and how many of its steps are real."""
        if lengths is None:
            lengths = torch.full((x.shape[0],), x.shape[1], dtype=torch.int64, device=x.device)
            y, left = self.along(x, lengths)
            return y, left if self.drops_steps else None
        return self.along(x, lengths)

    drops_steps = False

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Lengths]:
        """The same, with lengths given."""
        raise NotImplementedError


class LastStep(OverTime):
    """The last real step; with `bidirectional` what each direction computed last."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        last = x[torch.arange(len(x), device=x.device), lengths - 1]
        if not self.bidirectional:
            return last, None
        half = x.shape[-1] // 2
        return torch.cat([last[:, :half], x[:, 0, half:]], dim=1), None


class LastSteps(OverTime):
    """The last `count` real steps side by side, zeros before those of shorter sequences."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        steps = lengths[:, None] - torch.arange(self.count, 0, -1, device=x.device)  # (B, count)
        rows = torch.arange(len(x), device=x.device)[:, None]
        y = x[rows, steps.clamp(min=0)].masked_fill((steps < 0)[..., None], 0)
        return y.flatten(1), None


class MeanOverTime(OverTime):
    """The mean over the real steps."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        return cleared(x, lengths).sum(1) / lengths[:, None], None


class MaxOverTime(OverTime):
    """The largest value of each feature over the real steps; where two are equal, the first takes the gradient."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        return x.masked_fill(~_real(x, lengths)[..., None], -torch.inf).max(1).values, None


class Reverse(OverTime):
    """Each sequence backwards in time; padding stays at the end."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        steps = torch.arange(x.shape[1], device=x.device)
        steps = torch.where(_real(x, lengths), lengths[:, None] - 1 - steps, steps)
        return x[torch.arange(len(x), device=x.device)[:, None], steps], lengths


class Masking(OverTime):
    """Drops every step whose features all equal `value`; what remains of each sequence moves together."""

    drops_steps = True

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        remain = (x != self.value).any(-1) & _real(x, lengths)
        left = remain.sum(1)
        if not left.all():
            raise ValueError(f"each sequence must have a step other than {self.value:g}, which is masked. Got none.")
        steps = torch.argsort(~remain, dim=1, stable=True)  # those that remain first, in their order
        y = x[torch.arange(len(x), device=x.device)[:, None], steps]
        return cleared(y, left), left


def windows(over: Any, x: Tensor, lengths: Tensor, past: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The steps under each window (batch, windows, width, features), which of them are real, and how many windows.

    `over` has the width, stride and padding of `elman.Conv1d`; `past` are steps before the sequence, in its first rows.
    """
    dilation, stride = getattr(over, "dilation", 1), over.stride or over.width
    span = (over.width - 1) * dilation + 1
    if over.padding == "same":
        counts = -(-lengths // stride)
        left = ((counts - 1) * stride + span - lengths).clamp(min=0) // 2
    else:
        before, after = {"valid": (0, 0), "causal": (span - 1, 0)}.get(over.padding) or over.padding
        counts, left = (lengths + before + after - span) // stride + 1, torch.full_like(lengths, before)
    if counts.min() < 1:
        raise ShapeError(f"each sequence must fill a window of {span} steps. Got one of {int(lengths.min())}.")
    first = torch.arange(int(counts.max()), device=x.device) * stride - left[:, None]
    steps = first[..., None] + torch.arange(over.width, device=x.device) * dilation
    real = (steps >= -past) & (steps < lengths[:, None, None])
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return x[batch, (steps + past).clamp(0, x.shape[1] - 1)], real[..., None], counts


class Conv1d(OverTime):
    """A convolution, causal with its last inputs as a state; `weight` (output, input, width) as in `nn.Conv1d`."""

    def make(self) -> None:
        self.weight, self.bias = _empty(self.output_size, self.input_size, self.width), _empty(self.output_size)
        causal = self.padding in ("causal", ((self.width - 1) * self.dilation, 0)) and self.stride == 1
        self.kept = (self.width - 1) * self.dilation if causal else 0

    def forward(self, x: Tensor, lengths: Lengths = None, state: Any = None) -> Any:
        """y, how many of its steps are real, and its last inputs."""
        known = torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths
        end = None
        if self.kept:
            past = x.new_zeros(len(x), self.kept, x.shape[2]) if state is None else state.view(len(x), self.kept, -1)
            x = torch.cat([past, x], dim=1)
            last = known[:, None] + torch.arange(self.kept, device=x.device)
            end = x[torch.arange(len(x), device=x.device)[:, None], last].flatten(1)
        rows, real, counts = windows(self, x, known, self.kept)
        y = rows.masked_fill(~real, 0).flatten(2) @ self.weight.permute(0, 2, 1).flatten(1).T + self.bias
        return self.act(y), None if lengths is None else counts, end


class MaxPool1d(OverTime):
    """The largest value of each feature under each window; where two are equal, the first takes the gradient."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        rows, real, counts = windows(self, x, lengths)
        return rows.masked_fill(~real, -torch.inf).max(2).values, counts


class AveragePool1d(OverTime):
    """The mean of the real steps under each window."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        rows, real, counts = windows(self, x, lengths)
        return rows.masked_fill(~real, 0).sum(2) / real.sum(2), counts


class BatchNorm(OverTime):
    """Batch normalization of the features over the real steps; weights and buffers as in `nn.BatchNorm1d`."""

    def make(self) -> None:
        self.weight, self.bias = _empty(self.size), _empty(self.size)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(self.size, device="meta"))

    def forward(self, x: Tensor, lengths: Lengths = None) -> tuple[Tensor, Lengths]:
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

    def forward(self, x: Tensor, lengths: Lengths = None) -> tuple[Tensor, Lengths]:
        """(batch, features) to (batch, count, features)."""
        return x[:, None].expand(-1, self.count, -1), None


class Several(Own):
    """A module that reads several values; where some are sequences, a vector stands at each of their steps."""

    def forward(self, *values: Value) -> Value:
        """The value, and how many of its steps are real."""
        steps, lengths = next((value for value in values if value[0].dim() == 3), values[0])
        wide = [(-1, steps.shape[1], -1) if steps.dim() > part.dim() else None for part, _ in values]
        parts = [part if to is None else part[:, None].expand(to) for (part, _), to in zip(values, wide, strict=True)]
        return self.join(parts), lengths

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


def merged(how: str, a: Tensor, b: Tensor) -> Tensor:
    """a + b for "sum", (a + b) / 2 for "mean", a b for "multiply"."""
    return a * b if how == "multiply" else (a + b) * (0.5 if how == "mean" else 1.0)


class Bidirectional(Own):
    """Two recurrent modules of one direction, `first` and `second`; `TorchNetwork` runs them."""

    @property
    def alike(self) -> bool:
        """Whether both have states of the same widths, which stand in one array then."""
        a, b = self.first, self.second
        sizes = [(part.hidden_size, part.proj_size, isinstance(part, nn.LSTM)) for part in (a, b)]
        return sizes[0] == sizes[1]

    def merged(self, a: Tensor, b: Tensor) -> Tensor:
        """One value of both."""
        if self.merge == "concat":
            return torch.cat([a, b], dim=-1)
        return merged(self.merge, a, b)


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


class Activation(nn.Module):
    """One of the activations of elman that PyTorch has no module for."""

    def __init__(self, name: str, **parameters: float) -> None:
        super().__init__()
        self.name, self.slopes = name, parameters

    def extra_repr(self) -> str:
        """The name, and the slopes."""
        return f"{self.name!r}, {self.slopes}"

    def forward(self, x: Tensor) -> Tensor:
        """y = act(x)."""
        return FUNCTIONS[self.name](x, **self.slopes)
