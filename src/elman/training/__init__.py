"""Training: losses, optimizers, schedules, and the loop that uses them."""

from elman.training.checkpoints import Checkpoint
from elman.training.clipping import clip_by_norm, clip_by_value, global_norm
from elman.training.fitting import fit
from elman.training.history import Epoch, History
from elman.training.losses import (
    LOSSES,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    Quantile,
    SquaredError,
    as_loss,
)
from elman.training.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from elman.training.probabilities import cross_entropy, cross_entropy_derivative
from elman.training.schedules import CosineSchedule, LinearSchedule, StepSchedule

__all__ = [
    "LOSSES",
    "SGD",
    "AbsoluteError",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "Checkpoint",
    "CosineSchedule",
    "CrossEntropy",
    "Epoch",
    "History",
    "Huber",
    "LinearSchedule",
    "Loss",
    "Optimizer",
    "Quantile",
    "RMSprop",
    "SquaredError",
    "StepSchedule",
    "as_loss",
    "clip_by_norm",
    "clip_by_value",
    "cross_entropy",
    "cross_entropy_derivative",
    "fit",
    "global_norm",
]
