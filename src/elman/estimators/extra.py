"""The libraries of the extra "sklearn", in one place, so that one error names the command that installs them."""

# mypy: disable-error-code="import-untyped,import-not-found"

from elman.checks import missing_extra

try:
    import narwhals
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

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "RegressorMixin",
    "StandardScaler",
    "accuracy_score",
    "check_array",
    "check_classification_targets",
    "check_is_fitted",
    "check_random_state",
    "column_or_1d",
    "compute_class_weight",
    "narwhals",
    "r2_score",
    "train_test_split",
    "validate_data",
]
