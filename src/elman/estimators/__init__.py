"""Estimators: scikit-learn citizens that read sequences.

`SequenceClassifier` and `SequenceRegressor` give one answer a sequence, `SequenceTagger` a label a step.
"""

from elman.estimators.classifier import SequenceClassifier
from elman.estimators.regressor import SequenceRegressor
from elman.estimators.tagger import SequenceTagger

__all__ = ["SequenceClassifier", "SequenceRegressor", "SequenceTagger"]
