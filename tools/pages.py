"""Three pages of traces, and their pictures in docs: python tools/pages.py (chromium, chromedriver and selenium).

A text model on the text of the license, a forecaster of the yearly sunspots, and a bidirectional classifier of waves.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import elman
from elman.datasets import sunspots

ROOT = Path(__file__).parent.parent


def text(path: Path) -> None:
    """The next character, by an LSTM of 64."""
    writing = " ".join((ROOT / "LICENSE").read_text().split())
    model = elman.TextGenerator(hidden=64, embedding=16, dropout=0.0, truncate=32, epochs=60, random_state=0).fit(
        writing
    )
    shown = writing[200:400]
    tokens = np.array([[model.vocabulary_.index(character) for character in shown]])
    net = model.network_
    scores = net(tokens)[0]
    dy = np.zeros_like(scores)
    dy[0, :-1] = elman.CrossEntropy().derivative(scores[0, :-1], tokens[0, 1:]) / (len(shown) - 1)
    labels = list(model.vocabulary_)
    elman.trace(net, tokens, dy=dy).to_html(path, text=shown, labels=labels, title="A text model on a license")


def forecaster(path: Path) -> None:
    """The sunspots of the next year, by a GRU of 16; beside it the same network after half the training."""
    years, numbers = sunspots()
    z = ((numbers - numbers.mean()) / numbers.std()).astype(np.float32)
    x, y = z[None, :-1, None], z[None, 1:, None]
    net = elman.Network([elman.GRU(1, 16, seed=0), elman.Dense(16, 1, seed=1)])
    elman.fit(net, x, y, loss="squared_error", optimizer=elman.Adam(0.02), epochs=150, progress=False)
    before = net.replace()
    elman.fit(net, x, y, loss="squared_error", optimizer=elman.Adam(0.02), epochs=150, progress=False)
    dy = 2 * (net(x)[0] - y) / y.size
    t, other = elman.trace(net, x, dy=dy), elman.trace(before, x)
    t.to_html(path, target=y[0], labels=["sunspots, standardized"], compare=other, title="A forecaster of the sunspots")


def classifier(path: Path) -> None:
    """Sines, squares and saws in noise, by an LSTM of 24 in both directions."""
    rng = np.random.default_rng(0)
    kinds, phase = rng.integers(0, 3, 300), rng.uniform(0, 1, (300, 1))
    turns = np.linspace(0, 4, 80)[None] * rng.uniform(0.6, 1.4, (300, 1)) + phase
    waves = np.stack([np.sin(2 * np.pi * turns), np.sign(np.sin(2 * np.pi * turns)), 2 * (turns % 1) - 1])
    x = (waves[kinds, np.arange(300)] + rng.normal(size=(300, 80)) * 0.6)[..., None].astype(np.float32)
    layers = [
        elman.LSTM(1, 24, bidirectional=True, seed=0),
        elman.LastStep(bidirectional=True),
        elman.Dense(48, 3, seed=1),
    ]
    net = elman.Network(layers)
    elman.fit(net, x, kinds, optimizer=elman.Adam(0.01), epochs=25, progress=False)
    net = elman.Network([*net.layers, elman.Activate("softmax")])
    p = net(x[:4])[0]
    dy = np.zeros_like(p)
    dy[np.arange(4), kinds[:4]] = -1 / p[np.arange(4), kinds[:4]] / 4
    t = elman.trace(net, x[:4], dy=dy)
    t.to_html(path, target=int(kinds[0]), labels=["sine", "square", "saw"], title="A classifier that reads both ways")


def picture(page: Path, target: Path, height: int, dark: bool = False) -> None:
    """A picture of a page, of its upper part."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if dark:
        options.add_argument("--force-dark-mode")
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    chrome.set_window_size(1280, height)
    chrome.get(page.as_uri())
    chrome.save_screenshot(str(target))
    chrome.quit()


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    for make, height, dark in ((text, 1750, False), (forecaster, 1750, False), (classifier, 1750, True)):
        page = folder / f"page_{make.__name__}.html"
        make(page)
        picture(page, ROOT / "docs" / f"page_{make.__name__}.png", height, dark)
        print(page, page.stat().st_size)


if __name__ == "__main__":
    main()
