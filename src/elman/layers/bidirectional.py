"""Two recurrent layers over the same sequences, one in each direction of time (Schuster and Paliwal 1997)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from elman import checks
from elman.cells.cell import REVERSE
from elman.checks import Array, ShapeError
from elman.layers.built_in import RECURRENT
from elman.layers.joining import Add, Concatenate, Multiply
from elman.layers.layer import Layer
from elman.layers.nesting import computes_otherwise
from elman.layers.pointwise import MODES, MergeDirections, Scale
from elman.layers.recurrent import Directed, Recurrent
from elman.layers.steps import Reverse
from elman.options import LiveArrays, ReadOnly

MERGES = ("concat", *MODES.values())


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
    merge: str
    bidirectional = True
    needs_whole_sequences = True

    def __init__(self, forward: Recurrent, backward: Recurrent, merge: str = "concat") -> None:
        super().__init__(first=forward, second=backward, merge=merge)

    def setup(self, first: Any, second: Any, merge: str = "concat") -> None:
        self.first, self.second = _part("forward", first), _part("backward", second)
        self.merge = self._merge = checks.choice("merge", merge, MERGES)
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
        found = super()._describe(known)
        return found | {name: ReadOnly(type=type(found[name]).__name__, **found[name].config) for name in _PARTS}

    def replace(self, *, seed: int | None = None, **options: Any) -> Self:
        """A new layer like this one but for the `options`; a layer among them comes in as a copy, with its weights.

        >>> import elman
        >>> both = elman.Bidirectional(elman.GRU(3, 5, seed=0), elman.GRU(3, 5, seed=1))
        >>> both.replace(merge="sum").output_size, both.replace(second=both.second.replace(hidden_size=4)).output_size
        (5, 9)
        """
        kept = {name: getattr(self, name) for name in _PARTS} | options
        copies = {name: part.replace() if isinstance(part, Recurrent) else part for name, part in kept.items()}
        return super().replace(seed=seed, **copies)

    def _spelled(self) -> list[tuple[Layer, tuple[int, ...]]]:
        """Two equal layers as their short form and, where they are merged, a `MergeDirections`; others one by one."""
        first, second = self.first, self.second
        if type(first) is type(second) and first.config == second.config:
            short = type(first).from_parameters({**first.config, "bidirectional": True}, self.parameters)
            merging = [(MergeDirections(mode), (0,)) for mode, merge in MODES.items() if merge == self.merge]
            return [(short, (-1,)), *merging]
        joining = {"concat": Concatenate, "multiply": Multiply}.get(self.merge, Add)()
        rows: list[tuple[Layer, tuple[int, ...]]] = [
            (first, (-1,)),
            (Reverse(), (-1,)),
            (second, (1,)),
            (Reverse(), (2,)),
        ]
        half = [(Scale(first.output_size or 0, 0.0, 0.5), (4,))] if self.merge == "mean" else []
        return [*rows, (joining, (0, 3)), *half]

    def astype(self, dtype: Any) -> Self:
        return self.replace(first=self.first.astype(dtype), second=self.second.astype(dtype))

    def _shown(self, *without: str) -> str:
        return f"Bidirectional({self.first._shown(*without)}, {self.second._shown(*without)}, merge={self.merge!r})"


_PARTS = ("first", "second")


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
