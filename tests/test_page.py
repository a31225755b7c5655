"""The page: its data hold what the trace has, its scripts work out every line, and it runs in Chromium by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import elman
from elman.insight import page
from elman.insight.page.contents import page_data

HERE = Path(__file__).parent
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def drawn(net, seed=0, scale=0.6):
    rng = np.random.default_rng(seed)
    for array in net.parameters.values():
        array[...] = rng.normal(size=array.shape) * scale
    return net


def traced(net, seed=0, batch=2, steps=7, lengths=None, **options):
    """A trace of random numbers from random states, with gradients of every output."""
    rng = np.random.default_rng(seed + 1)
    x = rng.normal(size=(batch, steps, net.input_size))
    state = options.pop("state", None)
    y, end = net(x, state, lengths)
    return elman.trace(net, x, state, lengths, dy=rng.normal(size=y.shape), **options)


def data_of(t, **given):
    return json.loads(json.dumps(page_data(t, **given), allow_nan=False))


def array(packed):
    import base64

    return np.frombuffer(base64.b64decode(packed["data"]), "<f4").reshape(packed["shape"])


LAYERS = {
    "rnn": lambda **k: elman.RNN(3, 5, **k),
    "rnn relu": lambda **k: elman.RNN(3, 5, activation="relu", **k),
    "lstm": lambda **k: elman.LSTM(3, 5, **k),
    "peepholes": lambda **k: elman.LSTM(3, 5, peepholes=True, **k),
    "coupled": lambda **k: elman.LSTM(3, 5, coupled=True, **k),
    "coupled peepholes": lambda **k: elman.LSTM(3, 5, coupled=True, peepholes=True, **k),
    "projection": lambda **k: elman.LSTM(3, 5, projection=4, **k),
    "gru": lambda **k: elman.GRU(3, 5, **k),
    "gru reset before": lambda **k: elman.GRU(3, 5, reset_after=False, **k),
}


def in_node(*arguments, **options):
    environment = {**os.environ, "ELMAN_PAGE": str(Path(page.__file__).parent)}
    return subprocess.run([NODE, *arguments], env=environment, capture_output=True, text=True, **options)


def lines_of(data):
    run = in_node(str(HERE / "page/lines.mjs"), input=json.dumps(data))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.skipif(NODE is None, reason="no node")
def test_the_scripts_by_themselves():
    run = in_node("--test", str(HERE / "page"))
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.skipif(NODE is None, reason="no node")
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_line_of_every_step_is_what_the_arrays_hold(kind, bidirectional):
    """Symbols, worked out from weights and arrays by the page's scripts, forward and backward."""
    net = drawn(LAYERS[kind](bidirectional=bidirectional, dtype="float64"))
    rng = np.random.default_rng(3)
    t = traced(net, state=random_state(net, rng, 2))
    found = lines_of(data_of(t, sequence=1))
    ends = ("", "_reverse") if bidirectional else ("",)
    assert {line["layer"] for line in found} == {type(net).__name__ + end.replace("_", " ") for end in ends}
    width = net.cell.widths(5)[0]
    for line in found:
        assert line["worst"] <= 3e-6 * max(1, line["most"]), line
        assert line["most"] > 0
        assert not line["unknown"], line
        if line["name"] == "dh'":  # from above comes the gradient by the output alone
            part = slice(width, None) if line["layer"].endswith("reverse") else slice(width)
            np.testing.assert_allclose(line["from"], t["dy"][1][:, part], atol=1e-5)
    assert {f"da_{gate}" for gate in net.cell.gates} <= {line["name"] for line in found}


@pytest.mark.skipif(NODE is None, reason="no node")
@pytest.mark.parametrize(
    "net",
    [
        elman.LSTM(3, 5, layer_norm=True, dtype="float64"),
        elman.LSTM(3, 5, cell_clip=0.5, zoneout=0.2, dtype="float64"),
        elman.LSTM(3, 5, coupled=True, clip=0.5, activations={"o": "elu", "c": "softsign"}, dtype="float64"),
        elman.GRU(3, 5, activations={"n": "softplus"}, recurrent_dropout=0.5, dtype="float64"),
    ],
    ids=repr,
)
def test_no_line_has_a_number_that_the_page_cannot_work_out(net):
    t = traced(drawn(net), state=random_state(net, np.random.default_rng(3), 2))
    assert not any(line["unknown"] for line in lines_of(data_of(t)))


