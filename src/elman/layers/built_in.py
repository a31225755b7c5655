"""The recurrent layers with a name of their own: RNN, LSTM, GRU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells import Cell
from elman.cells.activations import Activation
from elman.cells.gru import gru_cell
from elman.cells.lstm import lstm_cell
from elman.cells.rnn import rnn_cell
from elman.layers.recurrent import Recurrent
from elman.options import defaults


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

    Parameters `Wx` (input, hidden), `Wh` (hidden, hidden), `b` (hidden,); state h (batch, hidden). `activation` is
    a name of the table or an `elman.Activation`. `clip` bounds what stands inside it to +-clip, as in the operator of
    ONNX; `elman.engine.runner(layer.cell)` says whether a compiled kernel or the slower plain equations run it. The
    other arguments are those of `elman.Recurrent`.

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
    arguments are those of `elman.Recurrent`.

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

    Parameters `Wx` (input, 3 hidden), `Wh` (hidden, 3 hidden), `b` (3 hidden,) and, with `reset_after`, `bn`
    (hidden,), the bias inside the reset product; state h (batch, hidden). `reset_after=True` applies the reset gate
    after the recurrent product, as PyTorch, cuDNN and Keras 3 do; False before it, as in the paper.

    `activations` maps gates to activations, by name or as an `elman.Activation`; those left out stay sigmoid for "r"
    and "z", tanh for "n". `clip` bounds what stands inside them to +-clip, as in the operator of ONNX.
    `elman.engine.runner(layer.cell)` says whether a compiled kernel or the slower plain equations run it. The other
    arguments are those of `elman.Recurrent`.

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
