"""Optimizers against plain transcriptions of their papers and against numbers of PyTorch; schedules; clipping."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from elman.checks import ShapeError
from elman.training.optimizers import SGD, Adam, AdamW, RMSprop, clip_by_norm, clip_by_value, global_norm
from elman.training.schedules import CosineSchedule, LinearSchedule, StepSchedule

RATES = [0.1, 0.05, 0.2, 0.1, 0.02]


def start_values():
    rng = np.random.default_rng(7)
    parameters = {"W": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)}
    gradients = [{name: rng.standard_normal(p.shape) for name, p in parameters.items()} for _ in RATES]
    return parameters, gradients


def run(optimizer, dtype=np.float64):
    parameters, gradients = start_values()
    parameters = {name: p.astype(dtype) for name, p in parameters.items()}
    state = optimizer.start(parameters)
    for g, rate in zip(gradients, RATES, strict=True):
        optimizer.update(parameters, {name: part.astype(dtype) for name, part in g.items()}, state, rate)
    return parameters, state


# Transcriptions, one number at a time, from the equations as the papers print them.


def plain_sgd(theta, gradients, mu, nesterov):
    v = 0.0
    for g, eta in zip(gradients, RATES, strict=True):
        v = mu * v + g
        theta = theta - eta * (g + mu * v if nesterov else v)
    return theta


def plain_rmsprop(theta, gradients, decay, epsilon):
    mean_square = 0.0
    for g, eta in zip(gradients, RATES, strict=True):
        mean_square = decay * mean_square + (1 - decay) * g**2
        theta = theta - eta * g / (math.sqrt(mean_square) + epsilon)
    return theta


def plain_adam(theta, gradients, beta1, beta2, epsilon, decay=0.0):
    m = v = 0.0
    for t, (g, eta) in enumerate(zip(gradients, RATES, strict=True), start=1):
        decayed = eta * decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - decayed - eta * m_hat / (math.sqrt(v_hat) + epsilon)
    return theta


CASES = {
    "sgd": (SGD(), lambda p, g, rank: plain_sgd(p, g, 0, False)),
    "momentum": (SGD(momentum=0.8), lambda p, g, rank: plain_sgd(p, g, 0.8, False)),
    "nesterov": (SGD(momentum=0.8, nesterov=True), lambda p, g, rank: plain_sgd(p, g, 0.8, True)),
    "rmsprop": (RMSprop(decay=0.7, epsilon=1e-2), lambda p, g, rank: plain_rmsprop(p, g, 0.7, 1e-2)),
    "adam": (
        Adam(beta1=0.8, beta2=0.95, epsilon=1e-2),
        lambda p, g, rank: plain_adam(p, g, 0.8, 0.95, 1e-2),
    ),
    "adamw": (
        AdamW(beta1=0.8, beta2=0.95, epsilon=1e-2, weight_decay=0.3),
        lambda p, g, rank: plain_adam(p, g, 0.8, 0.95, 1e-2, 0.3 if rank >= 2 else 0.0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_updates_equal_a_plain_transcription(name):
    optimizer, plain = CASES[name]
    parameters, state = run(optimizer)
    before, gradients = start_values()
    for key, start in before.items():
        want = [plain(start[i], [g[key][i] for g in gradients], start.ndim) for i in np.ndindex(start.shape)]
        np.testing.assert_allclose(parameters[key].ravel(), want, rtol=1e-13)
    assert int(state["step"]) == len(RATES)


# W after the five updates, by torch.optim of PyTorch 2.13.0; `pytorch_values` is the script.
PYTORCH = {
    "momentum": [
        0.7843192692865175,
        0.4051991406808509,
        0.4787358880594279,
        -0.44660674070896716,
        -0.9541278927163435,
        -0.7638932764787528,
    ],
    "nesterov": [
        0.9505395375062138,
        0.4731325316074871,
        0.6977111122251621,
        -0.3133005406148778,
        -1.2034352676366575,
        -0.5670645068613024,
    ],
    "rmsprop": [
        0.13866860559596617,
        0.4844807782399838,
        0.030966965037716305,
        -0.504921327203631,
        -0.9252377289660271,
        -0.6945071886500808,
    ],
    "adam": [
        0.14724065778361395,
        0.33334507520392626,
        -0.058034142532306224,
        -0.5924169425192428,
        -0.6569440655634051,
        -0.9706752213415636,
    ],
    "adamw": [
        0.14899155537807152,
        0.3006211457256087,
        -0.021359247423870173,
        -0.4904515176318192,
        -0.5953602314123916,
        -0.8280688817895328,
    ],
}


def pytorch_values():
    import torch

    made = {
        "momentum": lambda p: torch.optim.SGD(p, momentum=0.8),
        "nesterov": lambda p: torch.optim.SGD(p, momentum=0.8, nesterov=True),
        "rmsprop": lambda p: torch.optim.RMSprop(p, alpha=0.7, eps=1e-2),
        "adam": lambda p: torch.optim.Adam(p, betas=(0.8, 0.95), eps=1e-2),
        "adamw": lambda p: torch.optim.AdamW(p, betas=(0.8, 0.95), eps=1e-2, weight_decay=0.3),
    }
    values = {}
    for name, make in made.items():
        parameters, gradients = start_values()
        W = torch.tensor(parameters["W"], requires_grad=True)
        optimizer = make([W])
        for g, rate in zip(gradients, RATES, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            W.grad = torch.tensor(g["W"])
            optimizer.step()
        values[name] = W.detach().numpy().ravel().tolist()
    return values


@pytest.mark.parametrize("name", PYTORCH)
def test_updates_equal_those_of_pytorch(name):
    parameters, _ = run(CASES[name][0])
    np.testing.assert_allclose(parameters["W"].ravel(), PYTORCH[name], rtol=1e-12)


@pytest.mark.peer
def test_stored_numbers_are_those_of_the_installed_pytorch():
    pytest.importorskip("torch")
    for name, values in pytorch_values().items():
        np.testing.assert_allclose(values, PYTORCH[name], rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32_and_near_float64(name):
    single, state = run(CASES[name][0], np.float32)
    double, _ = run(CASES[name][0])
    for key in single:
        assert single[key].dtype == np.float32
        np.testing.assert_allclose(single[key], double[key], rtol=1e-4, atol=1e-5)
    assert {a.dtype for key, a in state.items() if key != "step"} <= {np.dtype(np.float32)}


@pytest.mark.parametrize("name", CASES)
def test_a_run_continues_from_a_copied_state_to_the_bit(name):
    optimizer = CASES[name][0]
    whole, _ = run(optimizer)
    parameters, gradients = start_values()
    state = optimizer.start(parameters)
    for g, rate in zip(gradients[:2], RATES[:2], strict=True):
        optimizer.update(parameters, g, state, rate)
    parameters, state, optimizer = pickle.loads(pickle.dumps((parameters, state, optimizer)))
    for g, rate in zip(gradients[2:], RATES[2:], strict=True):
        optimizer.update(parameters, g, state, rate)
    for key in whole:
        np.testing.assert_array_equal(parameters[key], whole[key])


def test_update_changes_arrays_in_place_and_leaves_gradients():
    parameters, gradients = start_values()
    live = parameters["W"]
    before = live.copy()
    g = {name: part.copy() for name, part in gradients[0].items()}
    optimizer = AdamW(0.1)
    optimizer.update(parameters, gradients[0], optimizer.start(parameters))
    assert parameters["W"] is live
    assert not np.array_equal(live, before)
    for name in g:
        np.testing.assert_array_equal(gradients[0][name], g[name])


def test_a_gradient_that_does_not_fit_is_refused_before_anything_moves():
    parameters, gradients = start_values()
    before = {name: p.copy() for name, p in parameters.items()}
    optimizer = SGD(momentum=0.5)
    state = optimizer.start(parameters)
    with pytest.raises(ShapeError, match=r"the gradient of b must have shape \(4,\)\. Got \(1,\)\."):
        optimizer.update(parameters, {"W": gradients[0]["W"], "b": np.ones(1)}, state)
    with pytest.raises(ShapeError, match=r"gradients must hold one for b\. Got W\."):
        optimizer.update(parameters, {"W": gradients[0]["W"]}, state)
    for name in before:
        np.testing.assert_array_equal(parameters[name], before[name])
    assert int(state["step"]) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), r"learning_rate must be a number from 0\. Got -0\.1\."),
        (lambda: Adam("fast"), r"learning_rate must be a number from 0\. Got 'fast'\."),
        (lambda: Adam(beta1=1.0), r"beta1 must be under 1\. Got 1\.0\."),
        (lambda: RMSprop(epsilon=0), r"epsilon must be a number over 0\. Got 0\."),
        (lambda: AdamW(weight_decay=math.nan), r"weight_decay must be a number from 0\. Got nan\."),
        (lambda: SGD(nesterov=True), r"momentum must be over 0 where nesterov is true\. Got 0\.0\."),
        (lambda: LinearSchedule(0.1, warmup=2), r"warmup must be a number from 0 up to 1\. Got 2\."),
        (lambda: StepSchedule(0.1, at=(0.5, 1.5)), r"at must be a number from 0 up to 1\. Got 1\.5\."),
        (lambda: StepSchedule(0.1, at=0.5), r"at must be a tuple of fractions from 0 to 1\. Got 0\.5\."),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_schedule_needs_the_rate_of_the_update():
    parameters, gradients = start_values()
    optimizer = Adam(LinearSchedule(0.1))
    state = optimizer.start(parameters)
    with pytest.raises(ValueError, match="learning_rate must be given where the optimizer has a schedule"):
        optimizer.update(parameters, gradients[0], state)
    assert optimizer.rate(0.25) == pytest.approx(0.075)
    assert SGD(0.3).rate(0.25) == 0.3


def test_schedules_follow_their_equations():
    done = np.linspace(0, 1, 41)
    linear, cosine = LinearSchedule(0.2, 0.05, warmup=0.25), CosineSchedule(0.2, 0.05, warmup=0.25)
    s = np.clip((done - 0.25) / 0.75, 0, 1)
    rise = 0.2 * done / 0.25
    np.testing.assert_allclose([linear(d) for d in done], np.where(done < 0.25, rise, 0.2 - 0.15 * s))
    np.testing.assert_allclose(
        [cosine(d) for d in done], np.where(done < 0.25, rise, 0.05 + 0.15 * (1 + np.cos(np.pi * s)) / 2)
    )
    step = StepSchedule(0.8, 0.5, (0.25, 0.5))
    np.testing.assert_allclose([step(d) for d in done], np.where(done < 0.25, 0.8, np.where(done < 0.5, 0.4, 0.2)))
    assert LinearSchedule(0.1, warmup=1.0)(1.0) == 0.1


def test_clip_by_norm_scales_all_gradients_together():
    gradients = {"W": np.array([[3.0, 0.0]]), "b": np.array([0.0, 4.0])}
    before = {name: g.copy() for name, g in gradients.items()}
    clipped, norm = clip_by_norm(gradients, 2.5)
    assert norm == 5.0
    np.testing.assert_allclose(clipped["W"], [[1.5, 0.0]])
    np.testing.assert_allclose(clipped["b"], [0.0, 2.0])
    same, _ = clip_by_norm(gradients, 5.0)
    for name, g in gradients.items():
        np.testing.assert_array_equal(g, before[name])
        np.testing.assert_array_equal(same[name], before[name])
        assert not np.shares_memory(same[name], g)


def test_clip_by_value_limits_each_number():
    gradients = {"W": np.array([3.0, -0.5, -7.0], np.float32)}
    clipped = clip_by_value(gradients, 1)
    assert clipped["W"].tolist() == [1.0, -0.5, -1.0]
    assert clipped["W"].dtype == np.float32
    assert gradients["W"].tolist() == [3.0, -0.5, -7.0]


def test_the_norm_holds_at_extremes():
    assert global_norm({"W": np.full(4, 1e30, np.float32)}) == pytest.approx(2e30, rel=1e-6)
    assert global_norm({"W": np.full(4, 1e200)}) == pytest.approx(2e200)
    assert global_norm({"W": np.array([1.0, np.inf])}) == math.inf
    assert math.isnan(global_norm({"W": np.array([1.0, np.nan]), "b": np.array([np.inf])}))
    assert global_norm({}) == 0.0
    clipped, norm = clip_by_norm({"W": np.array([np.inf, 1.0])}, 1.0)
    assert norm == math.inf
    assert clipped["W"].tolist() == [math.inf, 1.0]


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
def test_a_limit_must_be_over_0(clip):
    with pytest.raises(ValueError, match=r"limit must be a number over 0\. Got 0\."):
        clip({"W": np.ones(2)}, 0)


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9), RMSprop(0.1), Adam(0.1), AdamW(0.1, weight_decay=0.3)])
def test_large_parameters_are_moved_in_pieces_as_in_one(optimizer, monkeypatch):
    """Bit by bit, rows of a matrix, numbers of a vector, rows wider than a piece."""
    rng = np.random.default_rng(0)
    shapes = {"W": (37, 11), "b": (211,), "wide": (3, 101)}
    start = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    gradients = [{name: rng.standard_normal(shape) for name, shape in shapes.items()} for _ in range(2)]
    found = []
    for piece in (1 << 16, 50):
        monkeypatch.setattr("elman.training.optimizers.PIECE", piece)
        parameters = {name: array.copy() for name, array in start.items()}
        state = optimizer.start(parameters)
        for g in gradients:
            optimizer.update(parameters, g, state)
        found.append(parameters)
    for name in shapes:
        assert (found[0][name] != start[name]).all()
        np.testing.assert_array_equal(found[0][name], found[1][name], err_msg=name)


def test_a_state_of_whole_numbers_or_masked_is_refused():
    for optimizer in (RMSprop(0.1), Adam(0.1), SGD(0.1, momentum=0.5)):
        parameters = {"w": np.ones((2, 3))}
        state = optimizer.start(parameters)
        moment = next(name for name in state if name != "step")
        for wrong in ({moment: np.zeros((2, 3), int)}, {"step": np.ma.masked}, {moment: np.ma.ones((2, 3))}):
            with pytest.raises(TypeError, match="state must be what start returned"):
                optimizer.update(parameters, {"w": np.ones((2, 3))}, {**state, **wrong})
        np.testing.assert_array_equal(parameters["w"], np.ones((2, 3)))
