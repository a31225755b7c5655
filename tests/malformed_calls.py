"""Right calls of every public callable: what `malformed` spoils."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import elman
from elman import training

PACKAGE = os.path.dirname(elman.__file__)
RNG = np.random.default_rng(5)


@dataclass(frozen=True)
class Target:
    """A function, and for each argument how to make a right value; those in `fixed` are never spoiled.

    Nor is `after_epoch`: what a function of the user's own raises is passed on; test_after_epoch.py has the rest.
    """

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Callable[[], Any]]
    fixed: frozenset[str] = frozenset({"after_epoch"})


def array(*shape: int, dtype: Any = float) -> Callable[[], Any]:
    values = RNG.standard_normal(shape).astype(dtype)
    return values.copy


def value(given: Any) -> Callable[[], Any]:
    return lambda: given


def defaults(function: Callable[..., Any], /, **right: Any) -> dict[str, Callable[[], Any]]:
    """Every argument of a function, at its default unless a right value is given."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in right:
            found[name] = right[name] if callable(right[name]) else value(right[name])
        elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and name != "self":
            assert parameter.default is not parameter.empty, f"{function} must be given {name}"
            found[name] = value(parameter.default)
    return found


def bound(make: Callable[[], Any], method: str) -> Callable[..., Any]:
    """A method of a new object at each call."""
    return lambda **arguments: getattr(make(), method)(**arguments)


def made(target: str, function: Callable[..., Any], /, **right: Any) -> Target:
    return Target(target, function, defaults(function, **right))


def method(target: str, make: Callable[[], Any], name: str, /, **right: Any) -> Target:
    return Target(target, bound(make, name), defaults(getattr(make(), name), **right))


# Steps and functions.


def steps() -> list[Target]:
    step = {"x": array(4, 3), "h": array(4, 5)}
    one = {"x": array(3), "h": array(5), "c": array(5)}
    found = [
        made("rnn_step", elman.rnn_step, **step, Wx=array(3, 5), Wh=array(5, 5), b=array(5)),
        made("lstm_step", elman.lstm_step, **step, c=array(4, 5), Wx=array(3, 20), Wh=array(5, 20), b=array(20)),
        made("lstm_step, one", elman.lstm_step, **one, Wx=array(3, 20), Wh=array(5, 20), b=array(20)),
        made("gru_step", elman.gru_step, **step, Wx=array(3, 15), Wh=array(5, 15), b=array(15), bn=array(5)),
    ]
    for name in ("sigmoid", "tanh", "relu"):
        found.append(made(name, getattr(elman, name), x=array(4, 3)))
        found.append(made(f"{name}_derivative", getattr(elman, f"{name}_derivative"), y=array(4, 3)))
    found += [
        made("softmax", elman.softmax, x=array(4, 3)),
        made("softmax_jacobian", elman.softmax_jacobian, y=lambda: elman.softmax(array(4, 3)())),
        made(
            "cross_entropy",
            elman.cross_entropy,
            y=lambda: np.eye(3)[[0, 2]],
            y_pred=lambda: elman.softmax(array(2, 3)()),
        ),
        Target("Activation", elman.Activation, {"name": value("elu"), "alpha": value(0.5)}),
        Target("Activation()", elman.Activation("hard_sigmoid"), {"x": array(2, 3)}),
        method("Activation.derivative", lambda: elman.Activation("elu"), "derivative", y=array(2, 3)),
    ]
    return found


def step(x: Any, state: Any, weights: Any) -> Any:
    (h,), (Wx, Wh, b) = state, weights
    return (np.tanh(x @ Wx + h @ Wh + b),), {}


def step_derivative(x: Any, state: Any, weights: Any, kept: Any, dnext: Any) -> Any:
    (h,), (Wx, Wh, _), (dh,) = state, weights, dnext
    return dh @ Wx.T, (dh @ Wh.T,), (x.T @ dh, h.T @ dh, dh.sum(0))


