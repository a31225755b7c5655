"""Texts as tokens: the place of each character in a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array


def read_texts(X: Any) -> list[str]:
    """One text, or those of a list."""
    if isinstance(X, str):
        if not X:
            raise ValueError("X must have at least one character. Got ''.")
        return [X]
    try:  # a data frame, iterated, is the names of its columns
        texts = None if isinstance(X, (bytes, dict)) or hasattr(X, "columns") else list(X)
    except MemoryError:
        raise checks.too_large("X", X) from None
    except checks.FAILURES:  # of what is no list of any kind
        texts = None
    if texts is None:
        raise TypeError(f"X must be a text, or a list of texts. Got {checks.describe(X)}.")
    if not texts:
        raise ValueError("X must hold at least one text. Got none.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X[{i}] must be a text. Got {checks.describe(text)}.")
        if not text:
            raise ValueError(f"X[{i}] must have at least one character. Got ''.")
    return texts


def place(X: Any, i: int) -> str:
    """The name of a text in an error."""
    return "X" if isinstance(X, str) else f"X[{i}]"


def encode(name: str, text: str, vocabulary: str, ends: bool) -> Array:
    """The tokens of a text, (characters,), with the mark of the ends around them where texts have one."""
    codes = np.array([ord(character) for character in vocabulary], np.int64)  # ascending, as the vocabulary is sorted
    given = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    tokens = np.minimum(np.searchsorted(codes, given), len(codes) - 1)
    unknown = codes[tokens] != given
    if unknown.any():
        at = int(unknown.argmax())
        raise ValueError(f"{name} must hold characters that fit saw. Got {text[at]!r} at position {at}.")
    return np.concatenate([[len(codes)], tokens, [len(codes)]]) if ends else tokens
