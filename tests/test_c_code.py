"""Networks written as C, compiled without a warning, give the numbers of their streams."""

from __future__ import annotations

import ctypes
import inspect
import shutil
import subprocess
import textwrap

import numpy as np
import pytest

import elman
from c_programs import State, build, compile_c, needs_compiler
from elman.cells.activations import ACTIVATIONS
from elman.cells.functions import CURVES
from elman.interop.c.code import to_c

STEPS = 1000
PARAMETERS = {"alpha": (0.1, 0.4), "beta": (0.1, 0.6)}
BOUNDED = ["sigmoid", "hard_sigmoid", "tanh", "softsign"]  # of gates that multiply a state


def activation(rng, names=tuple(ACTIVATIONS)):
    """One of the names, with parameters of its own or the default ones."""
    name = str(rng.choice(names))
    given = {key: float(rng.uniform(*PARAMETERS[key])) for key in ACTIVATIONS[name].defaults if rng.random() < 0.7}
    return elman.Activation(name, **given)


def maybe(rng, value, chance=0.4):
    return value if rng.random() < chance else None


def some(rng, **options):
    """Some of the options."""
    return {key: value for key, value in options.items() if rng.random() < 0.4}


def gates(rng, bounded, free):
    chosen = {gate: activation(rng, BOUNDED) for gate in bounded} | {gate: activation(rng) for gate in free}
    if "z" in chosen and chosen["z"].name not in ("sigmoid", "hard_sigmoid"):
        chosen["z"] = elman.Activation("hard_sigmoid")  # with a negative z rounding may double from step to step
    return {gate: act for gate, act in chosen.items() if rng.random() < 0.6}


def random_recurrent(rng, inputs):
    hidden = int(rng.integers(3, 12))
    every = some(rng, zoneout=0.2, learned_state=True, clip=1.5)
    kind = rng.choice(["rnn", "gru", "gru before", "lstm norm", "lstm", "lstm"])
    if kind == "rnn":
        return elman.RNN(inputs, hidden, activation(rng), **every)
    if kind in ("gru", "gru before"):
        acts = some(rng, activations=gates(rng, "rz", "n"))
        return elman.GRU(inputs, hidden, reset_after=kind == "gru", **every, **acts)
    if "zoneout" in every:
        every["zoneout"] = (0.05, 0.3)
    if kind == "lstm norm":
        every.pop("clip", None)
        return elman.LSTM(inputs, hidden, layer_norm=True, **every)
    coupled = bool(rng.random() < 0.4)
    more = some(rng, projection=int(rng.integers(1, 9)), cell_clip=0.8, peepholes=True)
    acts = some(rng, activations=gates(rng, "io" if coupled else "ifo", "gc"))
    return elman.LSTM(inputs, hidden, coupled=coupled, **every, **more, **acts)


def random_pointwise(rng, width):
    """Normalization of few numbers multiplies small differences; such networks are compared elsewhere."""
    choices = [
        lambda: elman.Dense(width, int(rng.integers(2, 10)), activation(rng)),
        lambda: elman.Activate(activation(rng)),
        lambda: elman.Dropout(0.3),
    ]
    if width > 2:
        choices.append(lambda: elman.Activate(str(rng.choice(["softmax", "log_softmax"]))))
    if width > 3:
        choices.append(lambda: elman.LayerNorm(width, epsilon=0.1))
    if width > 3 and width % 2 == 0:
        choices += [lambda: elman.MergeDirections(str(rng.choice(["sum", "mul", "ave"])))] * 2
    return choices[rng.integers(len(choices))]()


def random_network(seed):
    """Up to three recurrent layers, others around them, some in a network of their own; every weight random."""
    rng = np.random.default_rng(seed)
    width, layers = int(rng.integers(1, 7)), []
    if seed % 4 == 0:
        layers.append(elman.Embedding(int(rng.integers(2, 9)), width))
    for _ in range(int(rng.integers(1, 4))):
        layers.append(random_recurrent(rng, width))
        width = layers[-1].output_size
        for _ in range(int(rng.integers(0, 3))):
            layers.append(random_pointwise(rng, width))
            width = elman.Network(layers).output_size
    if rng.random() < 0.3:
        layers += [elman.LastStep(), elman.Dense(width, 3), elman.Dropout(0.2)]
    if len(layers) > 2 and rng.random() < 0.4:
        layers = [*layers[:1], elman.Network(layers[1:])]
    net = elman.Network(layers)
    for name, array in net.parameters.items():
        scale = 0.5 if array.ndim == 1 else 0.7 / np.sqrt(array.shape[0])
        array[...] = rng.normal(scale=scale, size=array.shape)
        if name.endswith("gain_h"):
            array *= 0.5  # or what little differs grows from step to step
        elif "gain" in name:
            array += 1
    return net


