"""The loop that trains a network.

In each epoch the examples are shuffled and cut into batches; for each batch, with N real rows (steps, or vectors):

    p = net(x)                            forward
    L = sum over rows of loss(p, y) / N
    g = dL/dtheta                         backpropagation through time, then clipping
    theta <- the optimizer's update
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.layers.layer import Gradients, Layer
from elman.sequences import Sequences
from elman.training.batches import Examples, read_examples
from elman.training.clipping import clip_by_norm, clip_by_value, global_norm
from elman.training.history import History
from elman.training.interrupt import HeldInterrupt
from elman.training.losses import Loss, as_loss
from elman.training.optimizers import Adam, Optimizer, State
from elman.training.progress import Progress, reporter

if TYPE_CHECKING:
    from numpy.random import Generator


def fit(
    net: Layer,
    x: Any,
    y: Any,
    loss: str | Loss = "cross_entropy",
    optimizer: Optimizer | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    lengths: Any = None,
    validation: tuple[Any, ...] | None = None,
    clip_norm: float | None = 1.0,
    clip_value: float | None = None,
    patience: int | None = None,
    seed: int | None = 0,
    progress: bool = True,
) -> History:
    """Trains `net` in place, and returns how it went.

    Parameters
    ----------
    net
        A `Network`, or a single layer. Its arrays are changed in place.
    x
        (batch, time, features), one sequence (time, features), or a list of (time_i, features), in any real dtype;
        for an `Embedding` whole numbers without the last axis.
    y
        What the network should give, in the form of x. For a network with a value a step: (batch, time) integer
        labels for cross-entropy, (batch, time, values) numbers for the other losses, or a list of such arrays;
        for one that ends in a pool such as `LastStep`: (batch,) labels or (batch, values). Where there is one value,
        its axis may be left out.
    loss
        A name of `LOSSES` ("cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error", "huber",
        "quantile") or a loss. The loss of a batch is the mean over its real rows: steps, or vectors. The first two
        take logits: the network ends in a `Dense` without activation.
    optimizer
        `Adam(1e-3)` if left out. Its learning rate may be a schedule.
    epochs, batch_size
        Rounds over the data, and examples an update; the last batch of an epoch may be smaller.
    lengths
        (batch,): how many steps of each row of a padded x and y are real. What stands behind them is never read.
    validation
        (x, y) or (x, y, lengths): its loss is measured after every epoch.
    clip_norm, clip_value
        Limits for the norm of all gradients together and for each number of them, None for no limit; values are
        clipped first.
    patience
        Stops after so many epochs without a lower validation loss. The network ends with the weights of its best
        epoch, whether it stopped early or not.
    seed
        Of the order of the examples and of dropout: the same seed gives the same weights, bit by bit. None draws
        one.
    progress
        Shows how the run goes on stderr: a bar in a terminal or notebook (where rich is installed), else about ten
        lines.

    Returns
    -------
    History
        Losses, learning rate, gradient norm and seconds of each epoch.

    Raises
    ------
    ShapeError, DtypeError, ValueError, TypeError
        Before any weight is changed, where an argument does not fit; the message says where the first wrong value
        stands.
    FloatingPointError
        Where the loss or a gradient stops being finite. The weights are left as they were before that batch.
    KeyboardInterrupt
        On Ctrl-C, once the batch is finished and, with `patience`, the best weights are back. A second Ctrl-C acts
        at once.

    >>> import elman
    >>> x = np.random.default_rng(0).standard_normal((64, 9, 1))
    >>> y = (x.sum(axis=(1, 2)) > 0).astype(int)  # (64,): is the sum of the sequence over 0?
    >>> net = elman.Network([elman.GRU(1, 8, seed=0), elman.LastStep(), elman.Dense(8, 2, seed=1)])
    >>> history = fit(net, x, y, optimizer=Adam(0.03), epochs=20, progress=False)
    >>> bool(history.loss[-1] < 0.2 < history.loss[0])
    True
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net must be a Network or a layer. Got {checks.describe(net)}.")
    loss = as_loss(loss)
    data = read_examples(net, x, y, lengths, loss)
    judge = _read_validation(net, validation, loss)
    run = _Run(
        net,
        loss,
        _optimizer(optimizer),
        data,
        judge,
        checks.size("epochs", epochs),
        checks.size("batch_size", batch_size),
        None if clip_norm is None else checks.number("clip_norm", clip_norm, 0, open_low=True),
        None if clip_value is None else checks.number("clip_value", clip_value, 0, open_low=True),
        _patience(patience, judge),
        _seed(seed),
    )
    if not net.parameters:
        raise ValueError(f"net must have parameters to train. Got {net!r}.")
    return run.train(reporter(progress, run.epochs, run.batches))


def _optimizer(value: Any) -> Optimizer:
    if value is None:
        return Adam()
    if not isinstance(value, Optimizer):
        raise TypeError(f"optimizer must be an optimizer such as Adam(1e-3). Got {value!r}.")
    return value


def _patience(value: Any, judge: Examples | None) -> int | None:
    if value is None:
        return None
    if judge is None:
        raise ValueError("validation must be given where patience is. Got None.")
    return checks.size("patience", value)


def _seed(value: Any) -> int:
    seed = checks.seed("seed", value)
    return int(np.random.default_rng().integers(2**63)) if seed is None else seed


def _read_validation(net: Layer, value: Any, loss: Loss) -> Examples | None:
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise ValueError(f"validation must be (x, y) or (x, y, lengths). Got {checks.describe(value)}.")
    x, y, lengths = (*value, None)[:3]
    try:
        return read_examples(net, x, y, lengths, loss)
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation {error}") from None


