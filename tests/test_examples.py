"""The five notebooks, done with the library: each script prints what its notebook prints."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from golden_facts import facts

EXAMPLES = Path(__file__).parent.parent / "examples"
SEEDS = facts("seeds")


def run(name, capsys):
    """The variables a script leaves, and what it prints."""
    variables = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    return variables, capsys.readouterr().out


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_rows_rnn_and_lstm(capsys):
    v, out = run("rows_rnn_and_lstm", capsys)
    assert out.startswith("""Next Hidden state: 
 [[-0.109558  0.049958  0.124353]]
[[[-0.139092  0.139092  0.216518]]

 [[ 0.129793  0.259548 -0.134304]]

 [[-0.254867  0.137911  0.175512]]]
Next hidden state:
 [[""")  # noqa: W291, the notebook prints a space there
    i, f, o, g = np.split(np.hstack([v["x"], v["h_prev"]]) @ v["W"] + v["b"], 4, axis=1)
    c = sigmoid(f) * v["c_prev"] + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(v["c_next"], c, rtol=1e-13)
    np.testing.assert_allclose(v["h_next"], sigmoid(o) * np.tanh(c), rtol=1e-13)


def test_rows_rnn_training(capsys):
    v, out = run("rows_rnn_training", capsys)
    assert out.startswith("Final hidden state:\n [[0.79494228 0.81839002 0.83939649 0.85584174]]\n")
    a = [v["h0"]]
    for t in range(3):
        a.append(np.tanh(v["x"][:, t] @ v["w_x"] + a[-1] @ v["w_h"] + v["b"]))
    db, dh = np.zeros(4), v["dh_last"]
    for h in reversed(a[1:]):
        da = (1 - h**2) * dh
        db, dh = db + da.sum(0), da @ v["w_h"].T
    np.testing.assert_allclose(v["rnn"].b, v["b"] - 0.01 * db, rtol=1e-13)
    np.testing.assert_allclose(v["dh0"], dh, rtol=1e-12)


def test_columns_rnn_and_lstm(capsys):
    v, out = run("columns_rnn_and_lstm", capsys)
    assert "Softmax Naive: " in out
    naive, vectorized = out.split("Softmax Vectorized: ")
    assert naive.replace("Softmax Naive: ", "").strip() == vectorized.strip()
    rnn, lstm = SEEDS["002 rnn_cell_forward"]["computed"], SEEDS["002 lstm_cell_forward"]["computed"]
    np.testing.assert_allclose(v["a_next"], rnn["a_next"], rtol=1e-12)
    np.testing.assert_allclose(v["yt_pred"], rnn["yt_pred"], rtol=1e-12)
    np.testing.assert_allclose(v["h_next"].T, lstm["a_next"], rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(v["c_next"].T, lstm["c_next"], rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(v["yt_pred_lstm"], lstm["yt_pred"], rtol=1e-11)
    assert v["loss"].shape == (10, 5)
    assert (v["loss"] > 0).all()


def test_column_vectors_rnn(capsys):
    v, out = run("column_vectors_rnn", capsys)
    assert [line for line in out.splitlines() if line.startswith("Timestep")] == [
        f"Timestep {t} hidden state:" for t in range(4)
    ]
    h = v["h0"]
    for x, got in zip(v["x_seq"], v["hidden_states"], strict=True):
        h = np.tanh(v["Wx"] @ x + v["Wh"] @ h + v["b"])
        np.testing.assert_allclose(got, h[:, 0], rtol=1e-13, atol=1e-16)


def test_single_vector_lstm(capsys):
    _, out = run("single_vector_lstm", capsys)
    assert (
        out
        == """After and before Concatenation shapes:

Concatenated(14,)
prev_state:(4,)
Input x:(10,)


Next hidden state:
[-0.24236866 -0.47552629 -0.61342184  0.2937933 ]

Next cell state:
[-2.00175213 -0.54923161 -1.26657864  0.33225723]
"""
    )


def test_every_example_is_run():
    tested = {name.removeprefix("test_") for name in globals()}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
