"""elman: recurrent neural networks for Python on the CPU, NumPy arrays in and out.

Steps: `rnn_step`, `lstm_step`, `gru_step`. Layers: `RNN`, `LSTM`, `GRU`, `Recurrent` (a cell of your own), `Dense`,
`Embedding`, `Dropout`, `LayerNorm`, `LastStep`, `MeanOverTime`, `MaxOverTime`. A stack of them: `Network`, `load`.
Training: `fit`, optimizers, schedules, losses. Other systems' weights: `from_arrays`, `to_arrays`, `Convention`.
"""

from elman.cells import Activation, Cell
from elman.cells.activations import (
    relu,
    relu_derivative,
    sigmoid,
    sigmoid_derivative,
    softmax,
    softmax_jacobian,
    tanh,
    tanh_derivative,
)
from elman.cells.gru import gru_step
from elman.cells.lstm import lstm_step
from elman.cells.rnn import rnn_step
from elman.checks import DtypeError, FormatError, MissingExtraError, ShapeError
from elman.layers import (
    GRU,
    LSTM,
    RNN,
    Dense,
    Dropout,
    Embedding,
    LastStep,
    Layer,
    LayerNorm,
    MaxOverTime,
    MeanOverTime,
    Recurrent,
    Tape,
)
from elman.network import Network
from elman.saving import load
from elman.streaming import Stream
