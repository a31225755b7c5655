"""Optimizers: how gradients move parameters.

Notation: theta a parameter, g its gradient, eta the learning rate, t the number of the update, from 1; squares,
roots and quotients are taken element by element. An optimizer holds its configuration alone. What it remembers
between updates is the state, a value: `start` makes it and `update` changes it in place. A state is a flat
dictionary of arrays, ``"step"`` and one entry such as ``"m.0.Wx"`` for each moment of each parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from elman import checks
from elman.checks import Array
from elman.training.schedules import Schedule

PIECE = 1 << 16  #: numbers of a parameter that are moved at a time
State: TypeAlias = dict[str, Array]


class Optimizer:
    """The base of optimizers: a subclass names its moments, and moves one parameter by `move`. See docs/own.md.

    It needs a `learning_rate`, a number or a schedule; each update is given its own. A state of another kind than
    arrays in the shapes of their parameters is made by `start` and changed by `update` of the subclass.

    >>> import numpy as np, elman
    >>> sorted(elman.Adam(0.01).start({"W": np.ones(3)}))  # the state of a subclass, before the first update
    ['m.W', 'step', 'v.W']
    """

    learning_rate: float | Schedule
    moments: ClassVar[tuple[str, ...]] = ()  #: the arrays of the state, each in the shape of its parameter

    def start(self, parameters: Mapping[str, Array]) -> State:
        """The state before the first update of `parameters` (name -> array): step 0, moments 0."""
        check_arrays("parameters", parameters, writable=True)
        state = {"step": np.array(0, np.int64)}
        for name, parameter in parameters.items():
            state |= {f"{moment}.{name}": np.zeros_like(parameter) for moment in self.moments}
        return state

    def update(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        state: State,
        learning_rate: float | None = None,
    ) -> None:
        """One update: changes the arrays of `parameters` and `state` in place, and leaves `gradients` as they are.

        `learning_rate` is that of this update; it may be left out where the optimizer's own is a number. Raises
        `ShapeError`, before anything is changed, where a gradient is missing or does not fit its parameter.
        """
        rate = self.learning_rate if learning_rate is None else learning_rate
        if learning_rate is None and callable(rate):
            raise ValueError("learning_rate must be given where the optimizer has a schedule. Got None.")
        checks.number("learning_rate", rate, 0)
        self._check(parameters, gradients, state)
        state["step"] += 1
        move: Any = self.move
        for name, parameter in parameters.items():
            own = [parameter, gradients[name], *(state[f"{moment}.{name}"] for moment in self.moments)]
            arrays = [np.asarray(array) for array in own]  # a matrix of NumPy multiplies otherwise
            for theta, g, *moments in _pieces(arrays) if type(self) in BUILT_IN else [arrays]:
                moved = move(theta, g, tuple(moments), int(state["step"]), rate)
                if moved is not None:
                    must = f"move of {type(self).__name__} must change its arrays in place and return None"
                    raise TypeError(f"{must}. Got {checks.describe(moved)}.")

    def _check(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array], state: State) -> None:
        """Refuses gradients and a state that do not fit."""
        check_arrays("parameters", parameters, writable=True)
        check_arrays("gradients", gradients)
        for name, parameter in parameters.items():
            if name not in gradients:
                raise checks.ShapeError(f"gradients must hold one for {name}. Got {', '.join(gradients) or 'none'}.")
            if gradients[name].shape != parameter.shape:
                checks.shape(f"the gradient of {name}", gradients[name], parameter.shape)
        moments = [(f"{moment}.{name}", array.shape) for name, array in parameters.items() for moment in self.moments]
        for name, shape in [("step", ()), *moments]:
            array = state.get(name) if isinstance(state, dict) else None
            kinds = "if" if name == "step" else "f"  # moments are moved in place
            if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds or np.ma.isMaskedArray(array):
                raise TypeError(f"state must be what start returned, with {name}. Got {checks.show(state)}.")
            if array.shape != shape:
                checks.shape(f"{name} of state", array, shape)

    def rate(self, done: float) -> float:
        """The learning rate when the fraction `done` of a run is over."""
        if not callable(self.learning_rate):
            return self.learning_rate
        done = checks.number("done", done, 0)
        rate = self.learning_rate(done)
        try:
            return checks.number("the learning rate of the schedule", rate, 0)
        except ValueError as error:
            name = getattr(self.learning_rate, "__qualname__", type(self.learning_rate).__qualname__)
            raise ValueError(f"{error} It came from {name}, with {done:.6g} of the run done.") from None

    def move(self, theta: Array, g: Array, moments: tuple[Array, ...], t: int, eta: float) -> None:
        """Moves a parameter `theta` and its `moments` in place, by its gradient g, in update t with the rate eta."""
        raise NotImplementedError


def as_optimizer(value: Any) -> Optimizer:
    """An optimizer, `Adam` for None; refuses one of a user's own that could not move anything as it is written."""
    if value is None:
        return Adam()
    if not isinstance(value, Optimizer):
        raise TypeError(f"optimizer must be an optimizer such as Adam(1e-3). Got {checks.show(value)}.")
    name, methods = type(value).__name__, [getattr(part, "__func__", None) for part in (value.move, value.update)]
    old = hasattr(value, "_move") and methods[0] in [kind.move for kind in BUILT_IN]
    if old or methods == [Optimizer.move, Optimizer.update]:
        raise TypeError(f"{name} must have a method move (which was _move), see Optimizer. Got none.")
    moments = value.moments
    if not isinstance(moments, tuple) or not all(isinstance(part, str) and part.isidentifier() for part in moments):
        raise TypeError(f"moments of {name} must be a tuple of names, such as ('m', 'v'). Got {checks.show(moments)}.")
    rate = getattr(value, "learning_rate", None)
    if not callable(rate):
        checks.number(f"learning_rate of {name}", rate, 0)
    return value


