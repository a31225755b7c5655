"""The recurrent layers with a name of their own: RNN, LSTM, GRU, and two of any cells as one, Bidirectional."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from elman import checks
from elman.cells import Cell
from elman.cells.activations import Activation
from elman.cells.cell import REVERSE
from elman.cells.gru import gru_cell
from elman.cells.lstm import lstm_cell
from elman.cells.rnn import rnn_cell
from elman.checks import Array, ShapeError
from elman.layers.joining import Add, Concatenate, Multiply
from elman.layers.layer import Spelled
from elman.layers.nesting import computes_otherwise
from elman.layers.pointwise import MODES, MergeDirections, Scale
from elman.layers.recurrent import Directed, Recurrent
from elman.layers.steps import Reverse
from elman.options import LiveArrays, ReadOnly, defaults


class _BuiltIn(Recurrent):
    """A recurrent layer whose cell is made from options of its own; they are in its config in the cell's place."""

    _cell: Callable[..., Cell]

    def setup(self, **options: Any) -> None:  # type: ignore[override]
        of_cell = {name: options.pop(name) for name in defaults(self._cell) if name in options}
        super().setup(cell=self._cell(**of_cell), **options)

    @classmethod
    def _known_options(cls) -> Mapping[str, Any]:
        known = {**defaults(Recurrent.setup), **defaults(cls._cell)}
        return {name: default for name, default in known.items() if name != "cell"}

    def _describe(self, known: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._describe(defaults(Recurrent.setup))
        del found["cell"]
        sizes = {name: found.pop(name) for name in ("input_size", "hidden_size")}
        return {**sizes, **self.cell.options, **found}


class RNN(_BuiltIn):
    """The simple recurrent network, h' = act(x Wx + h Wh + b), equations in `elman.cells.rnn` (Elman 1990).

    ``layer.equations`` prints them, with the file and line of the step and of its derivative.

    Parameters `Wx` (input, hidden), `Wh` (hidden, hidden), `b` (hidden,); state h (batch, hidden). `activation` is
    a name of the table or an `elman.Activation`. `clip` bounds what stands inside it to +-clip, as in the operator of
    ONNX; `elman.engine.runner(layer.cell)` says whether a compiled kernel or the slower plain equations run it. The
    other arguments, the shapes of y and of states, and errors are those of `elman.Recurrent`.

    >>> import numpy as np, elman
    >>> layer = elman.RNN(3, 5, activation="relu", seed=0)
    >>> y, h = layer(np.ones((2, 7, 3)))
    >>> y.shape, h.shape, list(layer.parameters)
    ((2, 7, 5), (2, 5), ['Wx', 'Wh', 'b'])
    """

    _cell = staticmethod(rnn_cell)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str | Activation = "tanh",
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
        *,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        learned_state: bool = False,
        clip: float | None = None,
    ) -> None:
        self._begin(locals())