def inputs_of(net, rng, steps=STEPS):
    first = net.layers[0]
    if net.takes_tokens:
        return rng.integers(0, first.count, steps)
    return rng.normal(size=(steps, net.input_size)).astype(np.float32)


# Seed 43 draws a network whose activations are 0 for all that comes in.
NETWORKS = {f"random_{seed}": random_network(seed) for seed in range(61) if seed != 43}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """All networks, written, and compiled into one shared object; where names clashed, it could not be linked."""
    folder = tmp_path_factory.mktemp("c")
    reports = {name: to_c(net, folder / name) for name, net in NETWORKS.items()}
    return build(folder, list(reports.values())), reports


@needs_compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_a_thousand_steps_are_those_of_the_stream(exported, name):
    """Two states take turns; one of them, reset, gives the same again."""
    (library, reports), net = exported, NETWORKS[name]
    rng = np.random.default_rng(1)
    x, other = inputs_of(net, rng), inputs_of(net, rng, 50)
    want, want_other = net.stream().run(x), net.stream().run(other)
    assert np.abs(want).max() < 100  # a network that does not run away,
    assert np.ptp(want, axis=0).max() > 1e-3  # and has something to say
    first, second = (State(library, reports[name], net.output_size) for _ in range(2))
    got_other = []
    got = np.empty_like(want)
    for t in range(STEPS):
        got[t] = first.step(x[t])
        if t < len(other):
            got_other.append(second.step(other[t]))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got_other, want_other, rtol=1e-6, atol=1e-6)
    first.reset()
    np.testing.assert_array_equal(first.run(x[:20]), got[:20])


def test_the_random_networks_have_everything():
    """Each layer, each option and each activation at least twice, or the test above would show less than it says."""
    flat = [layer for net in NETWORKS.values() for layer in _flat(net)]
    texts = [repr(layer) for layer in flat]
    wanted = ["RNN(", "GRU(", "LSTM(", "Dense(", "Embedding(", "LayerNorm(", "Activate(", "Dropout(", "LastStep("]
    wanted += ["MergeDirections(mode='sum'", "MergeDirections(mode='mul'", "MergeDirections(mode='ave'"]
    wanted += ["reset_after=True", "reset_after=False", "layer_norm=True", "peepholes=True", "coupled=True"]
    wanted += ["projection=", ", clip=", "cell_clip=", "zoneout=0.2", "zoneout=(0.05, 0.3)", "learned_state=True"]
    wanted += [f"'{name}'" for name in [*ACTIVATIONS, "softmax", "log_softmax"] if name != "identity"]
    for text in wanted:
        assert sum(text in repr_ for repr_ in texts) >= 2, text


def _flat(net):
    return [inner for layer in net.layers for inner in (_flat(layer) if isinstance(layer, elman.Network) else [layer])]


def small(**options):
    return elman.Network([elman.LSTM(3, 8, seed=0, **options), elman.Dense(8, 2, seed=1, **options)])


@needs_compiler
def test_activations_everywhere(tmp_path):
    """Small, large and infinite numbers, zeros of both signs and NaN through each function of its own."""
    x = [0.0, -0.0, 1e-8, -1e-8, 1e-3, -1e-3, 0.3, -0.3, 1.0, -1.0, 5.0, -5.0, 30.0, -30.0, 104.0, -104.0, 1e30, -1e30]
    x = np.array([*x, np.nan, np.inf, -np.inf], np.float32)
    acts = [elman.Activation(name, **parameters) for name in ACTIVATIONS for parameters in own(name)]
    nets = [elman.Network([elman.Dense(1, 1), elman.Activate(act)]) for act in acts]
    for net in nets:
        net.layers[0].W = [[1.0]]
    reports = [to_c(net, tmp_path / f"act{i}") for i, net in enumerate(nets)]
    library = build(tmp_path, reports)
    with np.errstate(all="ignore"):
        for act, net, report in zip(acts, nets, reports, strict=True):
            want = net.stream().run(x[:, None])
            np.testing.assert_allclose(State(library, report, 1).run(x[:, None]), want, 5e-7, 1e-38, err_msg=repr(act))


