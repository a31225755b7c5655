"""The pairs of layers in docs/coming_from.md give the same numbers: both sides of the page are read and run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import elman

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # torch and numpy
]
PAGE = (Path(__file__).parent.parent / "docs" / "coming_from.md").read_text()


def pairs(section):
    """The first code of each side, of rows where both are calls that make layers."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0].split("### Layers\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `([^`]+)`.*?\| `([^`]+)`", text, re.MULTILINE)
    return [row for row in rows if re.match(r"(nn\.)?[A-Z]\w*\(", row[0]) and row[1].startswith("elman.")]


def make(right):
    made = eval(right, {"elman": elman})
    return made if isinstance(made, elman.Network) else elman.Network([made])


def tell(net):
    """The layers and their options; names and weights aside. 1 - 0.99 is 0.01."""
    return [re.sub(r"\d\.\d+", lambda number: f"{float(number[0]):.9f}", repr(layer)) for layer in net.layers]


def drawn(net, rng):
    takes = net.layers[0].tokens
    return rng.integers(1, takes, (4, 9)) if takes else rng.normal(size=(4, 9, 3)).astype(np.float32)


@pytest.mark.parametrize(("left", "right"), pairs("PyTorch"))
def test_pytorch(left, right):
    rng = np.random.default_rng(5)
    torch.manual_seed(3)
    module = eval(left, {"nn": torch.nn}).eval()
    for value in module.parameters():
        torch.nn.init.normal_(value, 0.2, 0.5)
    net, wanted = elman.from_torch([module]), make(right)
    assert tell(net) == tell(wanted)
    x = drawn(wanted, rng)
    turned = "Conv" in left or "BatchNorm" in left  # features before time
    with torch.no_grad():
        y = module(torch.tensor(x.swapaxes(1, 2) if turned else x))
    y = (y[0] if isinstance(y, tuple) else y).numpy()
    np.testing.assert_allclose(net(x)[0], y.swapaxes(1, 2) if turned else y, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("left", "right"), pairs("Keras"))
def test_keras(left, right, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    rng = np.random.default_rng(6)
    wanted = make(right)
    layer = eval(left, {name: getattr(keras.layers, name) for name in dir(keras.layers)})
    shape = (3,) if "Repeat" in left else (None,) if "Embedding" in left else (None, 3)
    model = keras.Sequential([keras.Input(shape), layer])
    model.set_weights([rng.uniform(0.2, 0.9, value.shape) for value in model.weights])
    net = elman.from_keras(model)
    assert tell(net) == tell(wanted)
    x = rng.normal(size=(4, 3)).astype(np.float32) if "Repeat" in left else drawn(wanted, rng)
    y = np.asarray(model(x).detach())
    np.testing.assert_allclose(net(x)[0], y, rtol=1e-5, atol=2e-6)


def test_there_are_pairs():
    assert len(pairs("PyTorch")) > 12
    assert len(pairs("Keras")) > 14
