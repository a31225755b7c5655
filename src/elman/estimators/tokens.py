"""Tokens, whole numbers or text, as their places among the sorted tokens of fit, which an embedding takes."""

from __future__ import annotations

import warnings

import numpy as np

from elman import checks
from elman.checks import Array, DtypeError, ShapeError
from elman.tables.places import is_missing, show

_KINDS = {"i": "whole numbers", "U": "text"}


def encode(parts: list[Array], known: Array | None) -> tuple[list[Array], Array]:
    """The places (time_i,) of the tokens of each sequence, and the sorted tokens: those of fit where `known`."""
    parts = [_tokens(f"X[{i}]", part) for i, part in enumerate(parts)]
    like, of = (parts[0], "X[0]") if known is None else (known, "fit")
    for i, part in enumerate(parts):
        if part.dtype.kind != like.dtype.kind:
            must = f"{_KINDS[like.dtype.kind]}, as {of} has"
            raise DtypeError(f"X[{i}] must hold {must}. Got {show(part[0])} at step 0.")
    tokens = np.unique(np.concatenate(parts)) if known is None else known
    codes = [np.minimum(np.searchsorted(tokens, part), len(tokens) - 1) for part in parts]
    for i, (part, code) in enumerate(zip(parts, codes, strict=True)):
        if (wrong := tokens[code] != part).any():
            (step,) = checks.first(wrong)
            raise ValueError(
                f"X must hold tokens that fit has seen. Got {show(part[step])} at sequence {i}, step {step}."
            )
    return codes, tokens


def ask(part: Array, certain: bool) -> None:
    """Asks whether sequences of whole numbers, of which this is the first, are tokens or numbers.

    Lists are refused, `certain` to be asked about; the rows of an array are taken as numbers with a warning.
    """
    words = (
        "X must hold floats where its whole numbers are values; where they are tokens, embedding=16 gives each a "
        f"vector of 16 numbers. Got sequences of whole numbers, of which X[0] begins with "
        f"{', '.join(f'{entry:.0f}' for entry in part[:3])}"
    )
    if certain:
        raise DtypeError(f"{words}.")
    warnings.warn(f"{words}: they are taken as values.", UserWarning, stacklevel=6)


def _tokens(name: str, part: Array) -> Array:
    """The tokens (time,) of a sequence, whole numbers as int64 or text."""
    if part.ndim != 1 or not len(part):
        raise ShapeError(f"{name} must have shape (time,), one token per step. Got {part.shape}.")
    if part.dtype.kind == "u" and part.max() < 2**63:
        part = part.astype(np.int64)
    if part.dtype.kind not in _KINDS:
        text, held = isinstance(part[0], str), part.tolist()  # text beside whole numbers is neither
        right = [type(one) is str if text else type(one) is int and abs(one) < 2**63 for one in held]
        wrong = np.flatnonzero(np.logical_not(right)).tolist()
        step = next((i for i in wrong if is_missing(part[i])), (wrong or [0])[0])
        must = "tokens, whole numbers of 64 bits or text"
        raise DtypeError(f"{name} must hold {must}. Got {show(part[step])} at step {step}.")
    return part.astype(np.int64) if part.dtype.kind == "i" else part
