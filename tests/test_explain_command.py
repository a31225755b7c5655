"""The command `elman explain`: a file and a table or a text to a page; what is refused has the exit code 2."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

import elman
from elman.cli.app import app


def run(folder, *arguments, code=0):
    result = CliRunner().invoke(app, ["explain", *map(str, arguments), "--out", str(folder / "page.html")])
    assert result.exit_code == code, result.output
    assert (folder / "page.html").exists() == (code == 0)
    if code:
        assert result.output.startswith("elman explain: ")
        assert result.output.count("\n") == 1
        assert "Traceback" not in result.output
        return result.output
    html = (folder / "page.html").read_text(encoding="utf-8")
    return result.output, json.loads(html.split('id="data">')[1].split("</script>")[0])


def drawn(net, seed=0):
    rng = np.random.default_rng(seed)
    for array in net.parameters.values():
        array[...] = rng.normal(size=array.shape) / 2
    return net


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(9, 3)).round(3)
    lines = [f"2026-01-0{i + 1},{a},{b},{c}" for i, (a, b, c) in enumerate(rows)]
    (tmp_path / "data.csv").write_text("\n".join(["day,wind,sun,power", *lines]) + "\n")
    return rows


def values(packed):
    import base64

    return np.frombuffer(base64.b64decode(packed["data"]), "<f4").reshape(packed["shape"])


def test_a_network_on_a_table_with_a_target(tmp_path, table):
    net = drawn(elman.Network([elman.LSTM(2, 5), elman.Dense(5, 1)]))
    net.save(tmp_path / "net.safetensors")
    output, data = run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.csv", "--target", "power")
    assert "9 steps; columns: wind, sun; gradients of the mean loss." in output
    np.testing.assert_allclose(values(data["x"]["array"]), table[:, :2], rtol=1e-6)
    y = net(table[:, :2])[0]
    np.testing.assert_allclose(data["output"]["loss"], (y[:, 0] - table[:, 2]) ** 2, rtol=1e-5)
    t = elman.trace(net, table[:, :2], dy=2 * (y - table[:, 2:]) / 9)
    np.testing.assert_allclose(values(data["layers"][0]["arrays"]["dc"]), t["0.dc"], rtol=1e-4, atol=1e-6)
    assert "net.safetensors on data.csv" in data["title"]
    _, few = run(
        tmp_path, tmp_path / "net.safetensors", tmp_path / "data.csv", "--columns", "sun,power", "--steps", "2:6",
        "--units", "0,3:5", "--against", tmp_path / "net.safetensors",
    )  # fmt: skip
    assert few["steps"] == {"first": 2, "count": 4}
    assert few["layers"][0]["units"] == [0, 3, 4]
    assert "same numbers" in few["compare"]["words"]
    np.testing.assert_allclose(values(few["x"]["array"]), table[2:6, 1:], rtol=1e-6)


@pytest.mark.parametrize(("separator", "decimal"), [(";", ","), ("\t", "."), (";", ".")])
def test_tables_of_other_manners(tmp_path, separator, decimal):
    elman.Network([elman.GRU(2, 3, seed=0)]).save(tmp_path / "net.safetensors")
    lines = [separator.join(["a", "b"]), *(separator.join([f"1{decimal}5", f"-{i}{decimal}25"]) for i in range(4))]
    (tmp_path / "data.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    _, data = run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.csv")
    np.testing.assert_array_equal(values(data["x"]["array"]), [[1.5, -i - 0.25] for i in range(4)])


def test_a_text_and_the_network_that_learned_it(tmp_path):
    pytest.importorskip("sklearn")
    text = "to be or not to be, " * 20
    for texts in (text, [text[:30], text[5:60]]):
        writer = elman.TextGenerator(hidden=8, embedding=4, truncate=8, epochs=1, random_state=0).fit(texts)
        writer.save(tmp_path / "text.safetensors")
        (tmp_path / "data.txt").write_text(text)
        output, data = run(tmp_path, tmp_path / "text.safetensors", tmp_path / "data.txt", "--steps", "0:40")
        assert "40 steps" in output
        assert data["text"] == list(text[:40])
        labels = {int(k): label for k, label in data["output"]["labels"].items()}
        assert [labels[k] for k in data["output"]["came"][:-1]] == list(text[1:40])


def test_a_network_of_tokens_with_its_vocabulary(tmp_path):
    drawn(elman.Network([elman.Embedding(4, 3), elman.RNN(3, 5), elman.Dense(5, 4)])).save(tmp_path / "net.safetensors")
    (tmp_path / "data.txt").write_text("abcab")
    _, data = run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.txt", "--vocabulary", "cbad")
    assert data["output"]["came"] == [1, 0, 2, 1, None]
    (tmp_path / "data.csv").write_text("token\n3\n1\n0\n")
    _, data = run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.csv")
    assert data["text"] == ["3", "1", "0"]
    for more, words in (
        ([], "must say which character each token is: --vocabulary 'abc...', in their order. Got none."),
        (["--vocabulary", "ab"], "the text must hold what the vocabulary has, ['a', 'b']. Got 'c' at position 2."),
    ):
        (tmp_path / "page.html").unlink(missing_ok=True)
        assert words in run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.txt", *more, code=2)


def test_a_classifier_with_its_classes(tmp_path):
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in (5, 7, 6, 8)]
    model = elman.SequenceClassifier(hidden=4, epochs=1, random_state=0).fit(X, ["up", "down", "up", "down"])
    model.save(tmp_path / "model.safetensors")
    rows = "".join(f"{a},{b},up\n" for a, b in X[1])
    (tmp_path / "data.csv").write_text("a,b,way\n" + rows)
    _, data = run(tmp_path, tmp_path / "model.safetensors", tmp_path / "data.csv", "--target", "way")
    shown = dict(
        zip(
            (data["output"]["labels"][str(k)] for k in data["output"]["top"][0]),
            values(data["output"]["array"])[0],
            strict=True,
        )
    )
    np.testing.assert_allclose([shown["down"], shown["up"]], model.predict_proba([X[1]])[0], rtol=1e-5)
    np.testing.assert_allclose(data["output"]["loss"], -np.log(shown["up"]), rtol=1e-5)
    (tmp_path / "page.html").unlink()
    (tmp_path / "data.csv").write_text("a,b,way\n" + rows + "1,2,down\n")
    words = run(tmp_path, tmp_path / "model.safetensors", tmp_path / "data.csv", "--target", "way", code=2)
    assert "'way' must be the same in each row" in words


def test_a_file_of_another_system(tmp_path, table):
    pytest.importorskip("onnx")
    net = drawn(elman.Network([elman.GRU(3, 4), elman.Dense(4, 2)]))
    elman.to_onnx(net, tmp_path / "net.onnx")
    _, data = run(tmp_path, tmp_path / "net.onnx", tmp_path / "data.csv")
    np.testing.assert_allclose(values(data["output"]["array"]), net(table)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("a,b\n1,2\n", [], "must have 3 columns of numbers, as the network reads; --columns a,b chooses. Got 2: a, b."),
        ("a,b,c\n1,x,2\n", [], "chooses. Got 2: a, c."),
        ("a,b,c\n1,x,2\n", ["--columns", "a,b,c"], "must hold numbers. Got 'x' in column 'b', row 1."),
        ("a,b,c\n1,nan,2\n", ["--columns", "a,b,c"], "must hold numbers. Got 'nan' in column 'b', row 1."),
        ("a,b,c\n1,2,3\n", ["--columns", "a,b,d"], "a column of --columns must be one of 'a', 'b', 'c'. Got 'd'."),
        ("a,b,c\n1,2,3\n", ["--target", "z"], "--target must be one of 'a', 'b', 'c'. Got 'z'."),
        ("a,a,c\n1,2,3\n", [], "must have columns of different names. Got a, a, c."),
        ("a,b,c\n1,2\n", [], "must have 3 cells in each row. Got 2 in row 1."),
        ("a,b,c\n", [], "must have rows under its header. Got none."),
        ("", [], "must have at least one character. Got an empty file."),
        ("a,b,c\n1,2,3\n", ["--steps", "3"], "--steps must be FIRST:LAST, such as 100:300. Got '3'."),
        ("a,b,c\n1,2,3\n", ["--steps", "0:9"], "--steps must end at most at 1, the steps there are. Got '0:9'."),
        ("a,b,c\n1,2,3\n", ["--units", "a"], "--units must be whole numbers, such as 0,3,10:20. Got 'a'."),
        (
            "a,b,c\n1,2,3\n",
            ["--units", "7"],
            "units must be a slice, or whole numbers from 0 to 3, each once. Got [7].",
        ),
        ("a,b,c,d\n1,2,3,x\n", ["--target", "d"], "'d' must hold numbers. Got 'x' in row 1."),
    ],
)
def test_what_cannot_be_explained_is_said(tmp_path, content, arguments, words):
    elman.Network([elman.GRU(3, 4, seed=0)]).save(tmp_path / "net.safetensors")
    (tmp_path / "data.csv").write_text(content)
    assert words in run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.csv", *arguments, code=2)


def test_files_that_are_not_there_or_of_no_format(tmp_path):
    (tmp_path / "data.csv").write_text("a\n1\n")
    assert "path must be a file" in run(tmp_path, tmp_path / "none.safetensors", tmp_path / "data.csv", code=2)
    (tmp_path / "junk").write_bytes(b"junk")
    run(tmp_path, tmp_path / "junk", tmp_path / "data.csv", code=2)
    elman.Network([elman.GRU(1, 4, seed=0)]).save(tmp_path / "net.safetensors")
    assert "DATA must be a file" in run(tmp_path, tmp_path / "net.safetensors", tmp_path / "none.csv", code=2)
    (tmp_path / "data.txt").write_bytes(b"\xff\xfe\xff")
    assert "must be a text in UTF-8" in run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.txt", code=2)
    (tmp_path / "data.txt").write_text("abc")
    assert "must be given a table" in run(tmp_path, tmp_path / "net.safetensors", tmp_path / "data.txt", code=2)
    elman.Network([elman.Dense(1, 4, seed=0)]).save(tmp_path / "dense.safetensors")
    assert "recurrent layer" in run(tmp_path, tmp_path / "dense.safetensors", tmp_path / "data.csv", code=2)


def test_a_forecaster_reads_its_window_and_a_classifier_of_tokens_its_tokens(tmp_path):
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    series = np.sin(np.arange(60) / 3) + rng.normal(size=60) / 10
    elman.Forecaster(horizon=2, window=12, hidden=4, epochs=1, random_state=0).fit(series).save(
        tmp_path / "f.safetensors"
    )
    (tmp_path / "data.csv").write_text("t,y\n" + "".join(f"{t},{y}\n" for t, y in enumerate(series)))
    output, data = run(tmp_path, tmp_path / "f.safetensors", tmp_path / "data.csv", "--columns", "y")
    assert "12 steps; columns: y; the last 12 steps, its window; gradients" in output
    np.testing.assert_allclose(values(data["x"]["array"])[:, 0], series[-12:], rtol=1e-6)
    model = elman.SequenceClassifier(hidden=4, epochs=1, embedding=3, random_state=0)
    model.fit([["to", "be"], ["or", "not", "to"], ["be", "or"]], ["u", "v", "u"]).save(tmp_path / "c.safetensors")
    (tmp_path / "data.csv").write_text("word\nnot\nto\nbe\n")
    _, data = run(tmp_path, tmp_path / "c.safetensors", tmp_path / "data.csv")
    assert data["text"] == ["not", "to", "be"]
    (tmp_path / "page.html").unlink()
    (tmp_path / "data.csv").write_text("word\nnot\nthat\n")
    words = run(tmp_path, tmp_path / "c.safetensors", tmp_path / "data.csv", code=2)
    assert "column 'word' must hold what the vocabulary has" in words
    assert "Got 'that' at position 1." in words