def started(optimizer: Optimizer, parameters: Mapping[str, Array]) -> State:
    """The state that an optimizer begins with, held to what a checkpoint can keep."""
    state, kind = optimizer.start(parameters), type(optimizer).__name__
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise TypeError(f"start of {kind} must return a dict of names to arrays. Got {checks.describe(state)}.")
    for name, array in state.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            must = f"start of {kind} must return arrays of bool, integers or floats up to 64 bits"
            raise TypeError(f"{must}. Got {checks.describe(array)} for {checks.show(name)}.")
    return dict(state)


def move_all(
    optimizer: Optimizer, parameters: Mapping[str, Array], gradients: Mapping[str, Array], state: State, rate: float
) -> None:
    """One update, none without gradients; where a user's own makes new arrays, the old ones take them over."""
    if not gradients:
        return
    if type(optimizer) in BUILT_IN:  # which moves those that it is given
        optimizer.update(parameters, gradients, state, rate)
        return
    pairs = [("parameters", parameters, dict(parameters)), ("state", state, dict(state))]
    optimizer.update(pairs[0][2], gradients, pairs[1][2], rate)
    kind = type(optimizer).__name__
    for name, old, new in pairs:
        if old.keys() != new.keys():
            must = f"update of {kind} must keep the names in {name}, as start gave them"
            others = checks.shorten(", ".join(sorted(map(str, old.keys() ^ new.keys()))))
            raise ValueError(f"{must}. Got others: {others}.")
        for key, array in old.items():
            if new[key] is not array:
                found = checks.real_array(f"{key} after update of {kind}", new[key])
                checks.shape(f"{key} after update of {kind}", found, array.shape)
                array[...] = found