def random_state(net, rng, batch):
    parts = [rng.normal(size=(*((2,) if net.bidirectional else ()), batch, width)) for width in net.cell.widths(5)]
    return parts[0] if len(parts) == 1 else tuple(parts)


@pytest.mark.parametrize("form", ["array", "padded", "list", "single"])
def test_the_arrays_of_the_page_are_those_of_the_trace(form):
    net = drawn(elman.Network([elman.LSTM(3, 5, bidirectional=True), elman.GRU(10, 4), elman.Dense(4, 2)]))
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 7, 3))
    lengths = [6, 4] if form == "padded" else None
    x = [x[0], x[1, :4]] if form == "list" else x[1, :4] if form == "single" else x
    sequence = 0 if form == "single" else 1
    y, _ = net(x, lengths=lengths)
    dy = [np.ones_like(part) for part in y] if form == "list" else np.ones_like(y)
    t = elman.trace(net, x, lengths=lengths, dy=dy)
    data = data_of(t, sequence=sequence)
    steps = 7 if form == "array" else 4
    own = (lambda value: value) if form == "single" else (lambda value: value[sequence][:steps])
    assert data["steps"] == {"first": 0, "count": steps}
    assert [layer["name"] for layer in data["layers"]] == ["0", "0 reverse", "1"]
    for layer, node, end in zip(data["layers"], "001", ("", "_reverse", ""), strict=True):
        assert {"h", "dh"} <= layer["arrays"].keys()
        for name, packed in layer["arrays"].items():
            np.testing.assert_allclose(array(packed), own(t[f"{node}.{name}{end}"]), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(array(layer["input"]), own(t[f"{node}.x"]), rtol=1e-6)
    np.testing.assert_allclose(array(data["output"]["array"]), own(t.y), rtol=1e-6)
    np.testing.assert_allclose(array(data["x"]["array"]), own(np.float32(x)) if form != "list" else np.float32(x[1]))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_connections_are_derivatives_of_the_outputs(bidirectional):
    net = elman.Network(
        [
            elman.GRU(3, 5, bidirectional=bidirectional, dtype="float64"),
            elman.Dense(5 + 5 * bidirectional, 2, dtype="float64"),
        ]
    )
    net = drawn(net)
    rng = np.random.default_rng(5)
    x, state = rng.normal(size=(6, 3)), [random_state(net.layers[0], rng, 1)[..., 0, :]]
    found = data_of(elman.trace(net, x, state))["connectivity"]
    matrix, eps = array(found["array"]), 1e-6
    assert found["rows"] == list(range(6))
    y = net(x, state)[0]
    for s in range(6):
        slopes = np.zeros((6, 3))
        for k in range(3):
            moved = x.copy()
            moved[s, k] += eps
            slopes[:, k] = ((net(moved, state)[0] - y) / eps)[np.arange(6), y.argmax(-1)]
        np.testing.assert_allclose(matrix[:, s], np.linalg.norm(slopes, axis=-1), atol=2e-5)
    assert bidirectional == bool(np.triu(matrix, 1).any())


def test_connections_of_tokens_and_of_one_vector():
    net = drawn(elman.Network([elman.Embedding(7, 3), elman.LSTM(3, 4), elman.LastStep(), elman.Dense(4, 2)]))
    data = data_of(elman.trace(net, np.array([[1, 4, 6, 2]])))
    matrix = array(data["connectivity"]["array"])
    assert matrix.shape == (1, 4)
    assert (matrix > 0).all()
    assert data["text"] == ["1", "4", "6", "2"]


def test_the_loss_of_a_text_is_that_of_the_next_character():
    net = drawn(elman.Network([elman.Embedding(4, 3), elman.LSTM(3, 6), elman.Dense(6, 4)]))
    tokens = np.array([[0, 1, 2, 0, 1, 3]])
    output = data_of(elman.trace(net, tokens), text="abcabd")["output"]
    assert output["came"] == [1, 2, 0, 1, 3, None]
    assert list(output["labels"].values()) == list("abcd")
    scores = net(tokens)[0][0].astype(float)
    want = [-scores[t, k] + np.log(np.exp(scores[t]).sum()) for t, k in enumerate(tokens[0, 1:])]
    np.testing.assert_allclose(output["loss"][:-1], want, rtol=1e-6)
    assert output["loss"][-1] is output["probability"][-1] is None
    np.testing.assert_allclose(output["probability"][:-1], np.exp(-np.array(want)), rtol=1e-6)
    np.testing.assert_allclose(array(output["array"])[:, 0], elman.softmax(scores).max(-1), rtol=1e-6)


def test_a_page_is_small_and_fast_and_one_too_large_says_what_it_left_out(tmp_path):
    net = drawn(elman.Network([elman.Embedding(80, 32), elman.LSTM(32, 64), elman.Dense(64, 80)]), scale=0.1)
    tokens = np.random.default_rng(1).integers(0, 80, (1, 200))
    dy = np.ones_like(net(tokens)[0])
    begin = time.perf_counter()
    elman.trace(net, tokens, dy=dy).to_html(tmp_path / "page.html", text="x" * 200)
    assert time.perf_counter() - begin < 10
    assert (tmp_path / "page.html").stat().st_size <= 2_000_000
    long = drawn(elman.GRU(2, 12), scale=0.05)
    data = data_of(elman.trace(long, np.ones((1, 9000, 2)), dy=np.ones((1, 9000, 12))))
    assert "Left out: units 8 to 11 (choose with units=[...]) and steps 0 to " in data["words"][-1]
    assert len(json.dumps(data)) < 2_000_000
    large = drawn(elman.LSTM(2, 300), scale=0.05)
    t = elman.trace(large, np.ones((1, 400, 2)), dy=np.ones((1, 400, 300)))
    data = data_of(t)
    assert "Left out: units 35 to 299 (choose with units=[...])." in data["words"][-1]
    assert len(json.dumps(data)) < 2_000_000
    few = data_of(t, units=[3, 250], steps=slice(10, 20))
    assert few["layers"][0]["units"] == [3, 250]
    assert few["steps"] == {"first": 10, "count": 10}
    np.testing.assert_allclose(array(few["layers"][0]["arrays"]["c"]), t["c"][0, 10:20][:, [3, 250]], rtol=1e-6)
    np.testing.assert_allclose(few["layers"][0]["initial"]["h"], t["h"][0, 9, [3, 250]], rtol=1e-6)


def test_two_networks_part_where_their_numbers_do():
    net = drawn(elman.Network([elman.GRU(2, 5), elman.Dense(5, 1)]))
    x = np.random.default_rng(0).normal(size=(1, 9, 2))
    moved = x.copy()
    moved[0, 4, 1] += 0.1
    data = data_of(elman.trace(net, x), compare=elman.trace(net, moved))
    assert data["compare"]["step"] == 4
    assert data["compare"]["words"].startswith("They part at step 4, in a_")
    assert data["layers"][0]["other"].keys() >= {"h", "z"}
    same = data_of(elman.trace(net, x), compare=elman.trace(net.replace(), x))["compare"]
    assert same["step"] is None
    assert "same numbers" in same["words"]
    with pytest.raises(elman.ShapeError, match=r"compare must be a trace with the layers"):
        data_of(elman.trace(net, x), compare=elman.trace(net, x[:, :5]))


def test_words_tell_of_vanishing_exploding_and_stuck_gates():
    x = np.random.default_rng(0).normal(size=(1, 60, 2))
    for factor, word in ((0.3, "it vanishes"), (1.0, None), (3.0, "it explodes")):
        layer = elman.RNN(2, 6, activation="identity", seed=0)
        layer.Wh = np.eye(6) * factor
        words = " ".join(data_of(elman.trace(elman.Network([layer, elman.Dense(6, 1, seed=0)]), x))["words"])
        assert (word in words) if word else "neither vanishes nor explodes" in words
    stuck = elman.LSTM(2, 6, seed=0)
    stuck.b[6:9] = 20
    words = data_of(elman.trace(stuck, x))["words"]
    assert any("f: 3 of 6 units " in sentence and "units 0, 1, 2" in sentence for sentence in words)
    assert any("has no gradients" in sentence for sentence in words)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"text": "abc"}, elman.ShapeError, "text must have 7 characters or entries, one per step. Got 3."),
        ({"text": 5}, TypeError, "text must be one string, or a list of one string per step. Got "),
        ({"units": [0, 9]}, ValueError, "units must be a slice, or whole numbers from 0 to 4, each once. Got "),
        ({"units": []}, ValueError, "units must be a slice"),
        ({"units": [1, 1]}, ValueError, "units must be a slice"),
        ({"steps": [1, 3]}, ValueError, "each once, one after another. Got "),
        ({"steps": slice(9, 12)}, ValueError, "steps must be a slice, or whole numbers from 0 to 6"),
        ({"sequence": 2}, ValueError, "sequence must be a whole number from 0 to 1. Got 2."),
        ({"sequence": True}, ValueError, "sequence must be a whole number"),
        ({"labels": ["a"]}, elman.ShapeError, "labels must have 5 names, one per output. Got 1."),
        ({"labels": "abcde"}, TypeError, "labels must be a list of names. Got "),
        ({"labels": 5}, TypeError, "labels must be a list of names. Got an int."),
        ({"title": 5}, TypeError, "title must be a text"),
        ({"compare": [1]}, TypeError, "compare must be a trace, as elman.trace gives it. Got "),
        ({"target": np.ones((5, 7))}, elman.ShapeError, "or numbers of shape (7, 5). Got "),
        ({"target": 1j * np.ones((7, 5))}, TypeError, "target must hold real numbers. Got "),
        (
            {"target": [1, 2]},
            elman.ShapeError,
            "target must have 7 labels from 0 to 4, or numbers of shape (7, 5). Got ",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given, error, words):
    with pytest.raises(error) as found:
        data_of(traced(drawn(elman.RNN(3, 5))), **given)
    assert words in str(found.value)


