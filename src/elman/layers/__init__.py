"""Layers: recurrent, and what stands before and after them."""

from elman.layers.activate import Activate
from elman.layers.attention import Attention
from elman.layers.batch_norm import BatchNorm
from elman.layers.bidirectional import Bidirectional
from elman.layers.built_in import GRU, LSTM, RNN
from elman.layers.convolution import Conv1d
from elman.layers.directions import Directed, MergeDirections, Reverse
from elman.layers.joining import Add, Concatenate, Joining, Multiply
from elman.layers.layer import Layer, Seen, Tape
from elman.layers.masking import Masking
from elman.layers.pointwise import Dense, Dropout, Embedding, LayerNorm
from elman.layers.pooling import LastStep, LastSteps, MaxOverTime, MeanOverTime
from elman.layers.recurrent import Recurrent
from elman.layers.scale import Repeat, Scale
from elman.layers.windows import AveragePool1d, MaxPool1d

#: The layers by the name that files call them; `elman.network` adds its own.
LAYERS: dict[str, type[Layer]] = {
    name: cls
    for name, cls in sorted(globals().items())
    if isinstance(cls, type) and issubclass(cls, Layer) and cls not in (Layer, Joining, Directed)
}

__all__ = [
    "GRU",
    "LAYERS",
    "LSTM",
    "RNN",
    "Activate",
    "Add",
    "Attention",
    "AveragePool1d",
    "BatchNorm",
    "Bidirectional",
    "Concatenate",
    "Conv1d",
    "Dense",
    "Dropout",
    "Embedding",
    "Joining",
    "LastStep",
    "LastSteps",
    "Layer",
    "LayerNorm",
    "Masking",
    "MaxOverTime",
    "MaxPool1d",
    "MeanOverTime",
    "MergeDirections",
    "Multiply",
    "Recurrent",
    "Repeat",
    "Reverse",
    "Scale",
    "Seen",
    "Tape",
]
