"""What a cell is: data (names of weights, states and gates) and two functions, a step and its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from elman import checks
from elman.checks import Array

Arrays: TypeAlias = tuple[Array, ...]
Kept: TypeAlias = dict[str, Array]
# Further arguments: the mask, where the cell takes one.
Step: TypeAlias = Callable[..., tuple[Arrays, Kept]]
StepDerivative: TypeAlias = Callable[..., tuple[Array, Arrays, Arrays]]


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
        are tuples of arrays in the order named above; `kept` names the arrays that the derivative needs.
    step_derivative
        ``step_derivative(x, state, weights, kept, dnext) -> dx, dstate, dweights``: from the gradient `dnext` of
        every next state, those of the input, of every state and of every weight (summed over the batch).
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
    options
        What was chosen when the cell was made (an activation, a reset form), as JSON; files keep it.
    kernel
        The compiled kernel that computes the same, its name and arguments; None where there is none.

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

    def __post_init__(self) -> None:
        known: tuple[str, ...] = ("input", "hidden", "gates")
        if self.projection is not None:
            checks.size("projection", self.projection)
            known = (*known, "projection")
            if ("hidden", "projection") not in map(tuple, self.weights.values()):
                axes_known = "('hidden', 'projection')"
                raise ValueError(f"the cell {self.name!r} must have a weight with the axes {axes_known}. Got none.")
        for weight, axes in self.weights.items():
            for axis in axes:
                checks.choice(f"an axis of {weight}", axis, known)
        if not self.states:
            raise ValueError(f"the cell {self.name!r} must name at least one state. Got none.")
        if not (callable(self.step) and callable(self.step_derivative)):
            both = f"{self.step!r}, {self.step_derivative!r}"
            raise TypeError(f"step and step_derivative of the cell {self.name!r} must be functions. Got {both}.")

    def __repr__(self) -> str:
        return f"Cell({self.name!r})"

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Weight name -> shape."""
        sizes = {"input": input_size, "hidden": hidden_size, "gates": len(self.gates) * hidden_size}
        sizes["projection"] = self.projection or 0
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in self.weights.items()}

    def widths(self, hidden_size: int) -> tuple[int, ...]:
        """The width of each state."""
        return (self.projection or hidden_size, *(hidden_size for _ in self.states[1:]))


@dataclass(frozen=True)
class Given:
    """A step or its derivative with some keyword arguments given; two of the same are equal."""

    function: Callable[..., Any]
    keywords: Mapping[str, Any]

    def __call__(self, *args: Any) -> Any:
        return self.function(*args, **self.keywords)


def masked(h: Array, mask: Array | None) -> Array:
    """m h, the hidden state as it enters the products under recurrent dropout; h itself without.

    The derivative by h is the same function of the gradient by m h.
    """
    return h if mask is None else h * mask
