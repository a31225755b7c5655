"""Makes the files of a folder beside this one: estimators as one version of elman saves them, and what they predict.

    PYTHONPATH=src python tests/golden/estimators/make.py v1

A new version of the format gets a folder of its own; those that are there stay as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

import elman

FOLDER = Path(__file__).parent
TINY = {"hidden": 2, "epochs": 1, "random_state": 0}
X = [np.sin(np.arange(2 * n) + n).reshape(n, 2) for n in (3, 5, 4, 6, 2, 4, 5, 3)]
FRAMES = [pd.DataFrame({"a": part[:, 0], "mood": pd.Categorical(["x", "y"] * 3)[: len(part)]}) for part in X]
STAMPS = pd.date_range("2024-03-29 07:00", periods=24, freq="h", tz="Europe/Berlin")
SERIES = np.round(np.cos(np.arange(24.0)) * 8, 2)


def estimators():
    """One of each kind, with the function that asks it."""
    words = ["up", "down"] * 4
    steps = [np.arange(len(part)) % 2 == 0 for part in X]
    table = pd.DataFrame({"when": STAMPS, "y": SERIES})
    panel = pl.DataFrame({"id": ["a"] * 12 + ["b"] * 12, "t": [*range(12)] * 2, "y": SERIES})
    scheduled = elman.LinearSchedule(0.01)
    return {
        "classifier": (elman.SequenceClassifier(**TINY, learning_rate=scheduled).fit(X, words), proba_of(X)),
        "columns": (elman.SequenceRegressor(**TINY, pool="last").fit(FRAMES, np.arange(8.0)), predict_of(FRAMES)),
        "tagger": (elman.SequenceTagger(**TINY, cell="lstm").fit(X, steps), tags_of(X)),
        "tokens": (elman.SequenceClassifier(**TINY, embedding=2).fit([list("ab"), list("cab")], [0, 1]), tokens),
        "forecaster": (
            elman.Forecaster(2, window=4, members=2, quantiles=(0.1, 0.5), **TINY).fit(table, time="when", target="y"),
            lambda found: [found.predict()["when"].astype(str).tolist(), found.predict()["y"].tolist()],
        ),
        "panel": (
            elman.Forecaster(2, window=4, loss=elman.Huber(0.5), **TINY).fit(panel, id="id", time="t", target="y"),
            lambda found: found.predict().to_dicts(),
        ),
        "text": (
            elman.TextGenerator(truncate=4, embedding=2, **TINY).fit(["to be", "or not", "to be"]),
            lambda found: [found.nats(["to", "be"]), found.vocabulary_],
        ),
    }


def proba_of(x):
    return lambda found: found.predict_proba(x).tolist()


def predict_of(x):
    return lambda found: found.predict(x).tolist()


def tags_of(x):
    return lambda found: [part.tolist() for part in found.predict_proba(x)]


def tokens(found):
    return [found.predict_proba([list("bca")]).tolist(), found.tokens_.tolist()]


def main(folder):
    expected = {}
    for name, (estimator, told) in estimators().items():
        estimator.save(FOLDER / folder / f"{name}.safetensors")
        expected[name] = told(estimator)
    (FOLDER / folder / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
