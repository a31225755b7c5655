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
        "gates" is as long as all gates together (number of gates times hidden).
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
    starts
        Weight name -> the number all of it starts at, for a weight that is not drawn, as a gain.
    takes_mask
        Whether both functions take one argument more, ``mask`` (batch, hidden) or None, that multiplies the hidden
        state wherever it enters a product with weights, and nowhere else. Recurrent dropout needs it.
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

    def __post_init__(self) -> None:
        for weight, axes in self.weights.items():
            for axis in axes:
                checks.choice(f"an axis of {weight}", axis, ("input", "hidden", "gates"))
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
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in self.weights.items()}


def masked(h: Array, mask: Array | None) -> Array:
    """m h, the hidden state as it enters the products under recurrent dropout; h itself without.

    The derivative by h is the same function of the gradient by m h.
    """
    return h if mask is None else h * mask
