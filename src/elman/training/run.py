"""One run of `fit`, its arguments checked: epochs, windows, updates.

For each update, with the weights w of its rows (1 each, where nothing else is asked):

    p = net(x)                                       forward
    L = sum over rows of w loss(p, y) / sum of w
    g = dL/dtheta                                    backpropagation through time, then clipping
    theta <- the optimizer's update
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from elman import checks
from elman.checks import Array
from elman.layers.layer import Gradients, Layer, Seen
from elman.sequences import Sequences
from elman.training.checkpoints import RunFile
from elman.training.examples import Examples
from elman.training.history import Epoch, History, Log, Progress
from elman.training.optimizers import BUILT_IN, Optimizer, clip_by_norm, clip_by_value, global_norm, move_all
from elman.training.state import HeldInterrupt, TrainingState, generators
from elman.training.windows import Truncate, Window, batches, select, windows

#: Weights of float32 that move by no more than this in an update stay finite for longer than any run.
_SAFE_STEP = 1e15
VALIDATION_STEPS = 1024  #: validation of long sequences goes in windows of so many steps, to take little memory


@dataclass(frozen=True)
class Run:
    """What a call of `fit` asked, where its training stands, and what is kept and shown of it."""

    net: Layer
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
    after_epoch: Callable[[Epoch], object] | None
    state: TrainingState
    file: RunFile
    log: Log
    held: HeldInterrupt = field(default_factory=HeldInterrupt)

    def train(self, show: Progress) -> History:
        """All epochs that are left; with patience the best weights are put back in the end.

        Whatever stops the run, the weights are those after a whole update, or with patience the best ones, and the
        checkpoint is written.
        """
        state = self.state
        self.log.begin(state.records)
        with self.held, show:
            try:
                with self.held.whole:
                    state.put_back()  # what a checkpoint holds
                self._epochs(show)
                self.file.write(state)
                self.held.holding = True
                state.sound = False  # from here on the weights are not those of the last update
                state.restore_best()
            except BaseException as error:
                self.held.holding = True
                self._recover(error)
                raise
        return self._history()

    def _recover(self, error: BaseException) -> None:
        """Puts everything in order after `error`. While the checkpoint is written, Ctrl-C acts, and skips it."""
        state = self.state
        state.put_back()
        if state.sound and (state.epoch or state.update):
            try:
                self.held.act()
                self.file.write(state)
            except BaseException as failed:
                self.held.holding = True
                error.add_note(f"The checkpoint was not written: {failed!r}")
            self.held.holding = True
        if state.ending:  # the epoch whose `after_epoch` failed may be the best one
            state.end_epoch()
        state.restore_best()

    def _history(self) -> History:
        """The epochs on record, and the one that is ending."""
        return History.of_records([*self.state.records, *self.state.ending], self.validation is not None)

    def _epochs(self, show: Progress) -> None:
        state = self.state
        if state.epoch or state.update:
            show.note(f"goes on after epoch {state.epoch}, update {state.update} of the next")
        if state.stopped < self.epochs:  # else it is finished
            state.stopped = 0
        while state.epoch < self.epochs and not self._is_stopped():
            start, updates = time.perf_counter() - state.seconds, self.updates(state.epoch)
            while state.update < len(updates):  # those that are left
                self._update(updates[state.update], len(updates))
                state.seconds = time.perf_counter() - start
                show.update(state.epoch, state.update / len(updates), state.mean_loss())
                self.file.write_when_due(state)
                self.held.release()
            validation_loss = self._validation_loss()
            state.measure(validation_loss)
            show.epoch(state.epoch, state.mean_loss(), validation_loss)
            stop = self._ask(validation_loss)
            with self.held.whole:
                state.end_epoch()
                state.stopped = self.epochs if stop else 0
            self.log.write(state.records)
            if self.after_epoch is not None:  # which may have taken long
                self.held.release()
        if self._is_stopped():
            kept = f"; the weights are those after {state.best_epoch + 1}" if state.best else ""
            show.note(f"stopped after {state.epoch} epochs{kept}")

    def _is_stopped(self) -> bool:
        waited = self.patience is not None and self.state.epoch - 1 - self.state.best_epoch >= self.patience
        return waited or self.state.stopped > 0

    def _ask(self, validation_loss: float | None) -> bool:
        """Whether `after_epoch` stops the run. Where it fails, `_recover` puts the weights back that it may change."""
        if self.after_epoch is None:
            return False
        state = self.state
        state.hold([*state.weights.values()])
        stop = self.after_epoch(Epoch(state.epoch + 1, state.mean_loss(), validation_loss, self.net, self._history()))
        if stop is not None and not isinstance(stop, (bool, np.bool_)):
            raise TypeError(f"after_epoch must return True to stop, False or None to go on. Got {checks.show(stop)}.")
        wrong = [name for name, array in state.weights.items() if not np.isfinite(array).all()]
        if wrong:
            raise FloatingPointError(f"after_epoch must leave weights finite. Got {wrong[0]} infinite or NaN.")
        return bool(stop)

    def updates(self, epoch: int) -> list[list[Window]]:
        """The windows of each update of an epoch; the same for the same seed and epoch."""
        order, lengths = generators(self.state.seed, epoch)[0], self.data.x.layout.rows
        chosen = batches(lengths, self.batch_size, order, self.group_by_length)
        passes = list(windows(chosen, lengths, self.truncate))
        return [passes[i : i + self.accumulate] for i in range(0, len(passes), self.accumulate)]

    def check_alone(self) -> None:
        """Refuses, before any update, batches of one sequence that is too short for what a layer measures of it."""
        whole = self.truncate is None and self.batch_size > 1 and self.data.x.layout.count % self.batch_size != 1
        if whole or not self.net.buffers:
            return
        tried = set()
        for epoch in range(self.epochs):
            for window in [one for one in itertools.chain(*self.updates(epoch)) if len(one.sequences) == 1]:
                x = self.data.x.take(window.sequences, window.begin, window.end)
                steps = tuple([int(part.layout.rows[0]) for part in x.named.values()])
                if steps in tried:
                    continue
                tried.add(steps)
                try:
                    with np.errstate(all="ignore"):
                        self.net.run(x, None, np.random.default_rng(0), keep=False)
                except checks.ShapeError as error:
                    more = "another batch_size" if self.truncate is None else "another batch_size or truncate"
                    alone = f"In epoch {epoch + 1} a sequence stands alone in a batch; {more} may change that."
                    raise checks.ShapeError(f"{error} {alone}") from None

    def _update(self, passes: list[Window], updates: int) -> None:
        """One update, from the gradients of one window or of several together."""
        state = self.state
        cuts = [window.cut(self.data) for window in passes]
        # Of each output the weights of its rows; where nothing counts, only the state moves on.
        of_outputs = zip(*(cut.targets for cut in cuts), strict=True)
        each = [float(sum(target.total for target in targets)) for targets in of_outputs]
        weight, total, carried = sum(each), 0.0, state.carried
        gradients: Gradients = {}
        seen: list[Seen] = []
        for window, cut in zip(passes, cuts, strict=True):
            loss, found, carried, statistics = self._pass(window, cut, carried, each)
            total, seen = total + loss, seen + statistics
            gradients = {name: gradients[name] + g for name, g in found.items()} if gradients else found
        with np.errstate(all="ignore"):
            norm = global_norm(gradients)
        sound = all(np.isfinite(one.value).all() for one in seen)
        if not (sound and math.isfinite(total) and math.isfinite(norm)):
            raise self._diverged(passes[-1], updates, total, gradients)
        rate = self.optimizer.rate((state.epoch + state.update / updates) / self.epochs)
        rate = checks.number("learning_rate of an update", rate, 0)  # that of a user's own may be anything
        clipped = self._clip(gradients, norm) if weight else {}
        # Code of a user's own may take long, and may fail half way; a long step may leave what numbers can hold.
        held_back = type(self.optimizer) not in BUILT_IN or max(norm, 1.0) * max(rate, 1.0) > _SAFE_STEP
        if held_back:
            state.hold([*state.parameters.values(), *state.optimizer.values()])
            with np.errstate(all="ignore"):
                move_all(self.optimizer, state.parameters, clipped, state.optimizer, rate)
            for name, array in state.parameters.items():
                if not np.isfinite(array).all():
                    more = f" The update would make {name} infinite or NaN."
                    raise self._diverged(passes[-1], updates, total, gradients, more)
        with self.held.whole:
            state.sound = False
            if not held_back:
                move_all(self.optimizer, state.parameters, clipped, state.optimizer, rate)
            for one in seen:
                one.move()
            state.before = []
            state.carried, state.drawn = carried, state.noise.bit_generator.state
            state.update += 1
            state.loss += total * weight
            state.weight += weight
            state.rate += rate
            state.norm += norm
            state.sound = True

    def _pass(
        self, window: Window, cut: Examples, carried: object, weights: list[float]
    ) -> tuple[float, Gradients, object, list[Seen]]:
        """The share of one window in the loss of its update and in the gradients, the state after it, and what buffers
        are to follow."""
        state, loss, dys = self.state, 0.0, []
        start = carried if window.begin else None
        # Normal noise while a gradient is computed (Graves 2011, section 3.2); biases have none.
        noisy = [array for array in state.parameters.values() if array.ndim >= 2] if self.weight_noise else []
        state.hold(noisy)
        try:
            for array in noisy:
                array += self.weight_noise * state.noise.standard_normal(array.shape, array.dtype)
            with np.errstate(all="ignore"):  # what is not finite is answered by an error of its own
                y, end, kept = self.net.run(cut.x, start, state.noise, keep=True)
                for output, target, weight in zip(y.named.values(), cut.targets, weights, strict=True):
                    total, dy = target.measure(output, backward=True)
                    loss += total / (weight or 1.0)
                    dys.append(dy / (weight or 1.0))
                by_output = dys[0] if isinstance(y, Sequences) else dict(zip(y.named, dys, strict=True))
                _, _, gradients = self.net.run_back(kept, by_output, None)
                carried = self._carry(self.data, window, start, end)
        finally:
            state.put_back()
        return loss, gradients, carried, self.net.seen(kept)

    def _carry(self, data: Examples, window: Window, start: object, end: object) -> object:
        """The recurrent state before the next window of these sequences, of those that reach it."""
        if not window.next_begin:
            return None
        assert window.end is not None
        if window.next_begin < window.end:  # windows overlap: the state is that of the steps between their beginnings
            if window.next_begin > window.begin:
                between = data.x.take(window.sequences, window.begin, window.next_begin)
                _, start, _ = self.net.run(between, start, self.state.noise, keep=False)
            end = start
        return select(end, np.flatnonzero(data.x.lengths[window.sequences] > window.end))

    def carried_before(self, epoch: int, update: int) -> object:
        """A recurrent state of the shapes that an update begins with; None where it begins without one."""
        updates = self.updates(epoch)
        if update == len(updates) or not updates[update][0].begin:
            return None
        first = self.data.x.take(updates[update][0].sequences, 0, 1)
        return self.net.run(first, None, None, keep=False)[1]

    def _clip(self, gradients: Gradients, norm: float) -> Mapping[str, Array]:
        if self.clip_value is not None:
            gradients = clip_by_value(gradients, self.clip_value)
        if self.clip_norm is not None and norm > self.clip_norm:  # clipped values only make the norm smaller
            gradients, _ = clip_by_norm(gradients, self.clip_norm)
        return gradients

    def _validation_loss(self) -> float | None:
        """The weighted mean of the validation loss over its rows."""
        data = self.validation
        if data is None:
            return None
        state, lengths = None, data.x.layout.rows
        totals, weights = (np.zeros(len(data.targets)) for _ in range(2))
        steps = None if self.truncate is None else (VALIDATION_STEPS, VALIDATION_STEPS)
        for window in windows(batches(lengths, self.batch_size, None, False), lengths, steps):
            cut = window.cut(data)
            with np.errstate(all="ignore"):
                y, end, _ = self.net.run(cut.x, state if window.begin else None, None, keep=False)
                pairs = zip(cut.targets, y.named.values(), strict=True)
                totals += [target.measure(output, backward=False)[0] for target, output in pairs]
                weights += [target.total for target in cut.targets]
            state = self._carry(data, window, state, end)
            self.held.release()
        return float(sum(totals / weights))

    def _diverged(
        self, window: Window, updates: int, loss: float, gradients: Gradients, more: str = ""
    ) -> FloatingPointError:
        epoch, update = self.state.epoch, self.state.update
        sizes = {name: float(np.abs(g).max(initial=0)) for name, g in gradients.items()}
        name = max(sizes, key=lambda name: math.inf if math.isnan(sizes[name]) else sizes[name])
        steps = f", steps {window.first_counted} to {window.end - 1}" if window.end is not None else ""
        return FloatingPointError(
            f"{'weights' if more else 'loss and gradients'} must stay finite. Got a loss of {loss:.6g} in epoch "
            f"{epoch + 1} of {self.epochs}, batch {update + 1} of {updates}{steps}; update "
            f"{epoch * updates + update + 1} of the run. The largest gradient is {sizes[name]:.6g}, of {name}.{more} "
            "The weights are those from before this batch; a smaller learning rate may help."
        )
