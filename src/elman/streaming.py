"""A network one step at a time: the same numbers as over whole sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import ShapeError
from elman.network import Network
from elman.sequences import Form, Layout, Sequences


class Stream:
    """One sequence, or `batch` of them side by side, fed step by step; made by `Network.stream`.

    Raises `ShapeError` for a network that must see a whole sequence first: a bidirectional layer, or a pool over
    time.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.GRU(2, 8, dtype="float64", seed=0), elman.Dense(8, 1, dtype="float64", seed=1)])
    >>> s = net.stream()
    >>> steps = [s.step(x) for x in np.ones((5, 2))]
    >>> np.allclose(steps, net(np.ones((5, 2)))[0])
    True
    """

    def __init__(self, net: Network, batch: int | None = None) -> None:
        self.net = net
        self.batch = None if batch is None else checks.size("batch", batch)
        for layer in net.layers:
            if layer.needs_whole_sequences:
                raise ShapeError(f"a stream must have layers that go forward step by step. Got {layer!r}.")
        form: Form = "single" if batch is None else "array"
        count = self.batch or 1
        self._layout = Layout(np.ones(count, np.int64), count, form, 1)  # one step of every sequence
        self._state: list[Any] = []
        self.reset()

    def step(self, x: Any) -> Any:
        """The output of one step: x is (features,), or (batch, features); for tokens a number, or (batch,)."""
        y, self._state, _ = self.net._run(self._read(x), self._state, None, keep=False)
        return y.values.copy() if self.batch is not None else y.values[0].copy()

    def reset(self) -> None:
        """Back to the state 0."""
        self._state = self.net._own_state("state", None, self._layout)

    @property
    def state(self) -> list[Any]:
        """A list with one entry a recurrent layer, in arrays (hidden,) or (batch, hidden): a copy. May be assigned."""
        return self.net._own_state("state", self._state, self._layout)

    @state.setter
    def state(self, value: list[Any]) -> None:
        self._state = self.net._own_state("state", value, self._layout)

    def copy(self) -> Stream:
        """A stream of the same network that goes on from here by itself; the weights are shared."""
        twin = Stream(self.net, self.batch)
        twin.state = self._state
        return twin

    def _read(self, x: Any) -> Sequences:
        outer = () if self.batch is None else (self.batch,)
        if self.net.takes_tokens:
            tokens = np.asarray(x)
            checks.shape("x", tokens, outer)
            return Sequences(self.net._take(tokens.reshape(-1, 1), None, own=False).values, self._layout)
        array = checks.real_array("x", x, self.net.dtype)
        width = self.net.input_size if self.net.input_size is not None else "features"
        checks.shape("x", array, (*outer, width))
        return Sequences(array.reshape(self._layout.count, -1), self._layout)

    def __repr__(self) -> str:
        over = "one sequence" if self.batch is None else f"{self.batch} sequences"
        return f"Stream over {over} of a {self.net!r}"