class LSTM(_BuiltIn):
    """Long short-term memory, equations in `elman.cells.lstm` (Gers et al. 2000). Gate blocks i, f, g, o.

    ``layer.equations`` prints them, with the file and line of the step and of its derivative.

    Parameters `Wx` (input, 4 hidden), `Wh` (hidden, 4 hidden), `b` (4 hidden,); state the pair (h, c), each
    (batch, hidden).

    The forget gate's bias starts at `forget_bias` = 1, so that a new network remembers (Jozefowicz et al. 2015,
    section 4). Others differ: Keras starts it at 1, TensorFlow 1 adds 1 while running, PyTorch, Flax and Equinox
    start it like the other biases. `forget_bias=None` leaves it as the `initializer` drew it.

    `layer_norm=True` is the layer-normalized LSTM, equations in `elman.cells.lstm_layer_norm` (Ba, Kiros, Hinton 2016,
    supplementary equations 20-22), which has the parameters `gain_x`, `gain_h` (4 hidden,), `gain_c` and `bias_c`
    (hidden,) besides. x Wx and h Wh are normalized apart from each other, each over all 4 hidden units together, as in
    the paper, and c on its way to h. Others differ: TensorFlow 1 normalizes each gate by itself, TensorFlow Addons and
    PyTorch's example hand the normalized c on. It cannot be combined with the following.

    What others added to the cell, equations and sources in `elman.cells.lstm_variants`; any of them together:

    peepholes
        The gates i and f see c, and o sees the new c: the parameters `pi`, `pf`, `po` (hidden,). They start at 0, or
        uniform with ``initializer="uniform"``.
    coupled
        f = 1 - i (ONNX's input_forget). The gate blocks are then i, g, o; there is no `pf`, and no bias for
        `forget_bias` to act on.
    projection
        A number P: h is (batch, P), a product of the hidden units with the parameter `Wp` (hidden, P), drawn like
        input weights. `Wh` is then (P, 4 hidden), y (batch, time, P), and c stays (batch, hidden).
    clip
        Bounds what stands inside the gates to +-clip, as in the operator of ONNX.
    cell_clip
        Bounds the new c to +-cell_clip, as TensorFlow's LSTMCell does.
    activations
        Gate -> activation, by name or as an `elman.Activation`, for the gates "i", "f", "g", "o" (with `coupled` no
        "f") and for "c", which acts on c on its way to h. Those left out stay sigmoid, and tanh for g and c.

    Through what is bounded no gradient flows. A cell without a compiled kernel, such as the layer-normalized one, runs
    on the plain equations, which are many times slower; `elman.engine.runner(layer.cell)` says which run it. The other
    arguments, the shapes of y and of states, and errors are those of `elman.Recurrent`.

    >>> import numpy as np, elman
    >>> layer = elman.LSTM(3, 5, seed=0)
    >>> y, (h, c) = layer(np.ones((2, 7, 3)))
    >>> y.shape, h.shape, c.shape
    ((2, 7, 5), (2, 5), (2, 5))
    >>> layer.b[5:10].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    >>> layer = elman.LSTM(3, 5, recurrent_dropout=0.25, zoneout=(0.05, 0.5), learned_state=True, seed=0)
    >>> list(layer.parameters), layer.c0.tolist()
    (['Wx', 'Wh', 'b', 'h0', 'c0'], [0.0, 0.0, 0.0, 0.0, 0.0])
    >>> layer = elman.LSTM(3, 5, peepholes=True, projection=2, activations={"g": "relu"}, seed=0)
    >>> y, (h, c) = layer(np.ones((2, 7, 3)))
    >>> y.shape, h.shape, c.shape, list(layer.parameters)
    ((2, 7, 2), (2, 2), (2, 5), ['Wx', 'Wh', 'b', 'pi', 'pf', 'po', 'Wp'])
    """

    _cell = staticmethod(lstm_cell)
    _forget_bias: float | None = 1.0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
        forget_bias: float | None = 1.0,
        layer_norm: bool = False,
        *,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        learned_state: bool = False,
        peepholes: bool = False,
        coupled: bool = False,
        projection: int | None = None,
        clip: float | None = None,
        cell_clip: float | None = None,
        activations: Mapping[str, str | dict[str, Any] | Activation] | None = None,
    ) -> None:
        self._forget_bias = None if forget_bias is None else checks.number("forget_bias", forget_bias)
        self._begin(locals())

    def _draw(self, rng: np.random.Generator) -> None:
        super()._draw(rng)
        if self._forget_bias is not None and "f" in self.cell.gates:
            blocks = np.split(self._parameters["b"], len(self.cell.gates))
            blocks[self.cell.gates.index("f")][...] = self._forget_bias


