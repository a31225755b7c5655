"""Fitted estimators as networks: the scaling is in them, and streams and other systems give what they predict."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

import elman
from elman.layers import Scale

TINY = {"epochs": 2, "random_state": 0}


def draw(seed):
    """A fitted estimator, sequences in float32, and what it tells of them."""
    rng = np.random.default_rng(seed)
    kind = [elman.SequenceClassifier, elman.SequenceRegressor, elman.SequenceTagger][seed % 3]
    features = int(rng.integers(1, 4))
    offset = 10.0 ** rng.integers(-3, 4, features)
    X = [(rng.standard_normal((n, features)) * 0.2 + rng.integers(-3, 4)) * offset for n in rng.integers(2, 7, 20)]
    X = [part.astype(np.float32) for part in X]
    settings = {
        "cell": str(rng.choice(["gru", "lstm", "rnn"])),
        "hidden": [3, (4, 3)][rng.integers(2)],
        "bidirectional": bool(rng.integers(2)),
        "standardize": bool(rng.integers(4)),
        "dtype": str(rng.choice(["float32", "float64"])),
    } | TINY
    if kind is not elman.SequenceTagger:
        settings["pool"] = str(rng.choice(["max", "mean", "last"]))
    if kind is elman.SequenceRegressor:
        y = rng.standard_normal((20, 2) if rng.integers(2) else 20) * 30 - 500
    else:
        middle = np.median(np.concatenate(X)[:, 0])
        y = [part[:, 0] > middle for part in X] if kind is elman.SequenceTagger else np.arange(20) % 3
    estimator = kind(**settings).fit(X, y)
    told = estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
    return estimator, X, told


def close(found, told, scale=1.0):
    for one, other in zip(found, told, strict=True):
        np.testing.assert_allclose(np.ravel(one), np.ravel(other), rtol=2e-6, atol=2e-6 * scale)


@pytest.mark.parametrize("seed", range(60))
def test_the_network_gives_what_is_predicted(seed):
    estimator, X, told = draw(seed)
    net = estimator.to_network()
    assert any(isinstance(layer, Scale) for layer in net.layers) >= estimator.standardize
    weights = {name: array.copy() for name, array in estimator.network_.parameters.items()}
    for _ in range(2):
        close(net(X)[0], told, 100)
    for array in net.parameters.values():
        array += 1  # it is a copy
    for name, array in estimator.network_.parameters.items():
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("seed", range(60, 84))
def test_streams_give_what_is_predicted_of_the_steps_so_far(seed):
    estimator, X, _ = draw(seed)
    estimator = estimator.set_params(bidirectional=False)  # with any pool
    y = np.arange(20.0) if seed % 3 == 1 else np.arange(20) % 2
    estimator.fit(X, [np.arange(len(part)) % 2 for part in X] if seed % 3 == 2 else y)
    stream = estimator.stream()
    for part in (X[0], X[4]):
        stream.reset()
        for t, x in enumerate(part):
            step, sofar = stream.step(x), [part[: t + 1]]
            if seed % 3 == 2:
                close([step], [estimator.predict_proba(sofar)[0][-1]])
            else:
                close([step], estimator.predict(sofar) if seed % 3 else estimator.predict_proba(sofar), 100)


@pytest.mark.parametrize("level", ["last", "mean", None])
@pytest.mark.parametrize("variables", [None, 3])
@pytest.mark.parametrize(("members", "standardize"), [(1, True), (3, True), (2, False)])
def test_a_forecaster_forecasts_from_a_window(level, variables, members, standardize):
    rng = np.random.default_rng(members)
    y = 20 + rng.standard_normal((60, variables or 1)).cumsum(0).astype(np.float32)
    given = {"level": level, "members": members, "standardize": standardize, "shared": variables is None}
    forecaster = elman.Forecaster(4, window=6, hidden=3, **given, **TINY).fit(y if variables else y[:, 0])
    net = forecaster.to_network()
    found, _ = net(np.stack([y[-6:], y[-6:]]))
    for one in found:
        np.testing.assert_allclose(one.reshape(4, -1), forecaster.predict().reshape(4, -1), rtol=2e-6)


def test_what_no_network_says_is_refused_by_its_option():
    y = np.abs(np.random.default_rng(0).standard_normal((40, 2))) + 1
    given = {"window": 4, "hidden": 2, **TINY}
    for name, value in {
        "log": True, "difference": 2, "spread": True, "fill": "forward", "quantiles": (0.1, 0.5), "segment": 2,
    }.items():  # fmt: skip
        forecaster = elman.Forecaster(2, **given, **{name: value}).fit(y[:, 0])
        with pytest.raises(ValueError, match=rf"^{name} must be .* Got "):
            forecaster.to_network()
    for name, fitted in {
        "shared": elman.Forecaster(2, **given).fit(y),
        "standardize": elman.Forecaster(2, **given).fit([y[:, 0], y[:9, 1]]),
        "past": elman.Forecaster(2, **given).fit(y[:, 0], past=y[:, 1]),
        "exogenous": elman.Forecaster(2, **given).fit(y[:, 0], exogenous=y[:, 1]),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} must be"):
            fitted.to_network()
    writer = elman.TextGenerator(truncate=4, hidden=2, epochs=1).fit("to be or not to be")
    with pytest.raises(ValueError, match="network_ gives a score"):
        writer.to_network()
    X = 1e9 + np.random.default_rng(0).standard_normal((9, 4, 2))
    classifier = elman.SequenceClassifier(hidden=2, **TINY).fit(X, np.arange(9) % 2)
    with pytest.raises(ValueError, match=r"float32 must .*dtype=\"float64\".*feature [01] with mean 1e\+09"):
        classifier.to_network()
    classifier = elman.SequenceClassifier(hidden=2, dtype="float64", **TINY).fit(X, np.arange(9) % 2)
    np.testing.assert_allclose(classifier.to_network()(X)[0], classifier.predict_proba(X), atol=1e-6)
    with pytest.raises(ValueError, match="not fitted"):
        elman.SequenceClassifier().to_network()


def test_tokens_go_in_by_their_places():
    texts = [list("abca"), list("bb"), list("cab"), list("ba")]
    classifier = elman.SequenceClassifier(hidden=3, embedding=2, **TINY).fit(texts, [0, 1, 0, 1])
    places = [np.searchsorted(classifier.tokens_, text) for text in texts]
    close(classifier.to_network()(places)[0], classifier.predict_proba(texts))


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(84, 108))
def test_onnx_runtime_gives_what_is_predicted(tmp_path, seed):
    onnxruntime = pytest.importorskip("onnxruntime")
    estimator, X, told = draw(seed)
    if estimator.network_.dtype == np.float64:  # which ONNX Runtime has not
        estimator, X, told = draw(seed + 1000)
    if estimator.network_.dtype == np.float64:
        return
    elman.to_onnx(estimator, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    close([session.run(None, {"x": part[None]})[0][0] for part in X], told, 100)


def test_c_and_other_formats_have_the_network_of_the_estimator(tmp_path):
    X = [np.random.default_rng(i).standard_normal((5, 2)) + 3 for i in range(8)]
    settings = {"bidirectional": False, "pool": "last", "hidden": 3, **TINY}
    classifier = elman.SequenceClassifier(**settings).fit(X, np.arange(8) % 2)
    for name, given in (("a", classifier), ("b", classifier.to_network())):
        try:
            elman.to_c(given, tmp_path / name, name="model")
        except elman.FormatError as error:
            pytest.skip(str(error))
    assert (tmp_path / "a.c").read_text().replace("a.h", "b.h") == (tmp_path / "b.c").read_text()
    classifier.save(tmp_path / "clf.safetensors")
    elman.convert(tmp_path / "clf.safetensors", tmp_path / "net.safetensors")
    np.testing.assert_array_equal(elman.load(tmp_path / "net.safetensors")(X)[0], classifier.to_network()(X)[0])
    for wrong in (3, elman.SequenceClassifier, None):
        with pytest.raises(TypeError, match="net must be a network, a layer or a fitted estimator"):
            elman.to_c(wrong, tmp_path / "x")
