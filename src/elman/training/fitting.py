"""The function that trains a network: it checks what it is asked, and hands over to a `Run`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.layers import Layer
from elman.layers.nesting import flat_nodes
from elman.network import Network
from elman.packed import check_steps
from elman.training.checkpoints import Checkpoint, RunFile
from elman.training.examples import Examples, Losses, read_examples, read_losses, told
from elman.training.history import Epoch, History, Log, reporter
from elman.training.losses import Loss
from elman.training.optimizers import Optimizer, as_optimizer
from elman.training.run import Run
from elman.training.state import TrainingState
from elman.training.windows import Truncate, read_truncate


def fit(
    net: Layer,
    x: Any,
    y: Any,
    loss: str | Loss | Mapping[str, str | Loss] = "cross_entropy",
    optimizer: Optimizer | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    lengths: Any = None,
    validation: tuple[Any, ...] | None = None,
    clip_norm: float | None = 1.0,
    clip_value: float | None = None,
    patience: int | None = None,
    truncate: int | tuple[int, int] | None = None,
    accumulate: int = 1,
    group_by_length: bool = False,
    weight_noise: float = 0.0,
    mask: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    log: str | os.PathLike[str] | None = None,
    after_epoch: Callable[[Epoch], object] | None = None,
    seed: int | None = 0,
    progress: bool = True,
) -> History:
    """Trains `net` in place, and returns how it went. Runnable pages: docs/training.md, docs/own.md.

    Parameters
    ----------
    net
        A `Network`, or a single layer. Its arrays are changed in place. With several inputs, x is a mapping of their
        names to values, and `lengths` may be one; with outputs by name, so are y, `mask`, `sample_weight`,
        `class_weight` and, where they differ, `loss`. What is trained is the sum of the losses of all outputs.
    x
        (batch, time, features), one sequence (time, features), or a list of (time_i, features), in any real dtype;
        for an `Embedding` whole numbers without the last axis.
    y
        What the network should give, in the form of x. For a network with one value per step: (batch, time) integer
        labels for cross-entropy, (batch, time, values) numbers for the other losses, or a list of such arrays;
        for one that ends in a pool such as `LastStep`: (batch,) labels or (batch, values). Where there is one value,
        its axis may be left out.
    loss
        A name of `LOSSES` ("cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error", "huber",
        "quantile") or a `Loss`. The loss of a batch is the mean over its real rows: steps, or vectors. The first two
        take logits: the network ends in a `Dense` without activation.
    optimizer
        An `Optimizer`, `Adam(1e-3)` if left out. Its learning rate may be a schedule.
    epochs, batch_size
        Rounds over the data, and examples per update; the last batch of an epoch may be smaller.
    lengths
        (batch,): how many steps of each row of a padded x and y are real. What stands after them is never read.
    validation
        (x, y), (x, y, lengths) or (x, y, lengths, mask): its loss is measured after every epoch.
    clip_norm, clip_value
        Limits for the norm of all gradients together and for each number of them (clipped first), None for no limit.
    patience
        Stops after so many epochs without a lower validation loss. The network ends with the weights of its best
        epoch, whether it stopped early or not.
    truncate
        Truncated backpropagation through time (Williams and Peng 1990), for sequences too long to keep whole: k, or
        (k1, k2) for an update every k1 steps through the last k2. The state goes on from window to window of each
        sequence. One long sequence x (time, features), or (time,) of tokens, is laid out as `batch_size` parallel
        streams. The network must give one value per step, and have no layer of both directions.
    accumulate
        Batches, or windows of them, whose gradients are added up for one update: a larger batch in less memory.
    group_by_length
        Puts sequences of similar length into a batch. Batches still come in random order.
    weight_noise
        Deviation of the normal noise on matrices of weights while a gradient is computed (Graves 2011, section 3.2).
    mask
        Booleans, one per target, in the form of y without its last axis of values: where false, y is never read (NaN
        and -1 may stand there) and does not count.
    sample_weight
        Numbers from 0 up, one per example (batch,), or one per target in the form of `mask`: how much each counts.
    class_weight
        For labels: a mapping class -> weight, 1 where none is named, or "balanced", as if all classes were equally
        many. The loss is the mean weighted by all of these.
    checkpoint
        A path, or an `elman.Checkpoint`: the run is written there every minute and at its end, and goes on from there
        to the same weights, bit by bit, as one that was never stopped. A finished run gives its weights and history at
        once, or trains on where `epochs` has grown.
    log
        A path: the history as JSON lines, one per epoch, written as it runs; see `History.read`. A file that is
        there is replaced.
    after_epoch
        A function of one argument, called after every epoch: `number` (from 1), `loss`, `validation` (the loss on it,
        or None), the `net` and the `history` so far. True finishes the run. What it writes into the weights stays
        there. Its errors are raised as they are; the weights are those from before the call, and a run that goes on
        from a checkpoint calls it again for that epoch.
    seed
        Of the order of the examples, of dropout and noise: one seed gives the same weights, bit by bit. None draws one.
    progress
        Shows how the run goes on stderr: a bar in a terminal or notebook (where rich is installed), else ten lines.

    Raises
    ------
    ShapeError, DtypeError, ValueError, TypeError
        Before any weight is changed, where an argument does not fit; the message says where the first wrong value
        stands. Also for a checkpoint of another run, and for what cannot be told apart from others in one.
    FormatError
        For a checkpoint that is cut short or damaged, or is none.
    FloatingPointError
        Where the loss, a gradient or a weight stops being finite. The weights are left as they were before that batch.
    OSError
        Where the last checkpoint cannot be written, once the weights are in place; a `RuntimeWarning` for earlier ones.
    KeyboardInterrupt
        On Ctrl-C, once the batch is finished and, with `patience`, the best weights are back. A second acts at once.

    >>> import elman
    >>> x = np.random.default_rng(0).standard_normal((64, 9, 1))
    >>> y = (x.sum(axis=(1, 2)) > 0).astype(int)  # (64,): is the sum of the sequence over 0?
    >>> net = elman.Network([elman.GRU(1, 8, seed=0), elman.LastStep(), elman.Dense(8, 2, seed=1)])
    >>> history = fit(net, x, y, optimizer=elman.Adam(0.03), epochs=20, progress=False)
    >>> bool(history.loss[-1] < 0.2 < history.loss[0])
    True
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net must be a Network or a layer. Got {checks.describe(net)}.")
    losses = read_losses(net, loss)
    data = read_examples(net, x, y, lengths, losses, mask=mask, sample_weight=sample_weight, class_weight=class_weight)
    held_out = _read_validation(net, validation, losses)
    file, kept_log = RunFile(checkpoint), Log("log", log)
    paths = [file.path, kept_log.path]
    same = len({os.path.normcase(os.path.realpath(path)) for path in paths}) == 1  # where none may be there yet
    if log is not None and (same or (all(map(os.path.exists, paths)) and os.path.samefile(*paths))):
        raise ValueError(f"log must be another file than checkpoint. Got {checks.show(os.fspath(log))} for both.")
    given = checks.seed("seed", seed)
    settings: dict[str, Any] = {
        "optimizer": as_optimizer(optimizer),
        "epochs": checks.size("epochs", epochs),
        "batch_size": checks.size("batch_size", batch_size),
        "clip_norm": None if clip_norm is None else checks.number("clip_norm", clip_norm, 0, open_low=True),
        "clip_value": None if clip_value is None else checks.number("clip_value", clip_value, 0, open_low=True),
        "patience": None if patience is None else checks.size("patience", patience),
        "truncate": _truncate(truncate, net, data, losses),
        "accumulate": checks.size("accumulate", accumulate),
        "group_by_length": checks.flag("group_by_length", group_by_length),
        "weight_noise": checks.number("weight_noise", weight_noise, 0),
    }
    checks.flag("progress", progress)
    if after_epoch is not None:
        _check_after_epoch(after_epoch)
    if patience is not None and held_out is None:
        raise ValueError("validation must be given where patience is. Got None.")
    if not net.parameters:
        raise ValueError(f"net must have parameters to train. Got {checks.show(net)}.")
    asked = {"loss": losses if isinstance(loss, Mapping) else next(iter(losses.values())), **settings}
    drawn = file.claim(net, data, held_out, asked, given)
    if settings["truncate"] is not None and data.x.layout.form == "single":
        data = data.split(min(settings["batch_size"], int(data.x.lengths[0])))
    state = TrainingState.start(net, settings["optimizer"], drawn, keep_best=patience is not None)
    run = Run(net, data=data.scaled(), validation=held_out, after_epoch=after_epoch, state=state,
              file=file, log=kept_log, **settings)  # fmt: skip
    run.check_alone()
    file.restore(run)
    begun = state.epoch + bool(state.update)
    if run.epochs < begun:
        raise ValueError(f"epochs must be from {begun} up, as many as the checkpoint has begun. Got {run.epochs}.")
    return run.train(reporter(progress, run.epochs, state.epoch))


