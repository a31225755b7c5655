"""Losses, each with its derivative beneath; last the cross-entropy of probabilities, where the losses take logits.

Notation: p the prediction (..., K), t the target, L the loss of a row (...,): a step of a sequence, or a vector.
`derivative` is that of the sum of all rows by p. The means that training minimizes are taken by `fit`, over the
real rows of a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from elman import checks
from elman.cells.functions import sigmoid
from elman.checks import Array, ShapeError


class Loss:
    """The base of losses: a subclass gives `rows` and `rows_derivative`, and what targets it takes.

    Called as ``loss(prediction, target, mask=None)`` it gives the loss of each row, and
    ``loss.derivative(prediction, target, mask=None)`` the gradient of their sum by the prediction. Rows where the
    mask is false have loss 0 and gradient 0, whatever stands in them. `elman.fit` minimizes the mean over the rows.

    With ``whole_sequences = True`` a row is a sequence: both get lists of predictions (time_i, K) and of targets, and
    give losses (sequences,) and a list of gradients. With ``targets_by_step = False`` besides, y has one array per
    sequence, of any length. See docs/own.md.

    Raises `ShapeError` for predictions or targets of a shape that does not fit, `ValueError` for targets out of bounds.

    >>> import numpy as np, elman
    >>> loss = elman.SquaredError()  # a subclass
    >>> isinstance(loss, elman.Loss), loss(np.ones((3, 2)), np.zeros((3, 2)), mask=[True, True, False])
    (True, array([1., 1., 0.]))
    """

    integers: ClassVar[bool] = False  #: targets are whole numbers
    whole_sequences: ClassVar[bool] = False  #: a row is a whole sequence, not a step of one
    targets_by_step: ClassVar[bool] = True  #: of whole sequences too; else `tails` gives the shapes of a sequence's own

    def rows(self, prediction: Any, target: Any) -> Array:
        """The loss of each row (...,), for read-only arrays that fit; a real target has rank as prediction."""
        raise NotImplementedError

    def rows_derivative(self, prediction: Any, target: Any) -> Any:
        """The gradient (..., K) of the sum of `rows` by the prediction."""
        raise NotImplementedError

    def tails(self, width: int) -> Sequence[tuple[int | str, ...]]:
        """The shapes that the target of a row may have; of a sequence's own a word is any number: [("labels",)]."""
        return [(), (1,)] if width == 1 else [(width,)]

    def bounds(self, width: int) -> tuple[float, float] | None:
        """The least and the largest value a target may hold, None where any will do."""
        return None

    def check_width(self, width: int) -> None:
        """Refuses predictions of a width that the loss has no use for."""

    def __call__(self, prediction: Any, target: Any, mask: Any = None) -> Any:
        """The loss of each row, (...,), for a prediction (..., K)."""
        prediction, target, mask = self._read(prediction, target, mask)
        loss = self.rows(prediction, target)
        return loss if mask is None else np.where(mask, loss, 0)

    def derivative(self, prediction: Any, target: Any, mask: Any = None) -> Any:
        """The gradient of the sum of all rows by the prediction, in its shape."""
        prediction, target, mask = self._read(prediction, target, mask)
        gradient = self.rows_derivative(prediction, target)
        return gradient if mask is None else np.where(mask[..., None], gradient, 0)

    def _read(self, prediction: Any, target: Any, mask: Any) -> tuple[Array, Array, Array | None]:
        """The arguments as arrays that fit each other; masked rows hold zeros."""
        if self.whole_sequences:
            raise TypeError(f"a loss of whole sequences must be asked by its rows and rows_derivative. Got {self!r}.")
        prediction = checks.real_array("prediction", prediction)
        if prediction.ndim == 0 or prediction.shape[-1] == 0:
            raise ShapeError(f"prediction must have shape (..., K), K from 1 up. Got {prediction.shape}.")
        *outer, width = prediction.shape
        self.check_width(width)
        read = checks.number_array if self.integers else functools.partial(checks.real_array, dtype=prediction.dtype)
        target = read("target", target)
        checks.shape("target", target, *((*outer, *tail) for tail in self.tails(width)))
        if not self.integers:
            target = target.reshape(*outer, -1)
        if mask is not None:
            mask = checks.boolean_array("mask", mask)
            checks.shape("mask", mask, tuple(outer))
            prediction = np.where(mask[..., None], prediction, 0)
            target = np.where(mask if self.integers else mask[..., None], target, 0)
        self._check("target", target, width, mask is not None, lambda index: "")
        return prediction, target.astype(np.int64) if self.integers else target, mask

    def _check(
        self, name: str, target: Array, width: int, masked: bool, where: Callable[[tuple[int, ...]], str]
    ) -> None:
        """Refuses labels that are not whole numbers, of floats where there is no mask, and what is out of bounds."""
        if self.integers and target.dtype.kind not in "iu":
            whole = target == np.floor(target)
            wrong = ~(np.isfinite(target) & whole) if masked else ~np.isfinite(target)
            if wrong.any():
                index = checks.first(wrong)
                which, hint = (" where mask is true", "") if masked else ("", " A mask leaves out what is missing.")
                raise checks.DtypeError(f"{name} must hold integers{which}. Got {target[index]}{where(index)}.{hint}")
            if not masked or target.dtype.kind == "b":
                hint = f" {name}.astype(int) makes them integers." if whole.all() else ""
                raise checks.DtypeError(f"{name} must hold integers. Got an array of dtype {target.dtype}.{hint}")
        low, high = self.bounds(width) or (-np.inf, np.inf)
        wrong = (target < low) | (target > high)
        if wrong.any():
            kind, index = "integers" if self.integers else "numbers", checks.first(wrong)
            raise ValueError(f"{name} must hold {kind} from {low} to {high}. Got {target[index]}{where(index)}.")


