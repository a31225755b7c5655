"""Recurrent layers: any cell through time, in one direction or in both (Schuster and Paliwal 1997)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks, engine
from elman.cells import Cell, gru, lstm, rnn, stepping
from elman.cells.activations import Activation
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.initializers import RECURRENT, recurrent
from elman.layers.layer import Gradients, Layer
from elman.sequences import Layout, Sequences

if TYPE_CHECKING:
    from numpy.random import Generator


class Recurrent(Layer):
    """A cell through time.

    Parameters
    ----------
    cell
        An `elman.Cell`.
    input_size, hidden_size
        Features that come in, and hidden units.
    bidirectional
        Also runs a second cell from the end of each sequence to its start; y is (batch, time, 2 hidden), the
        forward output first. The parameters of the second direction end in ``_reverse``.
    dtype
        "float32" or "float64": of parameters, outputs and gradients. Inputs are converted.
    seed
        The same seed gives the same weights; None draws fresh ones.
    initializer
        "glorot" (input weights Glorot, recurrent weights orthogonal, biases 0; each gate by itself), "orthogonal"
        (both orthogonal), or "uniform" (everything uniform in +-1/sqrt(hidden), PyTorch's way).

    State: one array (batch, hidden) a state of the cell, a tuple of them where there are several; (hidden,) for a
    single sequence; with a leading axis of 2 for both directions.

    Example: see `elman.Cell`.
    """

    stateful = True
    cell: Cell
    hidden_size: int
    bidirectional: bool

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
    ) -> None:
        self._initializer = checks.choice("initializer", initializer, RECURRENT)
        if not isinstance(cell, Cell):
            raise TypeError(f"cell must be an elman.Cell. Got {cell!r}.")
        super().__init__(
            seed,
            cell=cell,
            input_size=input_size,
            hidden_size=hidden_size,
            bidirectional=bidirectional,
            dtype=str(checks.float_dtype(dtype)),
        )

    def _setup(self, *, cell: Cell, input_size: int, hidden_size: int, bidirectional: bool, dtype: Any) -> None:
        self.cell = cell
        self.input_size = checks.size("input_size", input_size)
        self.hidden_size = checks.size("hidden_size", hidden_size)
        self.bidirectional = self.needs_whole_sequences = checks.flag("bidirectional", bidirectional)
        self.output_size = self.hidden_size * self.directions
        self.dtype = checks.float_dtype(dtype)

    @property
    def directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = self.cell.shapes(self.input_size or 0, self.hidden_size)
        return {name + suffix: shape for suffix in self._suffixes() for name, shape in shapes.items()}

    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse")[: self.directions]

    def _draw(self, rng: Generator) -> None:
        for suffix in self._suffixes():
            recurrent(
                {name: self._parameters[name + suffix] for name in self.cell.weights}, self.cell, self._initializer, rng
            )

    @functools.cached_property
    def _by_direction(self) -> list[Arrays]:
        """The weights of each direction, in the order of the cell. The arrays never change for others."""
        return [tuple([self._parameters[name + suffix] for name in self.cell.weights]) for suffix in self._suffixes()]

    def _run(self, x: Sequences, state: Any, rng: Generator | None, keep: bool) -> tuple[Sequences, Any, Any]:
        starts = self._read_state("state", state, x.layout)
        H = self.hidden_size
        y = np.empty((len(x.values), H * self.directions), self.dtype)
        ends: list[Arrays] = []
        tapes: list[engine.Tape | None] = []
        for d, weights in enumerate(self._by_direction):
            out = y[:, d * H : (d + 1) * H] if self.bidirectional else y
            end, tape = engine.forward(
                self.cell, weights, x.values, x.lengths, starts[d], out, reverse=d == 1, keep=keep
            )
            ends.append(end)
            tapes.append(tape)
        return x.with_values(y), self._write_state(ends, x.layout), (x.layout, tapes)

    def _run_back(self, kept: Any, dy: Array | None, dstate: Any) -> tuple[Array, Any, Gradients]:
        layout, tapes = kept
        dends = self._read_state("dstate", dstate, layout)
        H = self.hidden_size
        dx: Array | None = None
        dstarts: list[Arrays] = []
        gradients: Gradients = {}
        for d, suffix in enumerate(self._suffixes()):
            part = dy[:, d * H : (d + 1) * H] if dy is not None and self.bidirectional else dy
            dvalues, dstart, dweights = engine.backward(tapes[d], part, dends[d])
            dx = dvalues if dx is None else dx + dvalues
            dstarts.append(dstart)
            gradients |= {name + suffix: dweight for name, dweight in zip(self.cell.weights, dweights, strict=True)}
        assert dx is not None
        return dx, self._write_state(dstarts, layout), gradients

    def _pack(self) -> stepping.Packed:
        """The weights made ready for streams."""
        return engine.pack(self.cell, self._by_direction[0], self.hidden_size)

    def _read_state(self, name: str, state: Any, layout: Layout) -> list[Arrays | None]:
        """For each direction the states of the cell, (batch, hidden) each, or None where none are given."""
        if state is None:
            return [None] * self.directions
        names = self.cell.states
        given = (state,) if len(names) == 1 else state
        if not isinstance(given, (tuple, list)) or len(given) != len(names):
            raise ShapeError(
                f"{name} must be a tuple of {len(names)} arrays, ({', '.join(names)}). Got {checks.describe(state)}."
            )
        full = (self.directions, layout.count, self.hidden_size)
        want = full[not self.bidirectional :]
        want = want if layout.form != "single" else (*want[:-2], want[-1])
        arrays = []
        for part, value in zip(names, given, strict=True):
            array = checks.real_array(f"{part} of {name}", value, self.dtype)
            checks.shape(f"{part} of {name}", array, want)
            arrays.append(np.array(array, order="C").reshape(full))  # its own: a tape outlives the caller's array
        return [tuple([array[d] for array in arrays]) for d in range(self.directions)]

    def _write_state(self, directions: list[Arrays], layout: Layout) -> Any:
        """The states of each direction in the user's form."""
        if self.bidirectional:
            arrays = tuple([np.stack(parts) for parts in zip(*directions, strict=True)])
        else:
            (arrays,) = directions
        if layout.form == "single":
            arrays = tuple([a[..., 0, :] for a in arrays])
        return arrays[0] if len(arrays) == 1 else arrays


class _BuiltIn(Recurrent):
    """A recurrent layer whose cell is made from its own arguments; they are its config."""

    _cell: Callable[..., Cell]

    def __init__(self, seed: int | None, initializer: str, **config: Any) -> None:
        self._initializer = checks.choice("initializer", initializer, RECURRENT)
        Layer.__init__(self, seed, **{**config, "dtype": str(checks.float_dtype(config["dtype"]))})

    def _setup(self, *, input_size: int, hidden_size: int, bidirectional: bool, dtype: Any, **options: Any) -> None:
        super()._setup(
            cell=self._cell(**options),
            input_size=input_size,
            hidden_size=hidden_size,
            bidirectional=bidirectional,
            dtype=dtype,
        )


class RNN(_BuiltIn):
    """The simple recurrent network of Elman 1990, h' = act(x Wx + h Wh + b).

    Parameters `Wx` (input, hidden), `Wh` (hidden, hidden), `b` (hidden,); state h (batch, hidden). `activation` is
    a name of the table or an `elman.Activation`; the other arguments are those of `elman.Recurrent`.

    >>> import numpy as np, elman
    >>> layer = elman.RNN(3, 5, activation="relu", seed=0)
    >>> y, h = layer(np.ones((2, 7, 3)))
    >>> y.shape, h.shape, list(layer.parameters)
    ((2, 7, 5), (2, 5), ['Wx', 'Wh', 'b'])
    """

    _cell = staticmethod(rnn)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str | Activation = "tanh",
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
    ) -> None:
        config = rnn(activation).options["activation"]
        super().__init__(
            seed,
            initializer,
            input_size=input_size,
            hidden_size=hidden_size,
            activation=config,
            bidirectional=bidirectional,
            dtype=dtype,
        )