def _pieces(arrays: list[Array]) -> Iterator[list[Array]]:
    """Arrays of one shape as runs of rows that stay in the processor's cache from one pass over them to the next."""
    first = arrays[0]
    if first.size <= PIECE:
        yield arrays
        return
    rows = max(1, PIECE * len(first) // first.size)
    for start in range(0, len(first), rows):
        yield [array[start : start + rows] for array in arrays]


def check_arrays(name: str, arrays: Any, writable: bool = False) -> None:
    """Refuses what is no mapping of names to arrays of floating point, to be changed in place where `writable`."""
    for key, array in checks.mapping(name, arrays, "of names to arrays").items():
        if not isinstance(array, np.ndarray) or checks.number_array(f"{name}[{key!r}]", array).dtype.kind != "f":
            raise checks.DtypeError(f"{name}[{key!r}] must be an array of floating point. Got {checks.show(array)}.")
        if writable and not array.flags.writeable:
            raise ValueError(f"{name}[{key!r}] must be writable. Got a read-only array of shape {array.shape}.")


class _BuiltIn(Optimizer):
    """An optimizer of the library: its options are checked by their names."""

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if not callable(rate) or isinstance(rate, type):  # a class of schedules is none
            checks.number("learning_rate", rate, 0)
        for name in ("momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay"):
            value = checks.number(name, getattr(self, name, 0.5), 0, open_low=name == "epsilon")
            if value >= 1 and name not in ("epsilon", "weight_decay"):
                raise ValueError(f"{name} must be under 1. Got {checks.show(getattr(self, name))}.")


@dataclass(frozen=True)
class SGD(_BuiltIn):
    """Stochastic gradient descent, with momentum mu or without.

    ::

        v <- mu v + g
        theta <- theta - eta v               nesterov: theta - eta (g + mu v)

    Without momentum v is g, and nothing is remembered. Equations of Sutskever, Martens, Dahl, Hinton 2013, section
    2, with eta taken out of v as in PyTorch, so that a new rate acts at once; Keras has v <- mu v - eta g. The two
    agree where the rate is constant.

    >>> parameters = {"w": np.array([1.0, -2.0])}
    >>> optimizer = SGD(0.1, momentum=0.9)
    >>> state = optimizer.start(parameters)
    >>> for _ in range(200):
    ...     optimizer.update(parameters, {"w": 2 * parameters["w"]}, state)  # the gradient of w^2
    >>> bool(np.abs(parameters["w"]).max() < 1e-3), int(state["step"])
    (True, 200)
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if checks.flag("nesterov", self.nesterov) and self.momentum == 0:
            raise ValueError(f"momentum must be over 0 where nesterov is true. Got {checks.show(self.momentum)}.")

    @property
    def moments(self) -> tuple[str, ...]:  # type: ignore[override]  # read only, as that of a class
        return ("v",) if self.momentum else ()

    def move(self, theta: Array, g: Array, moments: tuple[Array, ...], t: int, eta: float) -> None:
        if not moments:
            theta -= eta * g
            return
        (v,) = moments
        v *= self.momentum
        v += g
        theta -= eta * (g + self.momentum * v if self.nesterov else v)


@dataclass(frozen=True)
class RMSprop(_BuiltIn):
    """Gradients divided by the root of their running mean square.

    ::

        v <- decay v + (1 - decay) g^2
        theta <- theta - eta g / (sqrt(v) + epsilon)

    Source: Tieleman and Hinton 2012, lecture 6e, with decay 0.9; Graves 2013, equations 38-45, uses a centered
    form. PyTorch has epsilon in the same place, and decay (alpha) 0.99, eta 0.01 as defaults; Keras has
    sqrt(v + epsilon), and epsilon 1e-7.

    >>> parameters = {"w": np.array([1.0, -200.0])}
    >>> optimizer = RMSprop(0.1)
    >>> optimizer.update(parameters, {"w": 2 * parameters["w"]}, optimizer.start(parameters))
    >>> parameters["w"].round(4).tolist()  # both move alike, whatever the size of their gradients
    [0.6838, -199.6838]
    """

    learning_rate: float | Schedule = 1e-3
    decay: float = 0.9
    epsilon: float = 1e-8
    moments: ClassVar[tuple[str, ...]] = ("v",)

    def move(self, theta: Array, g: Array, moments: tuple[Array, ...], t: int, eta: float) -> None:
        (v,) = moments
        v *= self.decay
        v += (1 - self.decay) * g * g
        theta -= eta * g / (np.sqrt(v) + self.epsilon)


@dataclass(frozen=True)
class Adam(_BuiltIn):
    """Running means of gradients and of their squares, both corrected for their start at 0.

    ::

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        theta <- theta - eta (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    Source: Kingma and Ba 2015, algorithm 1. PyTorch computes the same. Keras takes the shorter form at the end of
    the paper's section 2, which adds epsilon to the root before v is corrected, and has epsilon 1e-7.

    >>> parameters = {"w": np.array([1.0, -200.0])}
    >>> optimizer = Adam(0.1)
    >>> optimizer.update(parameters, {"w": 2 * parameters["w"]}, optimizer.start(parameters))
    >>> parameters["w"].round(4).tolist()  # the first update has the size of the learning rate
    [0.9, -199.9]
    """

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    moments: ClassVar[tuple[str, ...]] = ("m", "v")

    def move(self, theta: Array, g: Array, moments: tuple[Array, ...], t: int, eta: float) -> None:
        m, v = moments
        part = np.empty_like(m)  # one array for all terms: fresh memory for each costs more than the arithmetic
        m *= self.beta1
        m += np.multiply(g, 1 - self.beta1, out=part)
        v *= self.beta2
        np.multiply(g, 1 - self.beta2, out=part)
        v += np.multiply(part, g, out=part)
        root = np.sqrt(np.divide(v, 1 - self.beta2**t, out=part), out=part)
        root += self.epsilon
        step = m * (eta / (1 - self.beta1**t))
        step /= root
        theta -= step


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam, with weight decay apart from the gradients.

    ::

        theta <- theta - eta weight_decay theta        where theta is a matrix
        theta <- as `Adam`

    Source: Loshchilov and Hutter 2019, algorithm 2, with the decay multiplied by the learning rate, as PyTorch and
    Keras do. Unlike both, only arrays of rank 2 and higher decay: biases and the gain of a `LayerNorm` are left
    alone. Keras starts with weight_decay 0.004.

    >>> parameters = {"W": np.ones((1, 1)), "b": np.ones(1)}
    >>> optimizer = AdamW(0.1, weight_decay=0.5)
    >>> zeros = {name: np.zeros_like(array) for name, array in parameters.items()}
    >>> optimizer.update(parameters, zeros, optimizer.start(parameters))
    >>> parameters["W"].item(), parameters["b"].item()
    (0.95, 1.0)
    """

    weight_decay: float = 0.01

    def move(self, theta: Array, g: Array, moments: tuple[Array, ...], t: int, eta: float) -> None:
        if theta.ndim >= 2:
            theta *= 1 - eta * self.weight_decay
        super().move(theta, g, moments, t, eta)


BUILT_IN = (SGD, RMSprop, Adam, AdamW)  #: their updates are short, and cannot fail half way


# Gradients kept within bounds, against explosion over many steps.


def global_norm(gradients: Mapping[str, Array]) -> float:
    """The Euclidean norm of all gradients (name -> array) together, computed in float64.

    >>> global_norm({"W": np.array([[3.0]]), "b": np.array([4.0])})
    5.0
    """
    arrays = list(gradients.values())
    with np.errstate(over="ignore"):
        wide = (g.astype(np.float64) for g in arrays)  # whole, which is faster than piece by piece within np.square
        norm = math.sqrt(sum(float(np.multiply(g, g, out=g).sum()) for g in wide))
    if norm != math.inf:
        return norm
    largest = max(float(np.abs(g).max(initial=0)) for g in arrays)
    if not math.isfinite(largest):
        return largest
    return largest * math.sqrt(sum(float(np.square(g / largest).sum()) for g in arrays))  # the squares did not fit


def clip_by_norm(gradients: Mapping[str, Array], limit: float) -> tuple[dict[str, Array], float]:
    """Scales all gradients together where their norm is over `limit`: g <- g limit / norm.

    Returns new arrays by name, and the norm before clipping. The direction stays as it is. Gradients whose norm is
    not finite come back as they are, for the caller to see. Raises `ValueError` where `limit` is not over 0.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.

    >>> clipped, norm = clip_by_norm({"W": np.array([3.0, 4.0])}, 1.0)
    >>> clipped["W"].round(4).tolist(), norm
    ([0.6, 0.8], 5.0)
    """
    limit = checks.number("limit", limit, 0, open_low=True)
    check_arrays("gradients", gradients)
    norm = global_norm(gradients)
    scale = limit / norm if limit < norm < math.inf else 1.0
    return {name: g * scale for name, g in gradients.items()}, norm


def clip_by_value(gradients: Mapping[str, Array], limit: float) -> dict[str, Array]:
    """Each number of each gradient moved into -limit to limit; new arrays by name.

    Unlike `clip_by_norm` it turns the direction. Raises `ValueError` where `limit` is not over 0. Source: Graves
    2013, "Generating Sequences With Recurrent Neural Networks", section 2.1.

    >>> clip_by_value({"W": np.array([3.0, -0.5])}, 1.0)["W"].tolist()
    [1.0, -0.5]
    """
    limit = checks.number("limit", limit, 0, open_low=True)
    check_arrays("gradients", gradients)
    return {name: np.clip(g, -limit, limit) for name, g in gradients.items()}
