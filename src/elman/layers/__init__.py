"""Layers: recurrent, and what stands before and behind them."""

from elman.layers.activate import Activate
from elman.layers.built_in import GRU, LSTM, RNN
from elman.layers.directions import MergeDirections, Reverse
from elman.layers.last_steps import LastSteps
from elman.layers.layer import Layer, Tape
from elman.layers.masking import Masking
from elman.layers.pointwise import Dense, Dropout, Embedding, LayerNorm
from elman.layers.pooling import LastStep, MaxOverTime, MeanOverTime
from elman.layers.recurrent import Recurrent

#: The layers by the name that files call them; `elman.network` adds its own.
LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (
        Activate,
        Dense,
        Dropout,
        Embedding,
        GRU,
        LSTM,
        LastStep,
        LastSteps,
        LayerNorm,
        Masking,
        MaxOverTime,
        MeanOverTime,
        MergeDirections,
        RNN,
        Recurrent,
        Reverse,
    )
}

__all__ = [
    "GRU",
    "LAYERS",
    "LSTM",
    "RNN",
    "Activate",
    "Dense",
    "Dropout",
    "Embedding",
    "LastStep",
    "LastSteps",
    "Layer",
    "LayerNorm",
    "Masking",
    "MaxOverTime",
    "MeanOverTime",
    "MergeDirections",
    "Recurrent",
    "Reverse",
    "Tape",
]