class LSTM(_BuiltIn):
    """Long short-term memory, equations in `elman.cells.lstm` (Gers et al. 2000). Gate blocks i, f, g, o.

    Parameters `Wx` (input, 4 hidden), `Wh` (hidden, 4 hidden), `b` (4 hidden,); state the pair (h, c), each
    (batch, hidden).

    The forget gate's bias starts at `forget_bias` = 1, so that a new network remembers (Jozefowicz et al. 2015,
    section 4). Others differ: Keras starts it at 1, TensorFlow 1 adds 1 while running, PyTorch, Flax and Equinox
    start it like the other biases. `forget_bias=None` leaves it as the `initializer` drew it. The other arguments
    are those of `elman.Recurrent`.

    >>> import numpy as np, elman
    >>> layer = elman.LSTM(3, 5, seed=0)
    >>> y, (h, c) = layer(np.ones((2, 7, 3)))
    >>> y.shape, h.shape, c.shape
    ((2, 7, 5), (2, 5), (2, 5))
    >>> layer.b[5:10].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    _cell = staticmethod(lstm)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
        forget_bias: float | None = 1.0,
    ) -> None:
        super().__init__(
            seed, initializer, input_size=input_size, hidden_size=hidden_size, bidirectional=bidirectional, dtype=dtype
        )
        if forget_bias is not None:
            checks.number("forget_bias", forget_bias)
            block = self.cell.gates.index("f")
            for suffix in self._suffixes():
                self._parameters["b" + suffix][block * hidden_size : (block + 1) * hidden_size] = forget_bias


class GRU(_BuiltIn):
    """The gated recurrent unit, equations in `elman.cells.gru` (Cho et al. 2014). Gate blocks r, z, n.

    Parameters `Wx` (input, 3 hidden), `Wh` (hidden, 3 hidden), `b` (3 hidden,) and, with `reset_after`, `bn`
    (hidden,), the bias inside the reset product; state h (batch, hidden). `reset_after=True` applies the reset gate
    after the recurrent product, as PyTorch, cuDNN and Keras 3 do; False before it, as in the paper. The other
    arguments are those of `elman.Recurrent`.

    >>> import numpy as np, elman
    >>> y, h = elman.GRU(3, 5, bidirectional=True, seed=0)([np.ones((4, 3)), np.ones((6, 3))])
    >>> [part.shape for part in y], h.shape
    ([(4, 10), (6, 10)], (2, 2, 5))
    """

    _cell = staticmethod(gru)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset_after: bool = True,
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
    ) -> None:
        config = gru(reset_after).options["reset_after"]
        super().__init__(
            seed,
            initializer,
            input_size=input_size,
            hidden_size=hidden_size,
            reset_after=config,
            bidirectional=bidirectional,
            dtype=dtype,
        )