class GRU(_BuiltIn):
    """The gated recurrent unit, equations in `elman.cells.gru` (Cho et al. 2014). Gate blocks r, z, n.

    ``layer.equations`` prints them, with the file and line of the step and of its derivative.

    Parameters `Wx` (input, 3 hidden), `Wh` (hidden, 3 hidden), `b` (3 hidden,) and, with `reset_after`, `bn`
    (hidden,), the bias inside the reset product; state h (batch, hidden). `reset_after=True` applies the reset gate
    after the recurrent product, as PyTorch, cuDNN and Keras 3 do; False before it, as in the paper.

    `activations` maps gates to activations, by name or as an `elman.Activation`; those left out stay sigmoid for "r"
    and "z", tanh for "n". `clip` bounds what stands inside them to +-clip, as in the operator of ONNX.
    `elman.engine.runner(layer.cell)` says whether a compiled kernel or the slower plain equations run it. The other
    arguments, the shapes of y and of states, and errors are those of `elman.Recurrent`.

    >>> import numpy as np, elman
    >>> y, h = elman.GRU(3, 5, bidirectional=True, seed=0)([np.ones((4, 3)), np.ones((6, 3))])
    >>> [part.shape for part in y], h.shape
    ([(4, 10), (6, 10)], (2, 2, 5))
    """

    _cell = staticmethod(gru_cell)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset_after: bool = True,
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
        *,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        learned_state: bool = False,
        clip: float | None = None,
        activations: Mapping[str, str | dict[str, Any] | Activation] | None = None,
    ) -> None:
        self._begin(locals())


#: The recurrent layers by their names, as configs have them.
RECURRENT: dict[str, type[Recurrent]] = {kind.__name__: kind for kind in (GRU, LSTM, RNN, Recurrent)}


