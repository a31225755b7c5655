"""How the gradient of a loss changes along a direction: products of its Hessian with a vector."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.insight.trees import check_finite
from elman.layers import Layer
from elman.layers.layer import Gradients
from elman.sequences import Several
from elman.training.examples import Examples, read_examples, read_losses

_FIRST = 0.1  # the first step along v, whose largest entry counts as 1
_HALVINGS = 24  # of the step, at most
_ORDERS = 6  # terms that are taken off
_LEAST = 1e-6  # of its size: a product that may be off by more is told


def hessian_product(
    net: Layer,
    loss: Any,
    x: Any,
    y: Any,
    v: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> dict[str, Array]:
    """H v, of the Hessian H of the mean loss by all parameters and a vector v: how the gradient changes along v.

    Parameters
    ----------
    net
        A network or a layer. Nothing is dropped out, and what is measured of batches stays as it is.
    loss, x, y
        As for `elman.fit`: the loss is the weighted mean over all rows.
    v
        Parameter name -> array of its shape; a name that is left out counts as 0.
    lengths, mask, sample_weight, class_weight
        As for `elman.fit`.

    Returns
    -------
    product
        Parameter name -> array of its shape, float64, in the order of `net.parameters`.

    The product is the limit of (g(theta + t v) - g(theta - t v)) / 2 t, where g is the exact gradient in float64: t is
    halved, and the differences are extrapolated to t = 0 until they are at their best (Ridders 1982). That takes 10 to
    50 gradients. For smooth networks and losses it gives ten digits and more: u . H v and v . H u agree to 1e-8 of
    their size. Fewer digits than six are told by a warning, as where relu or a pool over the largest has a kink at
    theta itself, or where gradients explode.

    Raises `ShapeError`, `DtypeError` or `ValueError` where something does not fit. Source: Pearlmutter 1994, section 1,
    for products without the Hessian; Ridders 1982, Advances in Engineering Software 4.

    >>> import numpy as np, elman
    >>> net = elman.Dense(1, 1, dtype="float64", seed=0)
    >>> x = np.array([[[1.0], [3.0]]])  # L = mean (x W + b)^2: H = 2 mean ((x, 1) (x, 1)^T)
    >>> product = elman.hessian_product(net, "squared_error", x, 0 * x, {"W": [[1.0]]})
    >>> {name: array.round(8).tolist() for name, array in product.items()}
    {'W': [[10.0]], 'b': [4.0]}
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net must be a network or a layer. Got {checks.show(net)}.")
    net = net.astype("float64")
    weights = {"mask": mask, "sample_weight": sample_weight, "class_weight": class_weight}
    data = read_examples(net, x, y, lengths, read_losses(net, loss), **weights)
    names, direction = [*net.parameters], _direction(net, v)
    size = np.abs(direction).max(initial=0)
    if not size:
        return {name: np.zeros(array.shape) for name, array in net.parameters.items()}
    start = {name: array.copy() for name, array in net.parameters.items()}
    largest = max(np.abs(array).max() for array in _gradient(net, data).values())

    def slope(t: float) -> Array:
        """(g(theta + t v) - g(theta - t v)) / 2 t."""
        both = []
        for sign in (t, -t):
            for name, part in _split(sign * direction, start).items():
                net.parameters[name][...] = start[name] + part
            gradients = _gradient(net, data)
            both.append(np.concatenate([gradients[name].ravel() for name in names]))
        return np.asarray((both[0] - both[1]) / (2 * t))

    product, error = _limit(slope, _FIRST / size)
    if not np.isfinite(product).all():
        raise ValueError("net and loss must give finite gradients around their parameters. Got others.")
    slight = 1e-9 * size * largest  # what rounding makes of a product that is 0
    if error > _LEAST * np.abs(product).max() + slight:
        off = error / np.abs(product).max(initial=np.finfo(np.float64).tiny)
        warnings.warn(f"the product may be off by {off:.1g} of its size: gradients change in leaps.", stacklevel=2)
    return _split(product, start)


def _limit(slope: Callable[[float], Array], t: float) -> tuple[Array, float]:
    """What slope(t) goes to as t goes to 0, and about how far that may be off: Ridders's extrapolation.

    The error of a slope is a series in t^2; each column takes one term off.
    """
    row = [slope(t)]
    best, error, waited = row[0], np.inf, 0
    for _ in range(_HALVINGS):
        t, before, row, waited = t / 2, row, [slope(t / 2)], waited + 1
        for order, coarse in enumerate(before[:_ORDERS], 1):
            row.append(row[-1] + (row[-1] - coarse) / (4.0**order - 1))
            change = float(max(np.abs(row[-1] - row[-2]).max(), np.abs(row[-1] - coarse).max()))
            if change < error:
                best, error, waited = row[-1], change, 0
        size = np.abs(best).max()
        if error <= 1e-13 * size or (error <= 1e-6 * size and waited == 3):  # from there on rounding has the upper hand
            break
    return best, error


def _gradient(net: Layer, data: Examples) -> Gradients:
    """The gradient of the mean loss by every parameter."""
    y, _, kept = net.run(data.x, None, None, keep=True)
    pairs = zip(y.named.items(), data.targets, strict=True)
    dys = {name: target.measure(output, backward=True)[1] / (target.total or 1.0) for (name, output), target in pairs}
    gradients: Gradients = net.run_back(kept, dys if isinstance(y, Several) else dys["x"], None)[2]
    return gradients


def _direction(net: Layer, v: Any) -> Array:
    """v as one vector."""
    given: Mapping[str, Any] = checks.mapping("v", v, "of names of parameters to arrays")
    for name in given:
        checks.choice("a name in v", name, net.parameters)
    parts = []
    for name, own in net.parameters.items():
        array = checks.real_array(f"v[{name!r}]", given.get(name, np.zeros(own.shape)), np.float64)
        checks.shape(f"v[{name!r}]", array, own.shape)
        parts.append(array.ravel())
    direction = np.concatenate([*parts, np.zeros(0)])
    check_finite("v", direction)
    return direction


def _split(vector: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """A vector as arrays by name."""
    ends = np.cumsum([array.size for array in like.values()])
    pairs = zip(like.items(), np.split(vector, ends[:-1]), strict=True)
    return {name: part.reshape(array.shape).copy() for (name, array), part in pairs}
