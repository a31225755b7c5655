"""The check of the exercises: what differs first from a trace, in the order in which it is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def first_difference(mine: Mapping[str, Any], right: Any, step: int | None = None, backward: bool = False) -> str:
    """Names the first gate or gradient of yours that differs from a trace, or from other arrays by name.

    mine: name -> array, in the order of your equations: of all steps (time, ...), or of one where `step` is given.
    What is computed first is said first: the earliest step, with `backward` the latest.
    """
    found = []
    for order, (name, value) in enumerate(mine.items()):
        wanted = np.asarray(right[name])
        wanted = wanted if step is None else wanted[step]
        value = np.asarray(value, dtype=float)
        if value.shape != wanted.shape:
            return f"{name} must have shape {wanted.shape}. Yours has {value.shape}."
        close = {"rtol": 1e-3, "atol": 1e-4} if wanted.dtype == np.float32 else {"rtol": 1e-6, "atol": 1e-9}
        for place in np.argwhere(~np.isclose(value, wanted, **close)):
            first = 0 if step is not None else -place[0] if backward else place[0]
            found.append((first, order, tuple(int(i) for i in place), name, value, wanted))
    if not found:
        return f"All agree: {', '.join(mine)}."
    _, _, place, name, value, wanted = min(found, key=lambda one: one[:3])
    return f"{name} differs first, at {place}: {value[place]:.6f} in yours, {wanted[place]:.6f} is right."