class Bidirectional(Directed):
    """Two recurrent layers of any cells, the second from the end of each sequence to its start.

    Parameters
    ----------
    forward, backward
        Two layers of one direction: `elman.LSTM`, `elman.GRU`, `elman.RNN`, `elman.Recurrent`, with the same input
        size and dtype. They are part of this layer from then on, as its options `first` and `second`.
    merge
        What makes one value of y_1 and y_2, the outputs of both at a step: "concat" (both, y_1 first), or of equal
        widths "sum", "mean" (half the sum), "multiply".

    Its parameters are those of both; the names of the second's end in ``_reverse``. Where the states of both have the
    same widths, the state is that of ``LSTM(..., bidirectional=True)``: a leading axis of 2. Else it is a pair, the
    state of the first and that of the second. ``LSTM(..., bidirectional=True)`` is a short form of two equal layers
    under "concat", with the same parameters and bits; `directions` has the two layers of both forms. There is no
    stream, as the second must see the end first. Raises `ValueError` for layers that do not go together.

    >>> import numpy as np, elman
    >>> layer = elman.Bidirectional(elman.LSTM(3, 5, seed=0), elman.GRU(3, 4, seed=1))
    >>> y, ((h, c), h_reverse) = layer(np.ones((2, 7, 3)))
    >>> y.shape, c.shape, h_reverse.shape, list(layer.parameters)[3:]
    ((2, 7, 9), (2, 5), (2, 4), ['Wx_reverse', 'Wh_reverse', 'b_reverse', 'bn_reverse'])
    >>> layer = elman.Bidirectional(elman.GRU(3, 5, seed=0), elman.GRU(3, 5, seed=1), merge="sum")
    >>> y, h = layer(np.ones((2, 7, 3)))
    >>> y.shape, h.shape
    ((2, 7, 5), (2, 2, 5))
    """

    dtype: np.dtype[Any]
    first: Recurrent  #: forward in time
    second: Recurrent  #: from the end to the start
    bidirectional = True
    needs_whole_sequences = True

    def __init__(self, forward: Recurrent, backward: Recurrent, merge: str = "concat") -> None:
        super().__init__(first=forward, second=backward, merge=merge)

    def setup(self, first: Any, second: Any, merge: str = "concat") -> None:
        self.first, self.second = _part("forward", first), _part("backward", second)
        self.merge = self._merge = checks.choice("merge", merge, ("concat", *MODES.values()))
        if self.first is self.second:
            raise ValueError(f"forward and backward must be two layers. Got the same one twice, {self.first!r}.")
        for name in ("input_size", "dtype"):
            a, b = getattr(self.first, name), getattr(self.second, name)
            if a != b:
                raise ShapeError(f"forward and backward must have the same {name}. Got {a} and {b}.")
        a, b = self.first.output_size, self.second.output_size
        if merge != "concat" and a != b:
            raise ShapeError(f"forward and backward must give values of one width to {merge}. Got {a} and {b}.")
        self.input_size, self.dtype = self.first.input_size, self.first.dtype
        self.output_size = (a or 0) + (b or 0) if merge == "concat" else a
        self._alike = [*self.first.states().values()] == [*self.second.states().values()]

    @property
    def directions(self) -> Mapping[str, Recurrent]:
        return {"": self.first, REVERSE: self.second}

    def states(self) -> dict[str, int]:
        return {name + end: width for end, part in self.directions.items() for name, width in part.states().items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name + end: shape for end, part in self.directions.items() for name, shape in part.shapes().items()}

    def _set_weights(self, given: Mapping[str, Array], seed: int | None) -> None:
        for end, part in self.directions.items():
            if "_parameters" not in part.__dict__:  # one of a config, with all its weights among those given
                part._set_weights({name: given[name + end] for name in part.shapes() if name + end in given}, seed)
        parts = self.directions.items()
        self._parameters = LiveArrays({name + end: a for end, part in parts for name, a in part.parameters.items()})

    def _describe(self, known: Mapping[str, Any]) -> dict[str, Any]:
        parts = {"first": self.first, "second": self.second}.items()
        found = {name: ReadOnly(type=type(part).__name__, **part.config) for name, part in parts}
        return super()._describe(known) | found

    def replace(self, *, seed: int | None = None, **options: Any) -> Self:
        """A new layer like this one but for the `options`; a layer among them comes in as a copy, with its weights.

        >>> import elman
        >>> both = elman.Bidirectional(elman.GRU(3, 5, seed=0), elman.GRU(3, 5, seed=1))
        >>> both.replace(merge="sum").output_size, both.replace(second=both.second.replace(hidden_size=4)).output_size
        (5, 9)
        """
        kept = {"first": self.first, "second": self.second} | options
        copies = {name: part.replace() if isinstance(part, Recurrent) else part for name, part in kept.items()}
        return super().replace(seed=seed, **copies)

    def _spelled(self) -> Spelled:
        """Two equal layers as their short form and, where they are merged, a `MergeDirections`; others one by one."""
        first, second = self.first, self.second
        if type(first) is type(second) and first.config == second.config:
            short = type(first).from_parameters({**first.config, "bidirectional": True}, self.parameters)
            merging = [(MergeDirections(mode), (0,)) for mode, merge in MODES.items() if merge == self.merge]
            return [(short, None), *merging]
        joining = {"concat": Concatenate, "multiply": Multiply}.get(self.merge, Add)()
        rows: Spelled = [(first, None), (Reverse(), None), (second, (1,)), (Reverse(), (2,))]
        half = [(Scale(first.output_size or 0, 0.0, 0.5), (4,))] if self.merge == "mean" else []
        return [*rows, (joining, (0, 3)), *half]

    def astype(self, dtype: Any) -> Self:
        return self.replace(first=self.first.astype(dtype), second=self.second.astype(dtype))

    def _shown(self, *without: str) -> str:
        return f"Bidirectional({self.first._shown(*without)}, {self.second._shown(*without)}, merge={self.merge!r})"


def _part(name: str, given: Any) -> Recurrent:
    """A direction: a layer, or, as configs have it, one without weights yet."""
    part = given
    if isinstance(given, Mapping):
        options = {key: value for key, value in given.items() if key != "type"}
        kind = given.get("type")
        if not (isinstance(kind, type) and issubclass(kind, Recurrent)):
            kind = RECURRENT[checks.choice(f"the type of {name}", kind, RECURRENT)]
        part = kind.__new__(kind)
        part._set_options(options)
    if not isinstance(part, Recurrent) or computes_otherwise(part):
        must = f"{name} must be a recurrent layer, with a cell of any kind, that runs as elman.Recurrent does"
        raise checks.KindError(f"{must}. Got {checks.show(given)}.")
    if part.bidirectional:
        raise ValueError(f"{name} must go in one direction. Got {part!r}.")
    return part
