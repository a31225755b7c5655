"""The libraries of the extra "sklearn", in one place, so that one error names the command that installs them."""

# mypy: disable-error-code="import-untyped,import-not-found"

from typing import Any

import numpy as np

from elman.checks import is_whole, missing_extra, show

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import check_array, check_random_state, column_or_1d
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise missing_extra("the estimators of elman", "sklearn") from None


def random_generator(random_state: Any, checkpoint: Any = None) -> np.random.RandomState:
    """What scikit-learn takes for a `random_state`: None, a whole number, or a generator of the kind it uses.

    With a checkpoint None is refused: the next call would begin with other weights, and not go on.
    """
    known = random_state is None or random_state is np.random or isinstance(random_state, np.random.RandomState)
    if not known and not (is_whole(random_state) and 0 <= random_state < 2**32):
        must = "random_state must be a whole number from 0 to 4294967295, a numpy.random.RandomState, or None"
        raise ValueError(f"{must}. Got {show(random_state)}.")
    if checkpoint is not None and random_state is None:
        raise ValueError("random_state must be given where checkpoint is, for the run to go on from it. Got None.")
    return check_random_state(random_state)


__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "RegressorMixin",
    "StandardScaler",
    "accuracy_score",
    "check_array",
    "check_classification_targets",
    "check_is_fitted",
    "column_or_1d",
    "compute_class_weight",
    "r2_score",
    "random_generator",
    "train_test_split",
    "validate_data",
]
