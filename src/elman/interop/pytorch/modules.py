"""A network of elman as a module of PyTorch, and modules for the layers that PyTorch does not have.

x is (batch, time, features), and `lengths` (batch,) says how many steps of each row are real; behind a pool there is
no time any more, and no lengths. This file needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elman.checks import ShapeError, describe

Lengths: TypeAlias = Tensor | None


class TorchNetwork(nn.Sequential):
    """The layers of a network of elman, a module each; see `elman.to_torch`.

    ``y, state = module(x, state=None, lengths=None)`` is what ``net(x, state, lengths)`` of elman is, for batches:
    batch first, state a list with one entry a recurrent layer, y 0 behind the end of each sequence. What stands in
    the padding of x is not read. A recurrent layer is an `nn.LSTM`, `nn.GRU` or `nn.RNN`; a learned state stands
    beside its weights as `h0` and `c0`, and counts where no state is given.
    """

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, list[Any]]:
        """Output and final state of each recurrent layer."""
        rank = 2 if isinstance(self[0], nn.Embedding) else 3
        if x.dim() != rank:
            raise ShapeError(f"x must have shape (batch, time{', features' * (rank - 2)}). Got {tuple(x.shape)}.")
        starts = iter(self._spread(state))
        if lengths is not None:
            lengths = torch.as_tensor(lengths, dtype=torch.int64, device=x.device)
        x = _cleared(x, lengths)
        ends = []
        for module in self:
            if isinstance(module, nn.RNNBase):
                x, end = _run(module, x, next(starts), lengths)
                ends.append(end)
            elif isinstance(module, OverTime):
                x, lengths = module(x, lengths)
            else:
                x = module(x)
        return _cleared(x, lengths), ends

    def _spread(self, state: Any) -> list[Any]:
        count = sum(isinstance(module, nn.RNNBase) for module in self)
        if state is None:
            return [None] * count
        if not isinstance(state, (list, tuple)) or len(state) != count:
            raise ShapeError(f"state must be a list of {count}, one entry a recurrent layer. Got {describe(state)}.")
        return list(state)


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


def _learned(module: nn.RNNBase, batch: int) -> tuple[Tensor, ...] | None:
    """The state before the first step where it is learned, (directions, batch, hidden) each."""
    if not hasattr(module, "h0"):
        return None
    suffixes = ("", "_reverse")[: 1 + module.bidirectional]
    names = ("h0", "c0") if isinstance(module, nn.LSTM) else ("h0",)
    by_name = [torch.stack([getattr(module, name + suffix) for suffix in suffixes]) for name in names]
    return tuple(part[:, None].expand(-1, batch, -1).contiguous() for part in by_name)


def _real(x: Tensor, lengths: Tensor) -> Tensor:
    """(batch, time): where a step is real."""
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]


def _cleared(x: Tensor, lengths: Lengths) -> Tensor:
    """x with 0 behind the end of each sequence."""
    if lengths is None:
        return x
    real = _real(x, lengths)
    return x.masked_fill(~(real if x.dim() == 2 else real[..., None]), 0)


class _Named(nn.Module):
    """A module that shows its arguments, which are its attributes."""

    def extra_repr(self) -> str:
        """The arguments."""
        own = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "training"}
        return ", ".join(f"{name}={value!r}" for name, value in own.items())


class OverTime(_Named):
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

    def __init__(self, bidirectional: bool = False) -> None:
        super().__init__()
        self.bidirectional = bidirectional

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        last = x[torch.arange(len(x), device=x.device), lengths - 1]
        if not self.bidirectional:
            return last, None
        half = x.shape[-1] // 2
        return torch.cat([last[:, :half], x[:, 0, half:]], dim=1), None


class LastSteps(OverTime):
    """The last `count` real steps side by side, zeros before those of shorter sequences."""

    def __init__(self, input_size: int, count: int) -> None:
        super().__init__()
        self.input_size, self.count = input_size, count

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        steps = lengths[:, None] - torch.arange(self.count, 0, -1, device=x.device)  # (B, count)
        rows = torch.arange(len(x), device=x.device)[:, None]
        y = x[rows, steps.clamp(min=0)].masked_fill((steps < 0)[..., None], 0)
        return y.flatten(1), None


class MeanOverTime(OverTime):
    """The mean over the real steps."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        return _cleared(x, lengths).sum(1) / lengths[:, None], None


class MaxOverTime(OverTime):
    """The largest value of each feature over the real steps; where two are equal, the first takes the gradient."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        return x.masked_fill(~_real(x, lengths)[..., None], -torch.inf).max(1).values, None


class Reverse(OverTime):
    """Each sequence backwards in time; padding stays behind."""

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        steps = torch.arange(x.shape[1], device=x.device)
        steps = torch.where(_real(x, lengths), lengths[:, None] - 1 - steps, steps)
        return x[torch.arange(len(x), device=x.device)[:, None], steps], lengths


class Masking(OverTime):
    """Drops every step whose features all equal `value`; what remains of each sequence moves together."""

    drops_steps = True

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def along(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        remain = (x != self.value).any(-1) & _real(x, lengths)
        left = remain.sum(1)
        if not left.all():
            raise ValueError(f"each sequence must have a step other than {self.value:g}, which is masked. Got none.")
        steps = torch.argsort(~remain, dim=1, stable=True)  # those that remain first, in their order
        y = x[torch.arange(len(x), device=x.device)[:, None], steps]
        return _cleared(y, left), left


class MergeDirections(_Named):
    """One value from both halves of the features: their "sum", their product "mul", their mean "ave"."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """(..., 2 features) to (..., features)."""
        a, b = x.chunk(2, dim=-1)
        if self.mode == "mul":
            return a * b
        return a + b if self.mode == "sum" else (a + b) * 0.5


class SequenceDropout(nn.Dropout):
    """Dropout with one mask a sequence, the same at all its steps."""

    def forward(self, x: Tensor) -> Tensor:
        """x, in training masked and scaled."""
        return x * super().forward(torch.ones_like(x[:, :1])) if x.dim() == 3 else super().forward(x)


#: Activations that PyTorch has no module for.
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "scaled_tanh": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
    "hard_sigmoid": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
}


class Activation(_Named):
    """One of the activations of elman that PyTorch has no module for."""

    def __init__(self, name: str, **parameters: float) -> None:
        super().__init__()
        self.name, self.slopes = name, parameters

    def forward(self, x: Tensor) -> Tensor:
        """y = act(x)."""
        return FUNCTIONS[self.name](x, **self.slopes)
