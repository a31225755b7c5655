"""elman: recurrent neural networks for Python on the CPU, NumPy arrays in and out.

- steps: `rnn_step`, `lstm_step`, `gru_step`, and the functions in them, activations with their derivatives
- layers: `RNN`, `LSTM`, `GRU`, `Recurrent` (with a `Cell` of your own), `Dense`, `Embedding` and others, stacked in a
  `Network`, stepped in a `Stream`, read by `load`
- training: `fit`, with losses, optimizers, schedules, clipping; its `History` and `Checkpoint`
- estimators for scikit-learn: `SequenceClassifier` and others
- models of other systems: `from_torch`, `to_torch` and their like; any file: `inspect`, `convert`; plain arrays:
  `from_arrays`, `to_arrays`
- seeing: `trace`, `explain`, `gradient_check`, `find_convention`
- what runs: `backend`, `set_threads`, `get_threads`

`dir(elman)` has all names.
"""

from importlib import import_module
from typing import Any

import elman.network  # noqa: F401 (the core, which most programs need; the other rooms come with their first name)

__version__ = "0.5.0"

#: The public names by the module that has them. For type checkers they stand in `__init__.pyi`.
_NAMES = {
    "cells": "Activation Cell",
    "cells.activations": "ACTIVATIONS",
    "cells.functions": """
        relu relu_derivative sigmoid sigmoid_derivative softmax softmax_jacobian tanh tanh_derivative
    """,
    "cells.gru": "gru_step",
    "cells.lstm": "lstm_step",
    "cells.rnn": "rnn_step",
    "checks": "DtypeError FormatError MissingExtraError ShapeError",
    "engine": "backend get_threads set_threads",
    "estimators": "Forecaster SequenceClassifier SequenceRegressor SequenceTagger TextGenerator",
    "insight.tracing": "trace",
    "interop": """
        CONVENTIONS Convention convert from_arrays from_keras from_onnx from_rtneural from_torch inspect to_arrays to_c
        to_keras to_onnx to_rtneural to_torch
    """,
    "graph": "Node",
    "insight": "dynamics plots",
    "insight.attributing": "attribution",
    "insight.curvature": "hessian_product",
    "insight.checking": "gradient_check",
    "insight.finding": "find_convention",
    "insight.worked": "explain",
    "layers": """
        GRU LSTM RNN Activate Add Attention AveragePool1d BatchNorm Bidirectional Concatenate Conv1d Dense Dropout
        Embedding Joining LastStep LastSteps Layer LayerNorm Masking MaxOverTime MaxPool1d MeanOverTime MergeDirections
        Multiply Recurrent Repeat Reverse Scale Tape
    """,
    "network": "Network",
    "opening": "load",
    "streaming": "Stream",
    "training": """
        SGD AbsoluteError Adam AdamW BinaryCrossEntropy Checkpoint CosineSchedule CrossEntropy History Huber
        LinearSchedule Loss Optimizer Quantile RMSprop SquaredError StepSchedule clip_by_norm clip_by_value
        cross_entropy fit
    """,
}
_MODULES = {name: f"elman.{module}" for module, names in _NAMES.items() for name in names.split()}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
