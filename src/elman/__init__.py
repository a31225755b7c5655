"""elman: recurrent neural networks for Python on the CPU, NumPy arrays in and out.

- steps: `rnn_step`, `lstm_step`, `gru_step`
- layers: `RNN`, `LSTM`, `GRU`, `Recurrent` (with a `Cell` of your own), `Dense`, `Embedding`, `Dropout`, `LayerNorm`,
  `Activate`, `LastStep`, `MeanOverTime`, `MaxOverTime`, `Masking`, `Reverse`, `MergeDirections`; stacked in a
  `Network`, stepped in a `Stream`, read by `load`
- training: `fit`, its `History` and `Checkpoint`; `SGD`, `RMSprop`, `Adam`, `AdamW`; schedules; losses; clipping
- estimators for scikit-learn: `SequenceClassifier`, `SequenceRegressor`, `SequenceTagger`, `Forecaster`,
  `TextGenerator`
- models of other systems: `from_torch`, `to_torch`, `from_keras`, `to_keras`, `from_onnx`, `to_onnx`, `from_rtneural`,
  `to_rtneural`, `to_c`; any file: `inspect`, `convert`; plain arrays: `from_arrays`, `to_arrays`, `Convention`,
  `CONVENTIONS`
- what runs: `backend`, `set_threads`, `get_threads`
- functions: activations with their derivatives, `softmax`, `softmax_jacobian`, `cross_entropy`
"""

from typing import TYPE_CHECKING, Any

from elman.cells import Activation, Cell
from elman.cells.activations import (
    ACTIVATIONS,
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
from elman.engine import backend, get_threads, set_threads
from elman.layers import (
    GRU,
    LSTM,
    RNN,
    Activate,
    Dense,
    Dropout,
    Embedding,
    LastStep,
    Layer,
    LayerNorm,
    Masking,
    MaxOverTime,
    MeanOverTime,
    MergeDirections,
    Recurrent,
    Reverse,
    Tape,
)
from elman.network import Network

if TYPE_CHECKING:
    from elman.estimators import (
        Forecaster,
        SequenceClassifier,
        SequenceRegressor,
        SequenceTagger,
        TextGenerator,
    )
    from elman.interop import (
        CONVENTIONS,
        Convention,
        convert,
        from_arrays,
        from_keras,
        from_onnx,
        from_rtneural,
        from_torch,
        inspect,
        to_arrays,
        to_c,
        to_keras,
        to_onnx,
        to_rtneural,
        to_torch,
    )
    from elman.saving import load
    from elman.streaming import Stream
    from elman.training import (
        SGD,
        AbsoluteError,
        Adam,
        AdamW,
        BinaryCrossEntropy,
        Checkpoint,
        CosineSchedule,
        CrossEntropy,
        History,
        Huber,
        LinearSchedule,
        Quantile,
        RMSprop,
        SquaredError,
        StepSchedule,
        clip_by_norm,
        clip_by_value,
        cross_entropy,
        fit,
    )

__version__ = "0.2.0"

__all__ = [
    "ACTIVATIONS",
    "CONVENTIONS",
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "AbsoluteError",
    "Activate",
    "Activation",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "Cell",
    "Checkpoint",
    "Convention",
    "CosineSchedule",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "DtypeError",
    "Embedding",
    "Forecaster",
    "FormatError",
    "History",
    "Huber",
    "LastStep",
    "Layer",
    "LayerNorm",
    "LinearSchedule",
    "Masking",
    "MaxOverTime",
    "MeanOverTime",
    "MergeDirections",
    "MissingExtraError",
    "Network",
    "Quantile",
    "RMSprop",
    "Recurrent",
    "Reverse",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "ShapeError",
    "SquaredError",
    "StepSchedule",
    "Stream",
    "Tape",
    "TextGenerator",
    "__version__",
    "backend",
    "clip_by_norm",
    "clip_by_value",
    "convert",
    "cross_entropy",
    "fit",
    "from_arrays",
    "from_keras",
    "from_onnx",
    "from_rtneural",
    "from_torch",
    "get_threads",
    "gru_step",
    "inspect",
    "load",
    "lstm_step",
    "relu",
    "relu_derivative",
    "rnn_step",
    "set_threads",
    "sigmoid",
    "sigmoid_derivative",
    "softmax",
    "softmax_jacobian",
    "tanh",
    "tanh_derivative",
    "to_arrays",
    "to_c",
    "to_keras",
    "to_onnx",
    "to_rtneural",
    "to_torch",
]

# Rooms that not every process needs; each is loaded with the first of its names.
_LATER = {
    "elman.estimators": ["Forecaster", "SequenceClassifier", "SequenceRegressor", "SequenceTagger", "TextGenerator"],
    "elman.saving": ["load"],
    "elman.streaming": ["Stream"],
    "elman.interop": [
        "CONVENTIONS",
        "Convention",
        "convert",
        "from_arrays",
        "from_keras",
        "from_onnx",
        "from_rtneural",
        "from_torch",
        "inspect",
        "to_arrays",
        "to_c",
        "to_keras",
        "to_onnx",
        "to_rtneural",
        "to_torch",
    ],
    "elman.training": [
        "SGD",
        "AbsoluteError",
        "Adam",
        "AdamW",
        "BinaryCrossEntropy",
        "Checkpoint",
        "CosineSchedule",
        "CrossEntropy",
        "History",
        "Huber",
        "LinearSchedule",
        "Quantile",
        "RMSprop",
        "SquaredError",
        "StepSchedule",
        "backend",
        "clip_by_norm",
        "clip_by_value",
        "cross_entropy",
        "fit",
    ],
}


def __getattr__(name: str) -> Any:
    for room, names in _LATER.items():
        if name in names:
            from importlib import import_module

            value = getattr(import_module(room), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'elman' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