def _check_after_epoch(function: Any) -> None:
    """Refuses what cannot be called with an epoch, before one is trained."""
    try:
        inspect.signature(function).bind(None)
    except ValueError:  # it does not tell its arguments
        return
    except TypeError:
        must = "after_epoch must be a function of one argument, the epoch"
        raise TypeError(f"{must}. Got {checks.show(function)}.") from None


def _truncate(value: Any, net: Layer, data: Examples, losses: Losses) -> Truncate | None:
    truncate = read_truncate(value)
    if truncate is not None and any(loss.whole_sequences for loss in losses.values()):
        raise ValueError(f"truncate must be left out for a loss of whole sequences. Got {checks.show(value)}.")
    pooled = any(target.y.layout.lengths is None for target in data.targets)
    if truncate is not None and (net.needs_whole_sequences or pooled):
        must = "truncate must be left out for a network that needs whole sequences, as by a pool or in both directions"
        raise ValueError(f"{must}. Got {checks.show(value)} for {net!r}.")
    if truncate is not None and isinstance(net, Network) and not net.graph.is_chain:
        check_steps(flat_nodes(net)[0], len(net.inputs))
        over_time = [part for part in data.x.named.values() if part.layout.lengths is not None]
        if not all(np.array_equal(part.lengths, data.x.lengths) for part in over_time):
            raise ValueError("truncate must be left out where inputs have steps of different numbers. Got some.")
    return truncate


def _read_validation(net: Layer, value: Any, losses: Losses) -> Examples | None:
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3, 4):
        must = "validation must be (x, y), (x, y, lengths) or (x, y, lengths, mask)"
        raise ValueError(f"{must}. Got {checks.describe(value)}.")
    x, y, lengths, mask = (*value, None, None)[:4]
    with told("validation "):
        return read_examples(net, x, y, lengths, losses, mask=mask)
