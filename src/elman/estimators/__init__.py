"""Estimators: scikit-learn citizens that read sequences.

`SequenceClassifier` and `SequenceRegressor` give one answer per sequence, `SequenceTagger` one label per step;
`Forecaster` goes on with series, `TextGenerator` with texts.
"""

from elman.estimators.classifier import SequenceClassifier
from elman.estimators.forecaster import Forecaster
from elman.estimators.regressor import SequenceRegressor
from elman.estimators.tagger import SequenceTagger
from elman.estimators.text import TextGenerator

__all__ = ["Forecaster", "SequenceClassifier", "SequenceRegressor", "SequenceTagger", "TextGenerator"]
