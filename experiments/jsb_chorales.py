"""JSB Chorales: which of 88 pitches sound next, in the 382 chorales and the split of Boulanger-Lewandowski et al. 2012.

The figure is the negative log-likelihood of a frame in nats, summed over the 88 pitches and averaged over all
predicted frames of all pieces together: frames 2 to T of each piece, each from those before it. Bai, Kolter, Koltun
2018 count like this (locuslab/TCN, poly_music/music_test.py).

Sizes, dropout, weight decay, learning rate and epochs were chosen on the validation pieces. They also say which
epoch's weights are kept. The test pieces are read for the figure alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import data
import numpy as np
from report import Row, arguments, publish

import elman

PITCHES = 88


@dataclass(frozen=True)
class Setting:
    """A model, how it is trained, and what it is held against."""

    title: str
    goal: float
    published: str
    cell: str
    hidden_size: int
    dropout: float
    recurrent_dropout: float
    rate: float  # of Adam, falling to 1 % in half a cosine
    decay: float  # of weights
    epochs: int
    batch_size: int = 1


SETTINGS = (
    Setting(
        "at most 300K parameters", 8.30, "8.43 GRU, 8.45 LSTM (Bai et al. 2018)",
        cell="LSTM", hidden_size=96, dropout=0.25, recurrent_dropout=0.25, rate=0.012, decay=0.03, epochs=25,
    ),
    Setting(
        "LSTM of about 20K parameters", 8.46, "8.67 (Chung et al. 2014)",
        cell="LSTM", hidden_size=36, dropout=0.1, recurrent_dropout=0.1, rate=0.02, decay=0.02, epochs=40,
    ),
    Setting(
        "GRU of about 20K parameters", 8.54, "8.54 (Chung et al. 2014)",
        cell="GRU", hidden_size=46, dropout=0.15, recurrent_dropout=0.1, rate=0.015, decay=0.1, epochs=30,
    ),
)  # fmt: skip


def pairs(rolls: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The frames that are read, and those that follow them: (time - 1, 88) each."""
    return [roll[:-1] for roll in rolls], [roll[1:] for roll in rolls]


def frame_nll(net: elman.Network, rolls: list[np.ndarray]) -> float:
    """Nats per frame: over the pitches log(1 + exp(p)) - t p, for logits p and frames t of 0 and 1."""
    x, y = pairs(rolls)
    logits, frames = np.concatenate(net(x)[0]).astype(float), np.concatenate(y)
    return float((np.logaddexp(0, logits) - frames * logits).sum(axis=1).mean())


def network(setting: Setting, seed: int) -> elman.Network:
    """A recurrent layer, dropout, and a logit a pitch."""
    return elman.Network([
        getattr(elman, setting.cell)(
            PITCHES, setting.hidden_size, seed=seed, recurrent_dropout=setting.recurrent_dropout
        ),
        elman.Dropout(setting.dropout),
        elman.Dense(setting.hidden_size, PITCHES, seed=seed + 1000),
    ])  # fmt: skip


def train(setting: Setting, rolls: dict[str, list[np.ndarray]], seed: int) -> tuple[elman.Network, float]:
    """A network with the weights of its best epoch, and its seconds."""
    net = network(setting, seed)
    rate = elman.CosineSchedule(setting.rate, 0.01 * setting.rate)
    x, y = pairs(rolls["train"])
    start = time.perf_counter()
    elman.fit(
        net, x, y, loss="binary_cross_entropy", optimizer=elman.AdamW(rate, weight_decay=setting.decay),
        epochs=setting.epochs, batch_size=setting.batch_size, validation=pairs(rolls["valid"]),
        patience=setting.epochs, seed=seed, progress=False,
    )  # fmt: skip
    return net, time.perf_counter() - start


def main() -> None:
    args = arguments(__doc__)
    rolls = data.chorales(args.data)
    publish("jsb_chorales", [_row(setting, rolls, args.seeds, not args.no_peer) for setting in SETTINGS])


def _row(setting: Setting, rolls: dict[str, list[np.ndarray]], seeds: int, peer: bool) -> Row:
    nets, seconds = zip(*(train(setting, rolls, seed) for seed in range(seeds)), strict=True)
    figures = [frame_nll(net, rolls["test"]) for net in nets]
    valid = [frame_nll(net, rolls["valid"]) for net in nets]
    return Row(
        task=f"JSB Chorales, {setting.title}",
        measure="NLL per frame",
        figures=figures,
        goal=f"at most {setting.goal:.2f}",
        reached=float(np.mean(figures)) <= setting.goal,
        published=setting.published,
        model=f"{setting.cell} {setting.hidden_size}, dropout {setting.dropout:g}, "
        f"recurrent dropout {setting.recurrent_dropout:g}, batch {setting.batch_size}, {setting.epochs} epochs, "
        f"AdamW {setting.rate:g} in a cosine, weight decay {setting.decay:g}",
        parameters=nets[0].parameter_count,
        seconds=float(np.mean(seconds)),
        peer_seconds=_peer(setting, rolls) if peer else None,
        note=f"On the validation pieces {np.mean(valid):.3f}. PyTorch: 2 of {setting.epochs} epochs timed, "
        "without recurrent dropout, which it has not. The test pieces were read more than once: settings changed "
        "between, on the validation pieces.",
        seeds=list(range(seeds)),
    )


def _peer(setting: Setting, rolls: dict[str, list[np.ndarray]]) -> float:
    from torch_sequences import Task, seconds

    x, y = pairs(rolls["train"])
    task = Task(
        setting.cell, setting.hidden_size, PITCHES, "binary_cross_entropy", x, y, pairs(rolls["valid"]),
        setting.batch_size, setting.rate, setting.decay, setting.dropout,
    )  # fmt: skip
    return seconds(task, setting.epochs, 2)


if __name__ == "__main__":
    main()