def test_a_path_and_a_network_that_cannot_be_a_page(tmp_path):
    t = traced(drawn(elman.RNN(3, 5)))
    with pytest.raises(ValueError, match=r"path must end in \.html\. Got "):
        t.to_html(tmp_path / "page.txt")
    with pytest.raises(FileNotFoundError):
        t.to_html(tmp_path / "nowhere" / "page.html")
    with pytest.raises(ValueError, match="a page must show a network with a recurrent layer"):
        elman.trace(elman.Dense(3, 2, seed=0), np.ones((1, 4, 3))).to_html(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def leaky():
    """A cell of one's own, with numbers that are no gates."""

    def step(x, state, weights):
        (h,), (Wx, Wh) = state, weights
        n = np.tanh(x @ Wx + h @ Wh)
        return (0.9 * h + 0.1 * n,), {"n": n}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (Wx, Wh), (dh,) = state, weights, dnext
        da = 0.1 * dh * (1 - kept["n"] ** 2)
        return da @ Wx.T, (0.9 * dh + da @ Wh.T,), (x.T @ da, h.T @ da)

    names = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}
    return elman.Cell("leaky", names, ("h",), step, step_derivative)


def of_rates():
    """A cell of one's own with a constant for each unit, a gate by hand, and a number that is read one by one."""
    rates = np.linspace(0.1, 0.9, 5)

    def step(x, state, weights):
        (h,), (Wx, Wh, b) = state, weights
        a = np.array([[float(row[k]) for k in range(5)] for row in x @ Wx + h @ Wh + b], x.dtype)  # no longer followed
        s = np.exp(-np.abs(a)) * np.sign(h + 2)
        return (rates.astype(x.dtype) * h + (1 - rates.astype(x.dtype)) * np.tanh(a) * s,), {"a": a, "s": s}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (Wx, Wh, _), (dh,) = state, weights, dnext
        own, t, s = rates.astype(x.dtype), np.tanh(kept["a"]), kept["s"]
        da = dh * (1 - own) * s * (1 - t**2 - t * np.sign(kept["a"]))
        return da @ Wx.T, (own * dh + da @ Wh.T,), (x.T @ da, h.T @ da, da.sum(0))

    names = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden"), "b": ("hidden",)}
    return elman.Cell("rates", names, ("h",), step, step_derivative)


