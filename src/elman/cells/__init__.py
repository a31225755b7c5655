"""The equations, in plain NumPy: each cell a step and its derivative, and one unrolling through time for all."""

from collections.abc import Callable

from elman.cells.activations import Activation
from elman.cells.cell import Cell
from elman.cells.gru import gru_cell
from elman.cells.lstm import lstm_cell
from elman.cells.rnn import rnn_cell

#: The built-in cells by name, each a function of its options.
CELLS: dict[str, Callable[..., Cell]] = {"gru": gru_cell, "lstm": lstm_cell, "rnn": rnn_cell}

__all__ = ["CELLS", "Activation", "Cell"]
