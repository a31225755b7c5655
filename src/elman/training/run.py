"""One run of `fit`, its arguments checked: epochs, windows, updates.

For each update, with the weights w of its rows (1 each, where nothing else is asked):

    p = net(x)                                       forward
    L = sum over rows of w loss(p, y) / sum of w
    g = dL/dtheta                                    backpropagation through time, then clipping
    theta <- the optimizer's update
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from elman.checks import Array
from elman.layers.layer import Gradients, Layer
from elman.sequences import Sequences
from elman.training.checkpoints import Keeper
from elman.training.clipping import clip_by_norm, clip_by_value, global_norm
from elman.training.course import Course, generators
from elman.training.examples import Examples
from elman.training.history import History, Log
from elman.training.interrupt import HeldInterrupt
from elman.training.losses import Loss
from elman.training.optimizers import Optimizer
from elman.training.progress import Progress
from elman.training.windows import Truncate, Window, batches, select, windows

JUDGED_STEPS = 1024  #: validation of long sequences goes in windows of so many steps, to take little memory


@dataclass(frozen=True)
class Run:
    """What a call of `fit` asked."""

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
    truncate: Truncate | None
    accumulate: int
    group_by_length: bool
    weight_noise: float
    seed: int

    def train(self, course: Course, keeper: Keeper, log: Log, show: Progress) -> History:
        """All epochs that are left; with patience the best weights are put back in the end."""
        try:
            with HeldInterrupt() as held, show:
                if course.epoch or course.update:
                    show.note(f"goes on after epoch {course.epoch}, update {course.update} of the next")
                while course.epoch < self.epochs and not self._has_waited_enough(course):
                    self._epoch(course, keeper, held, show)
                    judged = self._judge(course, held)
                    show.epoch(course.epoch, course.mean_loss(), judged)
                    course.end_epoch(judged, self.seed, keep_best=self.patience is not None)
                    log.write(course.epoch - 1, course.records[-1])
                if self._has_waited_enough(course):
                    kept = f"; the weights are those after {course.best_epoch + 1}" if course.best else ""
                    show.note(f"stopped after {course.epoch} epochs{kept}")
        except KeyboardInterrupt:
            if course.sound:
                keeper.write(course)
            course.restore_best()
            raise
        keeper.write(course)
        course.restore_best()
        return course.history(self.validation is not None)

    def _has_waited_enough(self, course: Course) -> bool:
        return self.patience is not None and course.epoch - 1 - course.best_epoch >= self.patience

    def _epoch(self, course: Course, keeper: Keeper, held: HeldInterrupt, show: Progress) -> None:
        """The updates of an epoch that are left."""
        start = time.perf_counter() - course.seconds
        updates = self._updates(course.epoch)
        while course.update < len(updates):
            course.sound = False
            self._update(course, updates[course.update], len(updates))
            course.update += 1
            course.seconds = time.perf_counter() - start
            course.sound = True
            show.update(course.epoch, course.update / len(updates), course.mean_loss())
            keeper.write_when_due(course)
            held.release()

    def _updates(self, epoch: int) -> list[list[Window]]:
        """The windows of each update of an epoch; the same for the same seed and epoch."""
        order = generators(self.seed, epoch)[0]
        lengths = self.data.x.lengths
        chosen = batches(lengths, self.batch_size, order, self.group_by_length)
        passes = list(windows(chosen, lengths, self.truncate))
        return [passes[i : i + self.accumulate] for i in range(0, len(passes), self.accumulate)]

    def _update(self, course: Course, passes: list[Window], updates: int) -> None:
        """One update, from the gradients of one window or of several together."""
        cuts = [window.cut(self.data) for window in passes]
        weight = float(sum(len(target) if w is None else w.sum() for _, target, w in cuts))
        total = 0.0
        gradients: Gradients = {}
        for window, (x, target, w) in zip(passes, cuts, strict=True):
            # Where nothing counts, only the state moves on.
            loss, more = self._pass(course, window, x, target, w, weight or 1.0)
            total += loss
            gradients = {name: gradients[name] + g for name, g in more.items()} if gradients else more
        with np.errstate(all="ignore"):
            norm = global_norm(gradients)
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise self._diverged(course, passes[-1], updates, total, gradients)
        rate = self.optimizer.rate((course.epoch + course.update / updates) / self.epochs)
        if weight:
            self.optimizer.update(course.parameters, self._clip(gradients, norm), course.optimizer, rate)
        course.loss += total * weight
        course.weight += weight
        course.rate += rate
        course.norm += norm

    def _pass(
        self, course: Course, window: Window, x: Sequences, target: Array, w: Array | None, weight: float
    ) -> tuple[float, Gradients]:
        """The share of one window in the loss of its update, and in the gradients."""
        state = course.carried if window.begin else None
        with np.errstate(all="ignore"), self._noise(course):  # what is not finite is answered by an error of its own
            y, end, kept = self.net._run(x, state, course.noise, keep=True)
            losses, dy = self.loss.both(y.values, target)
            if w is not None:
                losses, dy = losses * w, dy * w.astype(dy.dtype).reshape(-1, *[1] * (dy.ndim - 1))
            loss = float(losses.sum(dtype=np.float64)) / weight
            _, _, gradients = self.net._run_back(kept, dy / weight, None)
            course.carried = self._carry(course, window, state, end)
        return loss, gradients

    def _carry(self, course: Course, window: Window, state: object, end: object) -> object:
        """The state before the next window of these sequences, of those that reach it."""
        if not window.onward:
            return None
        assert window.end is not None
        if window.onward < window.end:  # windows that overlap: the state is that of the steps between their beginnings
            if window.onward > window.begin:
                between = self.data.x.take(window.sequences, window.begin, window.onward)
                _, state, _ = self.net._run(between, state, course.noise, keep=False)
            end = state
        return select(end, np.flatnonzero(self.data.x.lengths[window.sequences] > window.end))

    @contextmanager
    def _noise(self, course: Course) -> Iterator[None]:
        """Normal noise on the weights while a gradient is computed (Graves 2011, section 3.2); biases have none."""
        if not self.weight_noise:
            yield
            return
        matrices = [array for array in course.parameters.values() if array.ndim >= 2]
        copies = [array.copy() for array in matrices]
        try:
            for array in matrices:
                array += self.weight_noise * course.noise.standard_normal(array.shape, array.dtype)
            yield
        finally:
            for array, copy in zip(matrices, copies, strict=True):
                array[...] = copy

    def _clip(self, gradients: Gradients, norm: float) -> Mapping[str, Array]:
        if self.clip_value is not None:
            gradients = clip_by_value(gradients, self.clip_value)
        if self.clip_norm is not None and norm > self.clip_norm:  # clipped values only make the norm smaller
            gradients, _ = clip_by_norm(gradients, self.clip_norm)
        return gradients

    def _judge(self, course: Course, held: HeldInterrupt) -> float | None:
        """The weighted mean of the validation loss over its rows."""
        data = self.validation
        if data is None:
            return None
        total, weight, state = 0.0, 0.0, None
        lengths = data.x.lengths
        steps = None if self.truncate is None else (JUDGED_STEPS, JUDGED_STEPS)
        for window in windows(batches(lengths, self.batch_size, None, False), lengths, steps):
            x, target, w = window.cut(data)
            with np.errstate(all="ignore"):
                y, end, _ = self.net._run(x, state if window.begin else None, None, keep=False)
                losses = self.loss.rows(y.values, target)
                total += float((losses if w is None else losses * w).sum(dtype=np.float64))
            weight += len(target) if w is None else float(w.sum())
            if window.onward:
                state = select(end, np.flatnonzero(lengths[window.sequences] > window.onward))
            held.release()
        return total / weight

    def _diverged(
        self, course: Course, window: Window, updates: int, loss: float, gradients: Gradients
    ) -> FloatingPointError:
        sizes = {name: float(np.abs(g).max(initial=0)) for name, g in gradients.items()}
        name = max(sizes, key=lambda name: math.inf if math.isnan(sizes[name]) else sizes[name])
        steps = f", steps {window.fresh} to {window.end - 1}" if window.end is not None else ""
        return FloatingPointError(
            f"loss and gradients must stay finite. Got a loss of {loss:.6g} in epoch {course.epoch + 1} of "
            f"{self.epochs}, batch {course.update + 1} of {updates}{steps}; update "
            f"{int(course.optimizer['step']) + 1} of the run. The largest gradient is {sizes[name]:.6g}, of {name}. "
            "The weights are those from before this batch; a smaller learning rate may help."
        )
