"""Makes the files of this folder: models as Keras writes them, and what Keras computes with them.

    KERAS_BACKEND=torch python make.py keras       # Keras 3.15.1
    python make.py tf_keras                        # tf_keras 2.21.0 with TensorFlow 2.21.0: the last Keras 2

Weights, biases and gains are drawn anew, so that no two are alike. The archives are packed again, compressed, to keep
them small. `expected_*.json` holds the version, and x and y for each file.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
keras = importlib.import_module(sys.argv[1])
L = keras.layers


def shuffled(model, rng):
    model.set_weights([rng.standard_normal(weight.shape).round(3) for weight in model.get_weights()])
    return model


def functional():
    """Masks in the graph, a nested model, both directions merged, a state that nobody uses."""
    source = keras.Input((None, 3))
    y = L.Masking(0.5)(source)
    y = keras.Sequential([L.Dense(2, activation=L.LeakyReLU(0.25))])(y)
    y = L.Bidirectional(L.LSTM(2, return_sequences=True, recurrent_activation="hard_sigmoid"), merge_mode="mul")(y)
    y, _ = L.GRU(3, return_state=True)(y)
    return keras.Model(source, L.Dense(2, activation="softmax")(y)), "features"


def sequential():
    """Tokens, of which 0 is masked; the other reset form, backwards; a frozen layer inside of a nested model."""
    frozen = L.Dense(2, activation="hard_sigmoid")
    frozen.trainable = False
    nested = keras.Sequential([L.Dense(3), frozen, L.Dense(2, use_bias=False)])
    layers = [
        L.Embedding(6, 2, mask_zero=True),
        L.SimpleRNN(3, return_sequences=True, activation="relu"),
        nested,
        L.Dropout(0.5),
        L.GRU(2, reset_after=False, go_backwards=True, recurrent_activation="hard_sigmoid"),
        L.LayerNormalization(),
    ]
    return keras.Sequential([keras.Input((None,), dtype="int32"), *layers]), "tokens"


def example(kind, rng):
    """A batch with masked steps in the middle and at the end."""
    if kind == "tokens":
        return np.array([[1, 2, 0, 3, 4], [5, 1, 2, 0, 0]], "int32")
    x = rng.standard_normal((2, 5, 3)).round(3).astype("float32")
    x[0, 2], x[1, 3:] = 0.5, 0.5
    return x


def packed(path):
    """The archive with its members compressed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


version = keras.__version__.split(".")[0]
expected = {}
for make, suffix in ((functional, ".keras"), (sequential, ".keras"), (sequential, ".h5")):
    generator = np.random.default_rng(0)
    model, kind = make()
    shuffled(model, generator)
    x = example(kind, generator)
    name = f"{make.__name__}_{version}{suffix}"
    model.save(FOLDER / name)
    if suffix == ".keras":
        packed(FOLDER / name)
    expected[name] = {"x": x.tolist(), "y": np.asarray(model.predict(x, verbose=0), float).tolist()}
    print(name, os.path.getsize(FOLDER / name))
facts = {"made_with": f"{sys.argv[1]} {keras.__version__}", "files": expected}
(FOLDER / f"expected_{version}.json").write_text(json.dumps(facts, indent=1) + "\n")