NETWORKS = {
    "own cell": lambda: elman.Recurrent(leaky(), 3, 5),
    "constants per unit": lambda: elman.Recurrent(of_rates(), 3, 5),
    "layer norm": lambda: elman.LSTM(3, 5, layer_norm=True),
    "zoneout": lambda: elman.LSTM(3, 5, zoneout=(0.1, 0.3)),
    "clip": lambda: elman.LSTM(3, 5, clip=0.5, cell_clip=0.3),
    "activations": lambda: elman.GRU(3, 5, activations={"n": "softsign"}),
    "learned state": lambda: elman.GRU(3, 5, learned_state=True),
    "two cells": lambda: elman.Bidirectional(elman.LSTM(3, 5), elman.GRU(3, 4)),
    "nested": lambda: elman.Network([elman.Network([elman.GRU(3, 4)]), elman.LSTM(4, 3)]),
    "strided": lambda: elman.Network([elman.Conv1d(3, 4, 2, stride=2), elman.LSTM(4, 5), elman.Dense(5, 1)]),
    "strided after": lambda: elman.Network([elman.LSTM(3, 5), elman.MaxPool1d(2), elman.GRU(5, 4)]),
    "masked steps": lambda: elman.Network([elman.Masking(0.0), elman.LSTM(3, 5), elman.Dense(5, 1)]),
    "two outputs": lambda: elman.Network({"a": elman.GRU(3, 4), "b": (elman.GRU(3, 5), "x")}, outputs=["a", "b"]),
    "a start from another": lambda: elman.Network(
        {"a": (elman.GRU(3, 4), "x"), "b": elman.Node(elman.GRU(3, 4), "x", state="a"), "c": (elman.Add(), "a", "b")}
    ),
    "wide input": lambda: elman.GRU(300, 4),
    "one step": lambda: elman.GRU(3, 4),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_of_network_has_its_page(kind, tmp_path):
    net = drawn(NETWORKS[kind](), scale=0.4)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 1 if kind == "one step" else 8, net.input_size))
    if kind == "masked steps":
        x[1, 2:4] = 0
    y, _ = net(x)
    dy = {name: np.ones_like(part) for name, part in y.items()} if isinstance(y, dict) else np.ones_like(y)
    t = elman.trace(net, x, dy=dy)
    data = data_of(t, sequence=1)
    t.to_html(tmp_path / "page.html", compare=t, sequence=1)
    for layer in data["layers"]:
        assert layer["arrays"].keys() >= {"h", "dh"}
        assert all(packed["shape"][0] == data["steps"]["count"] for packed in layer["arrays"].values())
        assert {name for _, names in layer["groups"] for name in names} == set(layer["arrays"])
    if NODE is not None:
        lines = lines_of(data)
        if kind == "constants per unit":
            lines += lines_of(data_of(t, sequence=1, units=[1, 2]))
        assert kind != "constants per unit" or "da" in {line["name"] for line in lines}
        assert kind != "own cell" or {"n", "h'", "da", "dh"} <= {line["name"] for line in lines}
        for line in lines:
            exact = kind not in ("clip", "activations", "wide input")
            assert not exact or line["worst"] <= 3e-6 * max(1, line["most"]), line
    words = " ".join(data["words"])
    assert ("Layers that go over other steps are left out: 2." in words) == (kind == "strided after")
    assert ("Of what layer GRU reads, the first 128 features are shown." in words) == (kind == "wide input")
    assert bool(data["noConnectivity"]) == (kind in ("strided", "two outputs", "masked steps"))
    assert data["steps"]["count"] == {"strided": 4, "masked steps": 6, "one step": 1}.get(kind, 8)