@needs_compiler
def test_curves(tmp_path):
    """Functions whose derivative needs x, over their whole range."""
    x = np.random.default_rng(2).normal(scale=3, size=(60, 3)).astype(np.float32)
    x[:2] = [[0.0, -30.0, 30.0], [1e-8, -1e4, 1e4]]
    acts = ["relu", *(name for name in CURVES if name != "sqrt")]
    nets = [elman.Network([elman.Dense(3, 3), elman.Activate(name)]) for name in acts]
    nets.append(elman.Network([elman.Dense(3, 3, "softplus"), elman.Activate("sqrt")]))
    for net in nets:  # no sums, whose order shows where terms of 1e4 cancel
        net.layers[0].W[...] = np.eye(3)
    library = build(tmp_path, reports := [to_c(net, tmp_path / f"curve{i}") for i, net in enumerate(nets)])
    for net, report in zip(nets, reports, strict=True):
        want = net.stream().run(x)
        np.testing.assert_allclose(State(library, report, 3).run(x), want, 1e-5, 1e-6, err_msg=repr(net))


def own(name):
    """The default parameters of an activation, and others."""
    defaults = ACTIVATIONS[name].defaults
    return [{}, {key: value * 0.7 + 0.1 for key, value in defaults.items()}] if defaults else [{}]


@needs_compiler
def test_large_logits_do_not_overflow(tmp_path):
    nets = [elman.Network([elman.LayerNorm(3), elman.Activate(name)]) for name in ("softmax", "log_softmax")]
    for net in nets:
        net.layers[0].gain = [1e38, 90.0, 1e4]
    reports = [to_c(net, tmp_path / f"m{i}") for i, net in enumerate(nets)]
    library = build(tmp_path, reports)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for net, report in zip(nets, reports, strict=True):
        want = net.stream().run(x)
        assert np.isfinite(want).all()
        np.testing.assert_allclose(State(library, report, 3).run(x), want, rtol=2e-6, atol=1e-30)


