"""What a cell is: data (names of weights, states and gates) and two functions, a step and its derivative."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from elman import checks
from elman.cells.activations import Activation, as_activation
from elman.checks import Array, ShapeError
from elman.options import frozen

Arrays: TypeAlias = tuple[Array, ...]
Kept: TypeAlias = dict[str, Array]
# Further arguments: the mask, where the cell takes one.
# One value more is for whoever looks: by name, what a step computes besides, and gradients of what it names.
Step: TypeAlias = Callable[..., tuple[Arrays, Kept] | tuple[Arrays, Kept, Kept]]
StepDerivative: TypeAlias = Callable[..., tuple[Array, Arrays, Arrays] | tuple[Array, Arrays, Arrays, Kept]]
REVERSE = "_reverse"  #: ends the names of what belongs to the second direction of a layer


@dataclass(frozen=True)
class Cell:
    """A recurrent cell. One of your own runs through time, trains and streams as the built-in ones do.

    Parameters
    ----------
    name
        What files call it.
    weights
        Name -> axes, in the order in which `step` takes them. An axis is "input", "hidden" or "gates", where
        "gates" is as long as all gates together (number of gates times hidden), or "projection", see there.
    states
        The names of the states, each (batch, hidden). The first is the output of the cell.
    step
        ``step(x, state, weights) -> next_state, kept`` for x (batch, input). `state`, `weights` and `next_state`
        are tuples of arrays in the order named above; `kept` is a dict of the arrays (batch, ...) that the derivative
        needs. Both functions make new arrays: what they are given, and what they returned, cannot be written into.
    step_derivative
        ``step_derivative(x, state, weights, kept, dnext) -> dx, dstate, dweights``: from the gradient `dnext` of
        every next state, those of the input, of every state and of every weight (summed over the batch), each in the
        shape of what it is the gradient of.

        Both functions may return one value more, a dict of arrays (batch, ...) by name, which `elman.trace` shows and
        nothing else reads: `step` what has a name and need not be kept, such as "a_f", what stands inside the gate f;
        `step_derivative` gradients under the names of what they are the gradients of, those in `kept`, in the dict of
        `step` or in `states` (a state that acts on another one within the step has more of a gradient than `dnext`).
    gates
        The blocks along each "gates" axis, in order.
    inner_biases
        Bias name -> gate, for a bias (hidden,) added to the recurrent product of that gate alone, as the `bn` of
        the GRU.
    peepholes
        Weight name -> gate, for a weight (hidden,) that multiplies the cell state inside that gate alone, as `pi`,
        `pf`, `po` of the LSTM.
    projection
        The width of the first state, (batch, projection), where that is a product of the hidden units with a weight
        ("hidden", "projection"); None where it is as wide as the others.
    starts
        Weight name -> the number all of it starts at, for a weight that is not drawn, as a gain.
    takes_mask
        Whether both functions take one argument more, ``mask`` of the shape of the first state or None, that
        multiplies that state wherever it enters a product with weights, and nowhere else. Recurrent dropout needs it.
    activations
        Gate -> activation, by name or as an `elman.Activation`, for whoever asks what stands around a gate; "c" is
        what the cell state of an LSTM goes through on its way to h. What is computed says `step` alone.
    options
        What was chosen when the cell was made (an activation, a reset form), as JSON; files keep it.
    kernel
        The compiled kernel that computes the same, its name and arguments; None where there is none, as for every
        cell of your own.

    Example
    -------
    A leaky unit, ``h' = 0.9 h + 0.1 tanh(x Wx + h Wh)``:

    >>> import numpy as np, elman
    >>> def step(x, state, weights):
    ...     (h,), (Wx, Wh) = state, weights
    ...     n = np.tanh(x @ Wx + h @ Wh)
    ...     return (0.9 * h + 0.1 * n,), {"n": n}
    >>> def step_derivative(x, state, weights, kept, dnext):
    ...     (h,), (Wx, Wh), (dh,) = state, weights, dnext
    ...     da = 0.1 * dh * (1 - kept["n"] ** 2)
    ...     return da @ Wx.T, (0.9 * dh + da @ Wh.T,), (x.T @ da, h.T @ da)
    >>> names = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}
    >>> leaky = elman.Cell("leaky", names, ("h",), step, step_derivative)
    >>> y, h = elman.Recurrent(leaky, 3, 5, seed=0)(np.ones((2, 7, 3)))
    >>> y.shape, h.shape
    ((2, 7, 5), (2, 5))
    """

    name: str
    weights: Mapping[str, tuple[str, ...]]
    states: tuple[str, ...]
    step: Step
    step_derivative: StepDerivative
    gates: tuple[str, ...] = ()
    inner_biases: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    kernel: tuple[Any, ...] | None = None
    starts: Mapping[str, float] = field(default_factory=dict)
    takes_mask: bool = False
    peepholes: Mapping[str, str] = field(default_factory=dict)
    projection: int | None = None
    activations: Mapping[str, Activation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        of = f"of the cell {checks.text('the name of a cell', self.name)!r}"
        if not (callable(self.step) and callable(self.step_derivative)):
            both = f"{checks.show(self.step)}, {checks.show(self.step_derivative)}"
            raise TypeError(f"step and step_derivative {of} must be functions. Got {both}.")
        for name in ("states", "gates"):
            given = getattr(self, name)
            named = isinstance(given, (tuple, list)) and all(isinstance(one, str) and one for one in given)
            if not named or len(set(given)) < len(given):
                must = f"{name} {of} must be a tuple of names that differ, such as ('h',)"
                raise checks.KindError(f"{must}. Got {checks.show(given)}.")
            self._set(name, tuple(given))
        if not self.states:
            raise ValueError(f"the cell {self.name!r} must name at least one state. Got none.")
        for name in ("weights", "inner_biases", "peepholes", "starts", "options", "activations"):
            self._set(name, dict(checks.mapping(f"{name} {of}", getattr(self, name), "of names")))
        checks.flag(f"takes_mask {of}", self.takes_mask)
        self._check_weights(of)
        self._check_roles(of)
        self._check_functions(of)
        try:
            json.dumps(self.options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"options {of} must be JSON. Got {error}.") from None

    def _set(self, name: str, value: Any) -> None:
        """A field as it is kept: what the caller changes later is not the cell's."""
        object.__setattr__(self, name, frozen(value))

    def _check_weights(self, of: str) -> None:
        known: tuple[str, ...] = ("input", "hidden", "gates")
        if self.projection is not None:
            checks.size(f"projection {of}", self.projection)
            known = (*known, "projection")
        for weight, axes in self.weights.items():
            if not weight or "." in weight or weight.endswith(REVERSE) or weight in self.states:
                must = f"a name without a dot, that does not end in {REVERSE!r} and is no state's"
                raise ValueError(f"a weight {of} must have {must}. Got {weight!r}.")
            if not isinstance(axes, (tuple, list)) or not axes:
                must = "at least one axis, in a tuple such as ('hidden',)"
                raise TypeError(f"the weight {weight} {of} must have {must}. Got {checks.show(axes)}.")
            for axis in axes:
                checks.choice(f"an axis of {weight} {of}", axis, known)
            if "gates" in axes and not self.gates:
                must = f"the cell {self.name!r} must name its gates, as its weight {weight} has an axis 'gates'"
                raise ValueError(f"{must}. Got none.")
        self._set("weights", {weight: tuple(axes) for weight, axes in self.weights.items()})
        if not self.weights:
            raise ValueError(f"the cell {self.name!r} must have at least one weight. Got none.")
        if self.projection is not None and ("hidden", "projection") not in self.weights.values():
            wanted = "('hidden', 'projection')"
            raise ValueError(f"the cell {self.name!r} must have a weight with the axes {wanted}. Got none.")

    def _check_roles(self, of: str) -> None:
        """What `starts`, `inner_biases` and `peepholes` name must be there."""
        for weight, value in self.starts.items():
            checks.choice(f"a weight in starts {of}", weight, self.weights)
            checks.number(f"{weight} in starts {of}", value)
        for role in ("inner_biases", "peepholes"):
            for weight, gate in getattr(self, role).items():
                checks.choice(f"a weight in {role} {of}", weight, self.weights)
                if not self.gates:
                    raise ValueError(f"the cell {self.name!r} must name its gates, as {role} {of} names one. Got none.")
                checks.choice(f"the gate of {weight} in {role} {of}", gate, self.gates)
                if self.weights[weight] != ("hidden",):
                    must = f"{weight} in {role} {of} must have the axes ('hidden',)"
                    raise ValueError(f"{must}. Got {self.weights[weight]}.")

    def _check_functions(self, of: str) -> None:
        """A kernel, and the activations of a step of the library, must be those that it was made with."""
        for function in (self.step, self.step_derivative) if self.kernel is not None else ():
            own = (self.kernel, self.states, tuple(self.weights))
            if not isinstance(function, Given) or (function.kernel, function.states, function.weights) != own:
                must = "None: a kernel computes the library's step that was made with it, alone"
                got = f"{checks.show(self.kernel)} for {checks.show(function)}"
                raise ValueError(f"kernel {of} must be {must}. Got {got}.")
        for gate in self.activations:
            checks.choice(f"a gate in activations {of}", gate, (*self.gates, *self.states))
        self._set("activations", {gate: as_activation(act) for gate, act in self.activations.items()})
        if isinstance(self.step, Given) and self.step.activations != self.activations:
            must = f"activations {of} must be those of its step, {checks.show(self.step.activations)}"
            raise ValueError(f"{must}. Got {checks.show(self.activations)}.")

    def __repr__(self) -> str:
        return f"Cell({self.name!r})"

    def __deepcopy__(self, memo: Any) -> Cell:
        return self  # a value: its functions are shared, as Python shares functions

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Weight name -> shape."""
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if type(size) is not int or size < 0:  # those of steps may be 0
                checks.size(name, size)
        sizes = {"input": input_size, "hidden": hidden_size, "gates": len(self.gates) * hidden_size}
        sizes["projection"] = self.projection or 0
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in self.weights.items()}

    def widths(self, hidden_size: int) -> tuple[int, ...]:
        """The width of each state."""
        hidden_size = hidden_size if type(hidden_size) is int else checks.size("hidden_size", hidden_size)
        return (self.projection or hidden_size, *(hidden_size for _ in self.states[1:]))


@dataclass(frozen=True)
class Given:
    """A function of a built-in cell, with some keyword arguments given; two of the same are equal.

    States and weights that are no tuples are refused in words: users call these functions too. Called, it returns what
    each cell must; `whole` gives what is there for whoever looks besides.
    """

    function: Callable[..., Any]
    keywords: Mapping[str, Any]
    states: tuple[str, ...]
    weights: tuple[str, ...]
    kernel: tuple[Any, ...] | None  # the compiled kernel that computes the same
    activations: Mapping[str, Activation]

    def __call__(self, x: Any, state: Any, weights: Any, *rest: Any) -> Any:
        for what, given, names in (("state", state, self.states), ("weights", weights, self.weights)):
            if not isinstance(given, (tuple, list)) or len(given) != len(names):
                must = f"{what} must be a tuple of arrays, {checks.listed(names)}"
                raise ShapeError(f"{must}. Got {checks.describe(given)}.")
        return self.function(x, state, weights, *rest, **self.keywords)[:-1]

    def whole(self, *given: Any) -> Any:
        """All that the function returns, with the values or gradients by name; arguments are taken as they are."""
        return self.function(*given, **self.keywords)


def built_in_cell(
    step: Step,
    step_derivative: StepDerivative,
    keywords: Mapping[str, Any] | None = None,
    *,
    weights: Mapping[str, tuple[str, ...]],
    states: tuple[str, ...],
    activations: Mapping[str, Activation],
    kernel: tuple[Any, ...] | None = None,
    **fields: Any,
) -> Cell:
    """A cell of this library: its functions are given the keywords, and refuse states that are no tuple.

    `kernel` is the name of a kernel, and for one of any activations the bounds of gates and of the cell state.
    """
    if kernel is not None and len(kernel) > 1:
        kernel = (kernel[0], tuple((act.name, *act.slopes) for act in activations.values()), *kernel[1:])
    more = (frozen(keywords or {}), states, tuple(weights), kernel, frozen(activations))
    fields |= {
        name: Given(function, *more) for name, function in (("step", step), ("step_derivative", step_derivative))
    }
    return Cell(weights=weights, states=states, kernel=kernel, activations=activations, takes_mask=True, **fields)


def masked(h: Array, mask: Array | None) -> Array:
    """m h, the hidden state as it enters the products under recurrent dropout; h itself without.

    The derivative by h is the same function of the gradient by m h.
    """
    return h if mask is None else h * mask