def test_several_inputs(tmp_path):
    net = elman.Network({
        "rnn": (elman.GRU(3, 5, seed=0), "series"),
        "both": (elman.Concatenate(), "rnn", "store"),
        "out": elman.Dense(7, 2, seed=1),
    })  # fmt: skip
    data = data_of(elman.trace(net, {"series": np.ones((2, 6, 3)), "store": np.ones((2, 2))}), text="abcdef")
    assert data["layers"][0]["name"] == "rnn"
    assert data["text"] == list("abcdef")
    assert "inputs are several" in data["noConnectivity"]


def test_no_text_of_a_user_ends_the_data():
    html = page.page({"title": "</script><script>alert(1)</script>@SCRIPT@<!--"})
    body = html.split('id="data">')[1]
    assert json.loads(body.split("</script>")[0])["title"] == "</script><script>alert(1)</script>@SCRIPT@<!--"
    assert html.count("<script>") == 1


def test_the_colors_of_plots_and_page_are_the_same():
    from elman import drawing

    script = (Path(page.__file__).parent / "colors.js").read_text()
    for color in (*drawing.COLORS, *drawing.SIGNED):
        assert color in script
    assert drawing.MARK in (Path(page.__file__).parent / "page.css").read_text()


# In Chromium.


@contextmanager
def browser():
    """A headless Chromium that logs its console and every request."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
    driver = shutil.which("chromedriver")
    if CHROMIUM is None or driver is None:
        pytest.skip("no chromium with chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def opened(chrome, path):
    """Opens a page, and checks that it came up by itself, in time."""
    begin = time.perf_counter()
    chrome.get(path.as_uri())
    assert chrome.execute_script("return document.body.dataset.ready") == "yes"
    assert time.perf_counter() - begin < 10  # 0.5 s on two cores alone
    requests = [
        message["params"]["request"]["url"]
        for message in (json.loads(entry["message"])["message"] for entry in chrome.get_log("performance"))
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert set(requests) <= {path.as_uri()}
    assert [entry for entry in chrome.get_log("browser") if "favicon" not in entry["message"]] == []


def numbers(chrome, script):
    """Texts of the page as numbers."""
    texts = chrome.execute_script(script)
    return np.array([float(text.replace("\u2212", "-")) if text != "\u2013" else np.nan for text in texts])


def press(chrome, key, times=1):
    from selenium.webdriver.common.keys import Keys

    chrome.find_element("tag name", "body").send_keys(getattr(Keys, key) * times)


EVIL = "</script><img src=http://127.0.0.1:9/x onerror=window.hit=1><script>window.hit=1</script>"


def test_the_page_in_chromium(tmp_path):
    net = drawn(elman.Network([elman.GRU(3, 6, bidirectional=True), elman.LSTM(12, 5), elman.Dense(5, 3)]))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 12, 3))
    t = elman.trace(net, x, dy=rng.normal(size=(2, 12, 3)))
    path = tmp_path / "page.html"
    t.to_html(path, text=[EVIL, *"bcdefghijkl"], labels=[EVIL, "b", "c"], target=[0] * 12, sequence=1, compare=t)
    with browser() as chrome:
        opened(chrome, path)
        assert chrome.execute_script("return window.hit") is None
        assert EVIL in chrome.execute_script("return document.getElementById('strip').textContent")
        assert EVIL in chrome.execute_script("return document.getElementById('alternatives').textContent")
        press(chrome, "HOME")
        press(chrome, "ARROW_RIGHT", 4)
        press(chrome, "ARROW_DOWN", 2)
        for index, (node, end) in enumerate((("0", ""), ("0", "_reverse"), ("1", ""))):
            choose = "const s = document.getElementById('layerIndex'); s.value = arguments[0];"
            chrome.execute_script(choose + "s.dispatchEvent(new Event('change'));", index)
            names = chrome.execute_script(
                "return [...document.querySelectorAll('[data-name].number')].map(e => e.dataset.name)"
            )
            shown = numbers(
                chrome, "return [...document.querySelectorAll('[data-name].number')].map(e => e.textContent)"
            )
            assert {"h", "dh"} <= set(names)
            for name, value in zip(names, shown, strict=True):
                if not np.isnan(value):
                    want = t[f"{node}.{name.removeprefix('other ')}{end}"][1, 4, 2]
                    assert abs(value - want) <= 1e-6 * max(1, abs(want)), name
            results = numbers(chrome, "return [...document.querySelectorAll('.line .result')].map(e => e.textContent)")
            assert len(results) > 10
            assert np.isfinite(results).all()
            assert chrome.execute_script("return document.querySelectorAll('.rest').length") == 0
        values = np.exp(t.y[1, 4]) / np.exp(t.y[1, 4]).sum()
        bars = numbers(
            chrome, "return [...document.querySelectorAll('#alternatives td.number')].map(e => e.textContent)"
        )
        np.testing.assert_allclose(bars, np.sort(values)[::-1], rtol=1e-6)
        row = numbers(chrome, "return document.getElementById('connectivity').dataset.row.split(' ')")
        np.testing.assert_allclose(row, array(data_of(t, sequence=1)["connectivity"]["array"])[4], rtol=1e-6)
        assert chrome.execute_script("return document.getElementById('where').textContent").startswith("step 4 ")
        unnamed = (
            "return [...document.querySelectorAll('canvas, svg')].filter(e => !e.getAttribute('aria-label')).length"
        )
        assert chrome.execute_script(unnamed) == 0
        canvas = chrome.find_element("css selector", "#maps canvas")
        canvas.click()  # in the middle
        assert chrome.execute_script("return document.getElementById('where').textContent")[:7] in (
            "step 5 ",
            "step 6 ",
        )
        assert chrome.get_log("browser") == []


@pytest.mark.long
def test_the_pages_of_the_docs_in_chromium(tmp_path, monkeypatch):
    """A text model, a forecaster and a bidirectional classifier: every layer, group and step, without an error."""
    tools = str(HERE.parent / "tools")
    monkeypatch.syspath_prepend(tools)
    pages = pytest.importorskip("pages")
    with browser() as chrome:
        for make in (pages.text, pages.forecaster, pages.classifier):
            path = tmp_path / f"{make.__name__}.html"
            make(path)
            assert path.stat().st_size <= 2_000_000
            opened(chrome, path)
            data = json.loads(path.read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0])
            choose = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
            choose += "s.dispatchEvent(new Event('change'));"
            for index, layer in enumerate(data["layers"]):
                chrome.execute_script(choose, "layerIndex", index)
                for group in range(len(layer["groups"])):
                    chrome.execute_script(choose, "group", group)
                    maps = "return document.querySelectorAll('#maps canvas').length"
                    assert chrome.execute_script(maps) == len(layer["groups"][group][1])
                step = "const s = document.getElementById('step'); s.value = arguments[0];"
                for at in (0, data["steps"]["count"] // 2):
                    chrome.execute_script(step + "s.dispatchEvent(new Event('input'));", at)
                    names = chrome.execute_script(
                        "return [...document.querySelectorAll('#numbers .number')].map(e => e.dataset.name)"
                    )
                    shown = numbers(
                        chrome, "return [...document.querySelectorAll('#numbers .number')].map(e => e.textContent)"
                    )
                    for name, value in zip(names, shown, strict=True):
                        held = layer["other" if name.startswith("other ") else "arrays"].get(
                            name.removeprefix("other ")
                        )
                        if held is not None:
                            want = array(held)[at, 0]
                            assert abs(value - want) <= 1e-6 * max(1, abs(want)), (make, name, at)
                    assert chrome.execute_script("return document.querySelectorAll('.rest').length") == 0
            chrome.set_window_size(420, 900)
            assert chrome.execute_script("return document.documentElement.scrollWidth") <= 420
            chrome.set_window_size(1280, 1600)
            assert chrome.get_log("browser") == []