@dataclass(frozen=True)
class _Run:
    """One call of `fit`: what it was asked, checked."""

    net: Layer
    loss: Loss
    optimizer: Optimizer
    data: Examples
    validation: Examples | None
    epochs: int
    batch_size: int
    clip_norm: float | None
    clip_value: float | None
    patience: int | None
    seed: int

    @property
    def batches(self) -> int:
        """Batches an epoch."""
        return -(-len(self.data) // self.batch_size)

    def train(self, show: Progress) -> History:
        """All epochs; with patience the best weights are put back in the end."""
        parameters = dict(self.net.parameters)
        state = self.optimizer.start(parameters)
        best = _Best(parameters if self.patience else {})
        records: list[tuple[float, ...]] = []
        try:
            with HeldInterrupt() as held, show:
                for epoch in range(self.epochs):
                    start = time.perf_counter()
                    loss, rate, norm = self._epoch(epoch, parameters, state, held, show)
                    judged = self._judge(held)
                    show.epoch(epoch, loss, judged)
                    validation_loss = math.nan if judged is None else judged
                    records.append((loss, validation_loss, rate, norm, time.perf_counter() - start))
                    best.see(epoch, validation_loss)
                    if self.patience and epoch - best.epoch >= self.patience:
                        kept = f"; the weights are those after {best.epoch + 1}" if best.copies else ""
                        show.note(f"stopped after {epoch + 1} epochs{kept}")
                        break
        except KeyboardInterrupt:
            best.restore()
            raise
        best.restore()
        losses, judgements, *others = np.array(records).T
        return History(losses, None if self.validation is None else judgements, *others)

    def _epoch(
        self, epoch: int, parameters: Mapping[str, Array], state: State, held: HeldInterrupt, show: Progress
    ) -> tuple[float, float, float]:
        """One round over the data: its mean loss a row, and the means of learning rate and gradient norm."""
        # Each epoch has generators of its own, so that a run could be taken up at any of them.
        seeds = np.random.SeedSequence((self.seed, epoch)).spawn(2)
        order, dropout = (np.random.default_rng(seed) for seed in seeds)
        total, rows = 0.0, 0
        rates, norms = [], []
        for batch, (x, target) in enumerate(self.data.batches(self.batch_size, order.permutation(len(self.data)))):
            loss, gradients, norm = self._gradients(x, target, dropout)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._diverged(epoch, batch, loss, gradients)
            rate = self.optimizer.rate((epoch * self.batches + batch) / (self.epochs * self.batches))
            self.optimizer.update(parameters, self._clip(gradients, norm), state, rate)
            total, rows = total + loss * len(target), rows + len(target)
            rates.append(rate)
            norms.append(norm)
            show.batch(epoch, batch, total / rows)
            held.release()
        return total / rows, float(np.mean(rates)), float(np.mean(norms))

    def _gradients(self, x: Sequences, target: Array, dropout: Generator) -> tuple[float, Gradients, float]:
        """The mean loss of a batch, its gradient by every parameter, and their norm."""
        with np.errstate(all="ignore"):  # what is not finite is answered by an error of its own
            y, _, kept = self.net._run(x, None, dropout, keep=True)
            losses, dy = self.loss.both(y.values, target)
            loss = float(losses.sum(dtype=np.float64)) / len(losses)
            _, _, gradients = self.net._run_back(kept, dy / len(losses), None)
            return loss, gradients, global_norm(gradients)

    def _clip(self, gradients: Gradients, norm: float) -> Gradients:
        if self.clip_value is not None:
            gradients = clip_by_value(gradients, self.clip_value)
        if self.clip_norm is not None and norm > self.clip_norm:  # clipped values only make the norm smaller
            gradients, _ = clip_by_norm(gradients, self.clip_norm)
        return gradients

    def _judge(self, held: HeldInterrupt) -> float | None:
        """The mean validation loss a row."""
        if self.validation is None:
            return None
        total, rows = 0.0, 0
        for x, target in self.validation.batches(self.batch_size):
            with np.errstate(all="ignore"):
                y, _, _ = self.net._run(x, None, None, keep=False)
                total += float(self.loss.rows(y.values, target).sum(dtype=np.float64))
            rows += len(target)
            held.release()
        return total / rows

    def _diverged(self, epoch: int, batch: int, loss: float, gradients: Gradients) -> FloatingPointError:
        sizes = {name: float(np.abs(g).max(initial=0)) for name, g in gradients.items()}
        name = max(sizes, key=lambda name: math.inf if math.isnan(sizes[name]) else sizes[name])
        return FloatingPointError(
            f"loss and gradients must stay finite. Got a loss of {loss:.6g} in epoch {epoch + 1} of {self.epochs}, "
            f"batch {batch + 1} of {self.batches}; the largest gradient is {sizes[name]:.6g}, of {name}. The weights "
            "are those from before this batch; a smaller learning rate may help."
        )


class _Best:
    """The weights of the epoch with the lowest validation loss; of no epoch, until one is seen."""

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        self.parameters = parameters
        self.copies: dict[str, Array] = {}
        self.loss = math.inf
        self.epoch = -1

    def see(self, epoch: int, loss: float) -> None:
        if loss < self.loss:
            self.copies = {name: array.copy() for name, array in self.parameters.items()}
            self.epoch, self.loss = epoch, loss

    def restore(self) -> None:
        for name, copy in self.copies.items():
            self.parameters[name][...] = copy