class Paired(Loss):
    """A loss whose rows and derivative share their work: a subclass gives those of each element, or `both` of a row."""

    def _elements(self, p: Array, t: Array) -> tuple[Array, Array]:
        """The loss of each element, and its derivative by p; the loss of a row is the mean over the last axis."""
        raise NotImplementedError

    def both(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """`rows` and `rows_derivative` together, as training asks for them."""
        loss, derivative = self._elements(prediction, target)
        return np.asarray(loss.mean(axis=-1)), derivative / prediction.shape[-1]

    def rows(self, prediction: Array, target: Array) -> Array:
        return self.both(prediction, target)[0]

    def rows_derivative(self, prediction: Array, target: Array) -> Array:
        with np.errstate(over="ignore"):  # of the loss, which is not asked for
            return self.both(prediction, target)[1]


@dataclass(frozen=True)
class CrossEntropy(Paired):
    """L = log(sum_k exp(p_k)) - p_t, for logits p (..., K) and integer labels t (...,) from 0 to K - 1.

    The cross-entropy between the label and softmax(p), never negative, finite for logits of any ordinary size.
    Masked labels may hold anything, -1 for one. Raises `ValueError` for a label out of range. PyTorch's
    ``CrossEntropyLoss`` is the same with classes on axis 1, Keras's ``SparseCategoricalCrossentropy`` with
    ``from_logits=True``. Source: Bridle 1990; the largest p is taken off first, as Blanchard, Higham and Higham
    2021 (equation 1.5) show to be safe.

    >>> CrossEntropy()([[1e4, -1e4], [0.0, 0.0]], [0, 1]).round(4).tolist()
    [0.0, 0.6931]
    """

    integers: ClassVar[bool] = True

    def both(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        p = prediction.reshape(-1, prediction.shape[-1])
        label = np.arange(len(p)), target.reshape(-1)
        e = p - p.max(axis=-1, keepdims=True)  # (N, K), at most 0; what follows goes on in its memory
        chosen = e[label]
        np.exp(e, out=e)
        total = e.sum(axis=-1, keepdims=True)
        loss = np.log(total[:, 0]) - chosen
        e /= total  # softmax(p), and 1 less at the label
        e[label] -= 1
        return loss.reshape(target.shape), e.reshape(prediction.shape)

    def tails(self, width: int) -> list[tuple[int, ...]]:
        return [()]

    def bounds(self, width: int) -> tuple[float, float]:
        return 0, width - 1


@dataclass(frozen=True)
class BinaryCrossEntropy(Paired):
    """L = mean_k(log(1 + exp(p_k)) - t_k p_k), for logits p (..., K) and t from 0 to 1 in the shape of p.

    K questions of yes or no, each answered by itself: sigmoid(p) is the probability of yes. Written as
    max(p, 0) - t p + log(1 + exp(-|p|)), in which nothing overflows. t may be (...,) where K is 1. Raises
    `ValueError` for a t under 0 or over 1. PyTorch: ``BCEWithLogitsLoss``. Source: Goodfellow, Bengio, Courville
    2016, section 6.2.2.2.

    >>> BinaryCrossEntropy()([[1e4, -1e4], [0.0, 0.0]], [[1, 0], [1, 0]]).round(4).tolist()
    [0.0, 0.6931]
    """

    def _elements(self, p: Array, t: Array) -> tuple[Array, Array]:
        return np.maximum(p, 0) - t * p + np.log1p(np.exp(-np.abs(p))), sigmoid(p) - t

    def bounds(self, width: int) -> tuple[float, float]:
        return 0, 1


@dataclass(frozen=True)
class SquaredError(Paired):
    """L = mean_k (p_k - t_k)^2, for p (..., K) and t in its shape, or (...,) where K is 1.

    The prediction that minimizes it is the mean. PyTorch: ``MSELoss``.

    >>> SquaredError()([[1.0, 2.0]], [[1.0, 4.0]]).tolist()
    [2.0]
    """

    def _elements(self, p: Array, t: Array) -> tuple[Array, Array]:
        e = p - t
        return e * e, 2 * e


@dataclass(frozen=True)
class AbsoluteError(Paired):
    """L = mean_k |p_k - t_k|, for p (..., K) and t in its shape, or (...,) where K is 1.

    The prediction that minimizes it is the median. Where p = t the derivative is taken as 0. PyTorch: ``L1Loss``.

    >>> AbsoluteError()([[1.0, 2.0]], [[1.0, 4.0]]).tolist()
    [1.0]
    """

    def _elements(self, p: Array, t: Array) -> tuple[Array, Array]:
        e = p - t
        return np.abs(e), np.sign(e)


@dataclass(frozen=True)
class Huber(Paired):
    """With e = p - t: L = mean_k of e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) beyond.

    Squared error for small errors, absolute for large ones. For p (..., K) and t in its shape, or (...,) where K
    is 1; `delta` is over 0, in the units of p. PyTorch's ``HuberLoss`` is the same, its ``SmoothL1Loss`` is this
    divided by delta. Source: Huber 1964, section 7.

    >>> Huber(delta=1.0)([[0.5], [3.0]], [0.0, 0.0]).tolist()
    [0.125, 2.5]
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        checks.number("delta", self.delta, 0, open_low=True)

    def _elements(self, p: Array, t: Array) -> tuple[Array, Array]:
        e = p - t
        size = np.abs(e)
        near = np.minimum(size, self.delta)
        return near * (size - near / 2), np.clip(e, -self.delta, self.delta)


@dataclass(frozen=True)
class Quantile(Paired):
    """The pinball loss: L = mean_q of q (t - p_q) where t >= p_q, (1 - q) (p_q - t) elsewhere.

    The prediction that minimizes it is the q-quantile. `levels` is one level, over 0 and under 1, or a tuple of Q
    of them; p is (..., Q), one value per level, and t (..., 1), or (..., Q) with a target for each; (...,) where
    there is one level. Where p = t the derivative is taken as 0. Source: Koenker and Bassett 1978.

    >>> Quantile((0.1, 0.9))([[2.0, 2.0]], [[3.0]]).round(4).tolist()
    [0.5]
    """

    levels: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        levels: Any = self.levels
        if isinstance(levels, np.ndarray):
            array = checks.real_array("levels", levels)
            checks.shape("levels", array, ("levels",), ())
            levels = array.tolist()
        object.__setattr__(self, "levels", tuple(levels) if isinstance(levels, (list, tuple)) else levels)
        for level in self._all:
            checks.number("levels", level, 0, 1, open_low=True)
            if level == 1:
                raise ValueError("levels must be under 1. Got 1.")
        if not self._all:
            raise ValueError("levels must hold at least one level. Got ().")

    @property
    def _all(self) -> tuple[float, ...]:
        return self.levels if isinstance(self.levels, tuple) else (self.levels,)

    def _elements(self, p: Array, t: Array) -> tuple[Array, Array]:
        e, q = t - p, np.array(self._all, p.dtype)
        derivative = np.where(e > 0, -q, np.where(e < 0, 1 - q, 0)).astype(p.dtype, copy=False)
        return np.maximum(q * e, (q - 1) * e), derivative

    def tails(self, width: int) -> list[tuple[int, ...]]:
        return [(), (1,)] if width == 1 else [(1,), (width,)]

    def check_width(self, width: int) -> None:
        if width != len(self._all):
            must = f"prediction must have {len(self._all)} values per row, one per level of Quantile"
            raise ShapeError(f"{must}. Got {width}.")


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "quantile": Quantile,
}


def as_loss(value: str | Loss) -> Loss:
    """A loss from its name in `LOSSES`, or from itself.

    Raises `TypeError` for a loss of one's own with methods that training would not ask.

    >>> as_loss("huber")
    Huber(delta=1.0)
    """
    if not isinstance(value, Loss):
        return LOSSES[checks.choice("loss", value, LOSSES)]()
    kind, own = type(value), vars(value)
    for name in ("__call__", "derivative"):
        if getattr(kind, name) is not getattr(Loss, name) or name in own:
            raise TypeError(
                f"{kind.__name__} must give rows and rows_derivative, which {name} uses. Got its own {name}."
            )
    for name in ("rows", "rows_derivative"):
        if getattr(kind, name) is getattr(Loss, name) and name not in own:
            raise TypeError(f"{kind.__name__} must have a method {name}, see Loss. Got none.")
    if not (value.targets_by_step or value.whole_sequences):
        raise TypeError(f"{kind.__name__} must have whole_sequences where targets_by_step is False. Got False.")
    return value


def cross_entropy(y: Any, y_pred: Any, axis: int = -1) -> Any:
    """L = -sum_k y_k log(y_pred_k), from probabilities.

    `y` and `y_pred` are arrays of one shape; `y` is one-hot, or holds probabilities. The result lacks `axis`. The
    logarithm of 0 is taken as that of the smallest normal number of the dtype, so L is finite: at most 708.4 in
    float64 and 87.3 in float32 for a one-hot y. float64, unless both are float32. To train from integer labels
    and logits, `CrossEntropy` is exact where this saturates.

    Raises `ShapeError` where the shapes differ, `ValueError` where a number is no probability, or those along `axis`
    do not sum to 1 to within 0.001. Source: Goodfellow, Bengio, Courville 2016, section 3.13.

    >>> cross_entropy([[1, 0], [0, 1]], [[0.5, 0.5], [1.0, 0.0]]).round(4).tolist()
    [0.6931, 708.3964]
    """
    y, y_pred = _probabilities(y, y_pred)
    axis = checks.axis("axis", axis, y_pred)
    for name, array in (("y", y), ("y_pred", y_pred)):
        total = array.sum(axis=axis, dtype=np.float64)
        wrong = np.abs(total - 1) > _ROUNDING
        if wrong.any():
            got = f"Got a sum of {total[wrong][0]:.6g}.{_OTHER_LOSS}"
            raise ValueError(f"{name} must sum to 1 along axis {axis}. {got}")
    return -(y * np.log(np.maximum(y_pred, np.finfo(y_pred.dtype).tiny))).sum(axis=axis)


def cross_entropy_derivative(y: Any, y_pred: Any) -> Any:
    """dL/dy_pred = -y / y_pred, in the shape of y_pred.

    Under the smallest normal number it is the slope at that number: finite, and not lost.

    >>> cross_entropy_derivative([1, 0], [0.5, 0.5]).tolist()
    [-2.0, 0.0]
    """
    y, y_pred = _probabilities(y, y_pred)
    return 0 - y / np.maximum(y_pred, np.finfo(y_pred.dtype).tiny)  # "0 -" rather than a sign: no negative zeros


_ROUNDING = 1e-3  #: how far a sum of probabilities may be from 1
_OTHER_LOSS = " The loss of logits and whole labels is elman.CrossEntropy()."


def _probabilities(y: Any, y_pred: Any) -> tuple[Array, Array]:
    y_pred = checks.real_array("y_pred", y_pred)
    if y_pred.ndim == 0:
        raise ShapeError("y_pred must have shape (..., classes). Got ().")
    y = checks.real_array("y", y)
    if y.shape != y_pred.shape:
        raise ShapeError(f"y must have shape {y_pred.shape}. Got {y.shape}.{_OTHER_LOSS}")
    for name, array in (("y", y), ("y_pred", y_pred)):
        wrong = ~((array >= -1e-6) & (array <= 1 + _ROUNDING))
        if wrong.any():
            got = f"Got {array[wrong][0]} at {checks.place(name, checks.first(wrong))}.{_OTHER_LOSS}"
            raise ValueError(f"{name} must hold probabilities, from 0 to 1. {got}")
    dtype = checks.common_dtype(y, y_pred)
    return y.astype(dtype, copy=False), y_pred.astype(dtype, copy=False)