@needs_compiler
def test_weights_are_kept_to_the_last_bit(tmp_path):
    """All sizes of numbers, the smallest and the largest, in a table of tokens, which are handed out as they are."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, (400, 5), np.uint32)
    net = elman.Network([elman.Embedding(400, 5)])
    net.layers[0].W[...] = bits.view(np.float32)
    tiny = np.finfo(np.float32)
    net.layers[0].W[0] = [tiny.smallest_subnormal, tiny.tiny, tiny.max, -0.0, 1.0]
    net.layers[0].W[1] = [np.nan, np.inf, -np.inf, tiny.min, 16777216.0]
    report = to_c(net, tmp_path / "tokens")
    state = State(build(tmp_path, [report]), report, 5)
    got = state.run(np.arange(400))
    want = net.layers[0].W
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(got.view(np.uint32)[~np.isnan(want)], want.view(np.uint32)[~np.isnan(want)])
    count = int((~np.isfinite(want)).sum())
    assert report.notes == (f"Not finite, and written as NAN or INFINITY: {count} of the weights.",)
    assert report.notes[0] in report.header.read_text()


@needs_compiler
def test_tokens_out_of_range_change_nothing(tmp_path):
    net = elman.Network([elman.Embedding(6, 3, seed=0), elman.GRU(3, 4, learned_state=True, seed=1)])
    net.layers[1].h0 = [0.1, -0.2, 0.3, 0.4]
    report = to_c(net, tmp_path / "tokens")
    library = build(tmp_path, [report])
    state = State(library, report, 4)
    np.testing.assert_array_equal(state.memory.view(np.float32), net.layers[1].h0)
    for wrong in (-1, 6, 2**31 - 1, -(2**31)):
        y = np.full(4, 7, np.float32)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (state.memory, y))
        memory, out = pointers
        assert library.tokens_step(memory, ctypes.c_int32(wrong), out) == 1
        assert (y == 7).all()
    np.testing.assert_array_equal(state.memory.view(np.float32), net.layers[1].h0)
    np.testing.assert_allclose(state.run(np.array([5, 0])), net.stream().run([5, 0]), atol=1e-7)


@needs_compiler
def test_a_layer_by_itself_and_a_network_without_a_state(tmp_path):
    rng = np.random.default_rng(2)
    cases = {
        "alone": (elman.LSTM(3, 4, projection=2, seed=0), elman.Network([elman.LSTM(3, 4, projection=2, seed=0)])),
        "stateless": (net := elman.Network([elman.Dense(3, 4, "tanh", seed=0), elman.Dense(4, 2, seed=1)]), net),
    }
    reports = [to_c(given, tmp_path / name) for name, (given, _) in cases.items()]
    library = build(tmp_path, reports)
    x = rng.normal(size=(9, 3)).astype(np.float32)
    for report, (_, net) in zip(reports, cases.values(), strict=True):
        np.testing.assert_allclose(State(library, report, 2).run(x), net.stream().run(x), atol=1e-6)
    assert reports[1].state_bytes == 1  # C has no empty struct


@needs_compiler
def test_nothing_but_functions_of_mathematics_is_asked_for(exported, tmp_path):
    """No allocation, no variables: nothing is written but what the caller gives."""
    tool = shutil.which("nm")
    if tool is None:
        pytest.skip("there is no nm")
    mathematics = {"expf", "tanhf", "expm1f", "log1pf", "logf", "sqrtf"}
    by_compilers = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    asked = set()
    for name in list(NETWORKS)[:6]:
        compile_c("-c", exported[1][name].source, "-o", tmp_path / "one.o")
        lines = subprocess.run([tool, tmp_path / "one.o"], capture_output=True, text=True, check=True).stdout
        symbols = [line.split()[-2:] for line in lines.splitlines()]
        asked |= {symbol for kind, symbol in symbols if kind == "U"}
        assert {kind for kind, _ in symbols} <= set("TtrRU"), lines
        assert {symbol for kind, symbol in symbols if kind == "T"} == {f"{name}_{f}" for f in ("init", "reset", "step")}
    assert "tanhf" in asked
    assert asked <= mathematics | by_compilers


CPP = """
#include "first.h"
#include "second.h"
#include "first.h"

int main()
{
    float x[first_inputs] = {0.5f, -1.0f, 2.0f}, y[first_outputs];
    first_state one;
    second_state two;
    first_init(&one);
    second_init(&two);
    first_step(&one, x, y);
    return second_step(&two, 1, y) + (sizeof(one) == 64 ? 0 : 2);
}
"""


@needs_compiler
def test_two_models_in_one_program_of_another_language(tmp_path):
    """C++ takes the headers, one of them twice; in C one file may include both sources."""
    compiler = shutil.which("c++") or shutil.which("g++")
    reports = [
        to_c(small(), tmp_path / "first"),
        to_c(elman.Network([elman.Embedding(4, 2), elman.LSTM(2, 2)]), tmp_path / "second"),
    ]
    both = "".join(f'#include "{report.source.name}"\n' for report in reports)
    (tmp_path / "both.c").write_text(both)
    compile_c("-c", tmp_path / "both.c", "-o", tmp_path / "both.o")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    (tmp_path / "main.cpp").write_text(CPP)
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    program = tmp_path / "program"
    compile_c(tmp_path / "main.cpp", tmp_path / "both.o", "-o", program, compiler=compiler, flags=flags)
    assert subprocess.run([program], check=False).returncode == 0


@needs_compiler
def test_the_program_of_the_docstring(tmp_path):
    text = inspect.getdoc(to_c)
    program = textwrap.dedent(text[text.index("    #include <stdio.h>") : text.index("It is compiled with")])
    net = small()
    report = to_c(net, tmp_path / "model")
    (tmp_path / "main.c").write_text(program)
    compile_c(tmp_path / "main.c", report.source, "-lm", "-o", tmp_path / "main")
    out = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    x = np.array([[0.5, -1, 2], [1.5, 0, 0], [0, 1, -0.5]], np.float32)
    np.testing.assert_allclose(np.loadtxt(out.splitlines()), net(x)[0], atol=2e-6)  # six decimals are printed
