"""Fitted estimators as networks, from what users have to what `predict` gives them, with the scaling as layers.

Scale -> layers -> softmax, or the Scale back
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.estimators.spec import WindowSpec
from elman.estimators.windows import Moments
from elman.layers import Add, Dense, LastStep, Layer, MeanOverTime, Scale
from elman.network import Network

#: How far the rounding of what goes in may move a feature, in its deviations.
_TOLERANCE = 1e-3


def chain(network: Network, before: Sequence[Layer], after: Sequence[Layer]) -> Network:
    """A copy of a network with layers before and after it."""
    return Network([*before, *(layer.replace() for layer in network.layers), *after])


def scaling(mean: Array, scale: Array, dtype: Any, names: Sequence[str]) -> list[Layer]:
    """(x - mean) / scale, refused where the rounding of x to the dtype leaves little of it.

    A mean of more digits than the dtype has is taken off in two steps, of which the first one is exact near the mean.
    """
    lost = np.abs(mean) / scale * np.finfo(dtype).eps
    if (lost > _TOLERANCE).any():
        i = int(lost.argmax())
        raise ValueError(
            f'a network in {dtype} must be given features that it can tell apart; dtype="float64" can, or subtract a '
            f"number before fit. Got {names[i]} with mean {mean[i]:.3g} and deviation {scale[i]:.3g}."
        )
    _check_held(mean, 1 / scale, dtype)
    coarse = mean.astype(dtype).astype(np.float64) if (lost > _TOLERANCE / 1e3).any() else 0 * mean
    first: list[Layer] = [Scale(len(mean), coarse, 1.0)] if coarse.any() else []
    return [*first, Scale(len(mean), mean - coarse, 1 / scale)]


def unscaling(mean: Array, scale: Array, dtype: Any) -> Scale:
    """scale y + mean."""
    _check_held(-mean / scale, scale, dtype)
    return Scale(len(mean), -mean / scale, scale)


def _check_held(shift: Array, factor: Array, dtype: Any) -> None:
    limits = np.finfo(dtype)
    for values in (shift, factor):
        if (np.abs(values) > limits.max).any() or (np.abs(factor) < limits.tiny).any():
            must = f"a network in {dtype} must be given numbers of a size that it holds"
            raise ValueError(
                f"{must}; choose another unit. Got deviations from {factor.min():.3g} to {factor.max():.3g}."
            )


def forecasting(networks: Sequence[Network], spec: WindowSpec, moments: Sequence[Moments], fill: str | None) -> Network:
    """From windows (batch, window, V) of a series to forecasts (batch, horizon V), one step after another."""
    variables, known, past = spec.widths
    own = [m for m in moments if (m.mean != 0).any() or (m.scale != 1).any()]
    for name, given, must in (
        ("log", spec.log, False),
        ("difference", spec.difference or None, None),
        ("spread", spec.spread, False),
        ("segment", spec.segment, 1),
        ("quantiles", (spec.levels[:1] and len(spec.levels) > 1 and spec.levels) or None, None),
        ("fill", fill, None),
        ("exogenous", known or None, None),
        ("past", past or None, None),
        ("shared", spec.shared and variables > 1, False),
        ("standardize", bool(own and len(moments) > 1), False),
    ):
        if given != must:
            why = " of many series, each with its own scaling" if name == "standardize" else ""
            raise ValueError(
                f"{name} must be {must}{why} for the forecasts to be those of a network; networks_ read what is made "
                f"ready. Got {checks.show(given)}."
            )
    nodes: dict[str, Any] = {}
    steps, at = spec.horizon, "x"
    if own:
        names = [f"variable {v}" for v in range(variables)]
        nodes["scaled"] = Network(scaling(own[0].mean, own[0].scale, np.dtype("float32"), names)), at
        at = "scaled"
    if spec.level is not None:
        nodes["level"] = (LastStep() if spec.level == "last" else MeanOverTime(), at)
        nodes["below"] = (Scale(variables, 0.0, -1.0), "level")
        nodes["freed"], at = (Add(), at, "below"), "freed"
    members = [f"member {i}" for i in range(len(networks))]
    nodes |= {name: (net.replace(), at) for name, net in zip(members, networks, strict=True)}
    at = members[0]
    if len(members) > 1:
        nodes["sum"], at = (Add(), *members), "mean"
        nodes["mean"] = Scale(steps * variables, 0.0, 1 / len(members))
    if spec.level is not None:
        config = {
            "input_size": variables,
            "output_size": steps * variables,
            "activation": "identity",
            "dtype": "float32",
        }
        weights = {
            "W": np.tile(np.eye(variables, dtype=np.float32), steps),
            "b": np.zeros(steps * variables, np.float32),
        }
        nodes["ahead"] = (Dense.from_parameters(config, weights), "level")
        nodes["forecast"], at = (Add(), at, "ahead"), "forecast"
    if own:
        nodes["out"] = unscaling(np.tile(own[0].mean, steps), np.tile(own[0].scale, steps), np.dtype("float32")), at
    return Network(nodes)
