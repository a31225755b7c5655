"""The equations, in plain NumPy: each cell a step and its derivative, and one unrolling through time for all."""

from collections.abc import Callable

from elman.cells.activations import Activation
from elman.cells.cell import Cell
from elman.cells.gru import gru
from elman.cells.lstm import lstm
from elman.cells.rnn import rnn

#: The built-in cells by name, each a function of its options.
CELLS: dict[str, Callable[..., Cell]] = {"gru": gru, "lstm": lstm, "rnn": rnn}

__all__ = ["CELLS", "Activation", "Cell", "gru", "lstm", "rnn"]