CELL = {
    "name": "own",
    "weights": {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden"), "b": ("hidden",)},
    "states": ("h",),
    "step": value(step),
    "step_derivative": value(step_derivative),
    "activations": {"h": "tanh"},
}


def own_cell() -> elman.Cell:
    return elman.Cell("own", CELL["weights"], ("h",), step, step_derivative)  # type: ignore[arg-type]


def cells() -> list[Target]:
    return [
        made("Cell", elman.Cell, **CELL),
        method("Cell.shapes", own_cell, "shapes", input_size=3, hidden_size=5),
        method("Cell.widths", own_cell, "widths", hidden_size=5),
    ]


# Layers and networks.

LAYERS: dict[str, tuple[type[elman.Layer], dict[str, Any]]] = {
    "RNN": (elman.RNN, {"input_size": 3, "hidden_size": 4}),
    "LSTM": (elman.LSTM, {"input_size": 3, "hidden_size": 4}),
    "GRU": (elman.GRU, {"input_size": 3, "hidden_size": 4}),
    "Recurrent": (elman.Recurrent, {"cell": own_cell, "input_size": 3, "hidden_size": 4}),
    "Attention": (elman.Attention, {"query_size": 3, "memory_size": 4, "units": 2, "scaled": True, "dtype": "float32"}),
    "Bidirectional": (
        elman.Bidirectional,
        {"forward": lambda: elman.GRU(3, 4, seed=0), "backward": lambda: elman.LSTM(3, 4, seed=0), "merge": "sum"},
    ),
    "Dense": (elman.Dense, {"input_size": 3, "output_size": 4}),
    "Embedding": (elman.Embedding, {"count": 7, "size": 4}),
    "Dropout": (elman.Dropout, {"rate": 0.2}),
    "LayerNorm": (elman.LayerNorm, {"size": 3}),
    "Activate": (elman.Activate, {"activation": "tanh"}),
    "LastStep": (elman.LastStep, {}),
    "MeanOverTime": (elman.MeanOverTime, {}),
    "MaxOverTime": (elman.MaxOverTime, {}),
    "Masking": (elman.Masking, {}),
    "Reverse": (elman.Reverse, {}),
    "MergeDirections": (elman.MergeDirections, {"mode": "sum"}),
    "BatchNorm": (elman.BatchNorm, {"size": 3}),
    "LastSteps": (elman.LastSteps, {"input_size": 3, "count": 2}),
    "Conv1d": (elman.Conv1d, {"input_size": 3, "output_size": 4, "width": 2, "padding": "causal"}),
    "MaxPool1d": (elman.MaxPool1d, {"width": 2}),
    "AveragePool1d": (elman.AveragePool1d, {"width": 2, "padding": value((1, 0))}),
    "Scale": (elman.Scale, {"size": 3, "shift": array(3), "factor": 0.5}),
    "Repeat": (elman.Repeat, {"count": 4}),
}


def build(name: str) -> elman.Layer:
    kind, right = LAYERS[name]
    seed = {"seed": 0} if "seed" in inspect.signature(kind).parameters else {}
    return kind(**{key: given() if callable(given) else given for key, given in right.items()}, **seed)


def inputs(name: str) -> Callable[[], Any]:
    if name == "Embedding":
        return lambda: np.arange(10).reshape(2, 5) % 7
    if name == "Attention":
        return lambda: {"series": array(2, 5, 3)(), "memory": array(2, 5, 4)()}
    return array(2, 3) if name == "Repeat" else array(2, 5, 4 if name == "MergeDirections" else 3)


@functools.cache
def taped(name: str) -> tuple[elman.Layer, Any, Any, Any]:
    layer = build(name)
    if layer.reads != 1:
        layer = elman.Network({"y": (layer, "series", "memory")})
    return layer, *layer.forward(inputs(name)())


def assign(layer: elman.Layer, name: str) -> Callable[..., None]:
    return lambda value: setattr(layer, name, value)


def layers() -> list[Target]:
    found = []
    for name, (kind, right) in LAYERS.items():
        found.append(made(name, kind, **right))
        own, (layer, y, state, tape) = build(name), taped(name)
        lengths = None if name in ("Embedding", "Repeat") else [5, 3]
        found.append(made(f"{name}()", layer.__call__, x=inputs(name), state=value(state), lengths=lengths))
        found.append(made(f"{name}.forward", layer.forward, x=inputs(name), lengths=lengths))
        found.append(made(f"{name}.backward", layer.backward, tape=value(tape), dy=y.copy, dstate=value(state)))
        parameters = own.weights
        found.append(
            made(f"{name}.from_parameters", kind.from_parameters, config=dict(own.config), parameters=parameters)
        )
        for weight, array_ in parameters.items():
            found.append(Target(f"{name}.{weight} =", assign(build(name), weight), {"value": array_.copy}))
        found.append(Target(f"{name}.replace", own.replace, {key: value(given) for key, given in own.config.items()}))
        found.append(Target(f"{name}.astype", own.astype, {"dtype": value("float32")}))
    return found


def network() -> elman.Network:
    return elman.Network([elman.LSTM(3, 4, seed=0), elman.Dense(4, 2, seed=0)])


def tokens() -> elman.Network:
    return elman.Network([elman.Embedding(7, 3, seed=0), elman.GRU(3, 4, seed=0)])


def branching() -> elman.Network:
    join = (elman.Concatenate(), "rnn", "store")
    return elman.Network({"rnn": (elman.GRU(3, 4, seed=0), "series"), "join": join, "out": elman.Dense(6, 2, seed=0)})


def several() -> dict[str, Any]:
    return {"series": array(2, 5, 3)(), "store": array(2, 2)()}


def states(net: elman.Network) -> Any:
    return net(array(2, 5, 3)())[1]


def networks() -> list[Target]:
    net = network()
    y, state, tape = net.forward(array(2, 5, 3)())
    stack = [elman.LSTM(3, 4, seed=0), elman.Dense(4, 2, seed=0)]
    config = {"layers": [{"type": type(layer).__name__, **layer.config} for layer in stack]}
    return [
        made("Network", elman.Network, layers=value(stack)),
        made("Network, named", elman.Network, layers=lambda: {"a": (stack[0], "x"), "b": stack[1]}, outputs=("a", "b")),
        made("Network(), several", branching().__call__, x=several, lengths=lambda: {"series": [5, 3]}),
        made("Network.forward, several", branching().forward, x=several),
        Target("Node", elman.Node, {"layer": lambda: stack[0], "state": value(None)}),
        made("Network()", net.__call__, x=array(2, 5, 3), state=value(state), lengths=[5, 3]),
        made("Network(), ragged", net.__call__, x=lambda: [array(4, 3)(), array(2, 3)()]),
        made("Network(), one", net.__call__, x=array(5, 3)),
        made("Network(), tokens", tokens().__call__, x=lambda: np.array([[1, 2, 6], [0, 3, 3]]), lengths=[3, 1]),
        made("Network.forward", net.forward, x=array(2, 5, 3), state=value(state)),
        made("Network.backward", net.backward, tape=value(tape), dy=y.copy, dstate=value(state)),
        made("Network.save", net.save, path="net.safetensors"),
        Target("Network.replace", net.replace, {"layers": value(stack)}),
        made("Network.astype", net.astype, dtype="float32"),
        made("Network.stream", net.stream, batch=2),
        made("Network.from_parameters", elman.Network.from_parameters, config=config, parameters=net.weights),
        made("set_threads", lambda count: elman.set_threads(count) or elman.set_threads(1), count=1),
        made("get_threads", elman.get_threads),
        made("backend", elman.backend),
    ]


def streams() -> list[Target]:
    found = []
    for name, net in {"": network(), ", bare": elman.Network([elman.GRU(3, 4, seed=0)])}.items():
        width = net.output_size or 0
        one, many = functools.partial(net.stream), functools.partial(net.stream, 2)
        found += [
            method(f"Stream.step{name}", one, "step", x=array(3), out=lambda width=width: np.empty(width, "f4")),
            method(f"Stream.step, many{name}", many, "step", x=array(2, 3)),
            method(f"Stream.run{name}", one, "run", x=array(5, 3)),
            method(f"Stream.run, many{name}", many, "run", x=array(2, 5, 3)),
            method(f"Stream.reset{name}", many, "reset", rows=[0]),
            Target(
                f"Stream.state ={name}",
                lambda value, many=many: setattr(many(), "state", value),
                {"value": lambda many=many: many().state},
            ),
            method(f"Stream.copy{name}", one, "copy"),
        ]
    found.append(method("Stream.step, token", tokens().stream, "step", x=3))
    return found


# Training.

OPTIMIZERS = (elman.SGD, elman.RMSprop, elman.Adam, elman.AdamW)
LOSSES = {
    elman.CrossEntropy: lambda: np.array([0, 1]),
    elman.BinaryCrossEntropy: lambda: np.array([[0.0, 1, 0], [1, 1, 0]]),
    elman.SquaredError: array(2, 3),
    elman.AbsoluteError: array(2, 3),
    elman.Huber: array(2, 3),
}


def training_targets() -> list[Target]:
    found = []
    for kind in OPTIMIZERS:
        name = kind.__name__
        weights, gradients = {"w": np.ones((2, 3))}, {"w": np.full((2, 3), 0.5)}
        found += [
            made(name, kind),
            method(f"{name}.start", kind, "start", parameters=lambda: {"w": np.ones((2, 3))}),
            method(
                f"{name}.update",
                kind,
                "update",
                parameters=lambda: {"w": np.ones((2, 3))},
                gradients=value(gradients),
                state=lambda kind=kind, weights=weights: kind().start(weights),
            ),
            method(f"{name}.rate", kind, "rate", done=0.5),
        ]
    for schedule in (elman.LinearSchedule, elman.CosineSchedule, elman.StepSchedule):
        found.append(made(schedule.__name__, schedule, start=0.1))
        found.append(made(f"{schedule.__name__}()", schedule(0.1).__call__, done=0.5))
    for loss, target in LOSSES.items():
        name, mask = loss.__name__, value([True, False])
        found.append(made(name, loss))
        found.append(made(f"{name}()", loss().__call__, prediction=array(2, 3), target=target, mask=mask))
        found.append(made(f"{name}.derivative", loss().derivative, prediction=array(2, 3), target=target, mask=mask))
    found += [
        made("Quantile", elman.Quantile, levels=(0.1, 0.9)),
        made("Quantile()", elman.Quantile((0.1, 0.9)).__call__, prediction=array(3, 2), target=array(3, 1)),
        made("Quantile.derivative", elman.Quantile(0.5).derivative, prediction=array(3, 1), target=array(3, 1)),
        made("clip_by_norm", elman.clip_by_norm, gradients=lambda: {"w": np.ones(3)}, limit=1.0),
        made("clip_by_value", elman.clip_by_value, gradients=lambda: {"w": np.ones(3)}, limit=1.0),
        made("Checkpoint", elman.Checkpoint, path="run.ck"),
        made("History.read", elman.History.read, path=history_file),
        made(
            "fit",
            functools.partial(elman.fit, progress=False),
            net=network,
            x=array(4, 5, 3),
            y=lambda: np.array([[0, 1, 0, 1, 1]] * 4),
            epochs=1,
            batch_size=2,
            lengths=[5, 5, 2, 3],
            validation=lambda: (array(2, 5, 3)(), np.array([[0, 1, 0, 1, 1]] * 2)),
            mask=lambda: np.ones((4, 5), bool),
            sample_weight=lambda: np.ones(4),
            progress=False,
        ),
        made(
            "fit, ragged",
            functools.partial(elman.fit, progress=False),
            net=lambda: elman.Network([elman.GRU(3, 4, seed=0), elman.LastStep(), elman.Dense(4, 1, seed=0)]),
            x=lambda: [array(3, 3)(), array(2, 3)()],
            y=lambda: np.array([0.5, 1.5]),
            loss="squared_error",
            optimizer=elman.SGD,
            epochs=1,
            patience=1,
            validation=lambda: ([array(3, 3)()], [0.5]),
            checkpoint=lambda: fresh("run.ck"),
            log=lambda: fresh("run.log"),
            progress=False,
        ),
    ]
    return found


def history_file() -> str:
    Path("history.log").write_text('{"epoch": 0, "loss": 1.0}\n')
    return "history.log"


def fresh(name: str) -> str:
    Path(name).unlink(missing_ok=True)
    return name


# Estimators.

SMALL = {"hidden": 3, "epochs": 1, "random_state": 0}
X = [RNG.standard_normal((n, 2)) for n in (4, 3, 5, 4, 3, 6)]


def fitting(kind: Any, X: Any, y: Any) -> Callable[..., Any]:
    """An estimator made with the arguments and fitted: scikit-learn's estimators check their arguments there."""
    return lambda **arguments: kind(**arguments).fit(X, y).predict(X)


@functools.cache
def fitted() -> dict[str, Any]:
    labels = np.array(["a", "b"] * 3)
    return {
        "SequenceClassifier": elman.SequenceClassifier(**SMALL).fit(X, labels),
        "SequenceRegressor": elman.SequenceRegressor(**SMALL).fit(X, np.arange(6.0)),
        "SequenceTagger": elman.SequenceTagger(**SMALL).fit(X, [labels[: len(part)] for part in X]),
        "Forecaster": elman.Forecaster(2, window=4, **SMALL).fit(np.sin(np.arange(40.0))),
        "TextGenerator": elman.TextGenerator(truncate=8, **SMALL).fit("to be or not to be"),
    }


def estimators() -> list[Target]:
    if importlib.util.find_spec("sklearn") is None:
        return []
    labels = np.array(["a", "b"] * 3)
    series = np.sin(np.arange(40.0))
    targets = {
        "SequenceClassifier": labels,
        "SequenceRegressor": np.arange(6.0),
        "SequenceTagger": [labels[: len(part)] for part in X],
    }
    found = []
    for name, y in targets.items():
        kind = getattr(elman, name)
        found.append(Target(name, fitting(kind, X, y), defaults(kind, **SMALL)))
        model = functools.partial(kind, **SMALL)
        found.append(method(f"{name}.fit", model, "fit", X=value(X), y=value(y)))
        ready = value(fitted()[name])
        uses = [use for use in ("predict", "predict_proba") if hasattr(kind, use)]
        found += [method(f"{name}.{use}", ready, use, X=value(X)) for use in uses]
        found.append(method(f"{name}.score", ready, "score", X=value(X), y=value(y)))
        found.append(method(f"{name}.importance", ready, "importance", X=value(X), y=value(y), repeats=1, parts=2))
    forecaster = functools.partial(elman.Forecaster, 2, window=4, **SMALL)
    ready = value(fitted()["Forecaster"])

    def forecast(**arguments: Any) -> Any:
        return elman.Forecaster(**arguments).fit(series).predict()

    found += [
        Target("Forecaster", forecast, defaults(elman.Forecaster, **SMALL, window=4)),
        method("Forecaster.fit", forecaster, "fit", series=value(series)),
        method("Forecaster.predict", ready, "predict", series=value(series)),
        method("Forecaster.score", ready, "score", series=value(series)),
        method(
            "Forecaster.importance", value(beside()), "importance", series=value(series), past=value(series), repeats=1
        ),
        method("Forecaster.backtest", ready, "backtest", series=value(series), start=30),
        method("Forecaster.predict_quantiles", value(quantiles()), "predict_quantiles", series=value(series)),
    ]
    saves = {name: value(model) for name, model in fitted().items()}
    found += [method(f"{name}.save", make, "save", path="model.safetensors") for name, make in saves.items()]
    for name, y in targets.items():
        steps = {"bidirectional": False} | ({} if name == "SequenceTagger" else {"pool": "last"})
        found.append(
            method(f"{name}.stream", value(getattr(elman, name)(**SMALL, **steps).fit(X, y)), "stream", batch=2)
        )
    writer = functools.partial(elman.TextGenerator, truncate=8, **SMALL)
    ready = value(fitted()["TextGenerator"])

    def write(**arguments: Any) -> Any:
        return elman.TextGenerator(**arguments).fit("to be or not to be").generate(3)

    found += [
        Target("TextGenerator", write, defaults(elman.TextGenerator, truncate=8, **SMALL)),
        method("TextGenerator.fit", writer, "fit", X="to be or not to be"),
        Target(
            "TextGenerator.generate",
            fitted()["TextGenerator"].generate,
            defaults(fitted()["TextGenerator"].generate, **LENGTH),
        ),
        method("TextGenerator.nats", ready, "nats", X="to be"),
        method("TextGenerator.score", ready, "score", X="to be"),
    ]
    return found


LENGTH = {"length": 3}


@functools.cache
def quantiles() -> Any:
    return elman.Forecaster(2, window=4, quantiles=(0.1, 0.5, 0.9), **SMALL).fit(np.sin(np.arange(40.0)))


@functools.cache
def beside() -> Any:
    series = np.sin(np.arange(40.0))
    return elman.Forecaster(2, window=4, **SMALL).fit(series, past=series)


# Seeing.


def layer_arrays() -> dict[str, Any]:
    return {"kernel": np.ones((3, 12)), "recurrent_kernel": np.ones((4, 12)), "bias": np.ones((2, 12))}


def insight() -> list[Target]:
    net, layer, dynamics = network(), elman.LSTM(3, 4, seed=0), elman.dynamics
    v = {name: np.ones(given.shape) for name, given in net.parameters.items()}
    pair = lambda *shape: lambda: (array(*shape)(), array(*shape)())  # noqa: E731
    y = lambda: np.array([[0, 1, 0, 1, 1]] * 2)  # noqa: E731
    return [
        made("attribution", elman.attribution, net=network, x=array(2, 5, 3), target=1, lengths=[5, 3], steps=3),
        made("attribution, tokens", elman.attribution, net=tokens, x=lambda: [[1, 2, 6], [0, 3, 3]], target=(0, 1)),
        made("attribution, several", elman.attribution, net=branching, x=several, baseline=lambda: {"store": 1.0}),
        made("trace", elman.trace, net=network, x=array(2, 5, 3), lengths=[5, 3], dy=array(2, 5, 2)),
        made("explain", elman.explain, layer=value(layer), x=array(5, 3), state=pair(4), step=2, backward=True),
        made("explain, network", elman.explain, layer=network, x=array(5, 3), step=1, unit=None, digits=3, node="0"),
        made("gradient_check", elman.gradient_check, what=lambda: elman.GRU(3, 2, seed=0), x=array(2, 5, 3)),
        made(
            "find_convention",
            elman.find_convention,
            cell="gru",
            arrays=layer_arrays,
            x=array(2, 5, 3),
            y=array(2, 5, 4),
        ),
        made("hessian_product", elman.hessian_product, net=network, loss="cross_entropy", x=array(2, 5, 3), y=y, v=v),
        made("dynamics.jacobian", dynamics.jacobian, layer=value(layer), x=array(3), state=pair(4)),
        made(
            "dynamics.jacobian, network", dynamics.jacobian, layer=network, x=array(2, 3), state=lambda: [pair(2, 4)()]
        ),
        made("dynamics.lyapunov", dynamics.lyapunov, layer=value(layer), x=array(6, 3), count=2, state=pair(4), skip=2),
        made("dynamics.fixed_points", dynamics.fixed_points, layer=value(layer), x=array(3), states=pair(5, 4)),
    ]


# Other systems.


def saved(name: str) -> str:
    """A file of a small network, by the ending of its name."""
    if not Path(name).exists():
        net = network()
        writers: dict[str, Callable[[], Any]] = {
            ".safetensors": lambda: net.save(name),
            ".onnx": lambda: elman.to_onnx(net, name),
            ".keras": lambda: elman.to_keras(net, name),
            ".json": lambda: elman.to_rtneural(elman.Network([elman.GRU(3, 4, seed=0)]), name),
        }
        writers[Path(name).suffix]()
    return name


def interop() -> list[Target]:
    kernel = {"kernel": RNG.standard_normal((7, 16)), "bias": np.zeros(16)}
    found = [
        made("from_arrays", elman.from_arrays, cell="lstm", arrays=value(kernel), convention="tf1"),
        made("to_arrays", elman.to_arrays, layer=lambda: elman.LSTM(3, 4, seed=0), convention="pytorch"),
        made("Convention", elman.Convention),
        method("Convention.for_layer", elman.Convention, "for_layer", layer=1),
        method("Convention.for_cell", elman.Convention, "for_cell", cell=own_cell),
        made("to_c", elman.to_c, net=network, path="net.c", name="small"),
        made("load", elman.load, path=lambda: saved("net.safetensors")),
        made("from_rtneural", elman.from_rtneural, path=lambda: saved("net.json")),
        made("to_rtneural", elman.to_rtneural, net=lambda: elman.Network([elman.GRU(3, 4, seed=0)]), path="other.json"),
        made("inspect", elman.inspect, path=lambda: saved("net.safetensors")),
        made("convert", elman.convert, source=lambda: saved("net.safetensors"), target="net2.c", format="c"),
        made("from_torch", elman.from_torch, source=torch_state),
        made("to_torch", elman.to_torch, net=network),
    ]
    if importlib.util.find_spec("onnx"):
        found += [
            made("to_onnx", elman.to_onnx, net=network, path="out.onnx"),
            made("from_onnx", elman.from_onnx, source=lambda: saved("net.onnx")),
        ]
    if importlib.util.find_spec("h5py"):
        found += [
            made("to_keras", elman.to_keras, net=network, path="out.keras"),
            made("from_keras", elman.from_keras, source=lambda: saved("net.keras")),
        ]
    return found


def torch_state() -> Any:
    return {
        "lstm.weight_ih_l0": np.ones((16, 3), "f4"),
        "lstm.weight_hh_l0": np.ones((16, 4), "f4"),
        "lstm.bias_ih_l0": np.ones(16, "f4"),
        "lstm.bias_hh_l0": np.ones(16, "f4"),
    }


#: Public callables that are not called here, and why.
LEFT_OUT = {
    "Layer": "the base of layers, which is called through each of them",
    **dict.fromkeys(("Joining", "Add", "Concatenate", "Multiply"), "called in a network that branches"),
    "Loss": "the base of losses, which is called through each of them",
    "Optimizer": "the base of optimizers",
    "Stream": "made by Network.stream",
    "Tape": "made by forward; a wrong one is given to every backward",
    "History": "made by fit",
    **dict.fromkeys(("DtypeError", "FormatError", "MissingExtraError", "ShapeError"), "an error"),
}


#: Methods that no user calls: what losses, optimizers and layers of one's own give to the library.
METHODS_LEFT_OUT = (
    "to_network",  # which takes no argument
    *("rows", "rows_derivative", "both", "bounds", "tails", "check_width", "move", "to_config"),
    *("setup", "shapes", "draw", "states", "first_state", "run", "run_back", "step", "ready"),
    *("buffer_shapes", "seen", "in_stream"),
    *("pack", "pack_state", "unpack_state", "features", "join", "join_back"),
)


@functools.cache
def targets() -> list[Target]:
    """Every call, in a fixed order."""
    groups = (steps, cells, layers, networks, streams, training_targets, estimators, insight, interop)
    return [target for group in groups for target in group()]


assert training  # imported, so that the first call does not pay for it
