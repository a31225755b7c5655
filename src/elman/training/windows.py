"""Which rows go into one pass forward and backward: batches of sequences, and windows of long ones.

Truncated backpropagation through time (Williams and Peng 1990) cuts each batch into windows. With (k1, k2) there is
an update every k1 steps, through the last k2:

    steps     0 ........ k1 ....... 2 k1 ...... 3 k1
    window 2        [ carried | new         ]           ends at 2 k1, begins k2 earlier; the loss of its last k1
    window 3                     [ carried | new   ]    steps counts. The state at its beginning comes from before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array
from elman.sequences import step_numbers
from elman.training.examples import Examples

Truncate = tuple[int, int]

POOL = 50  #: batches among which sequences are sorted by length


class Window(NamedTuple):
    """The steps `begin` to `end` of some sequences, of which those from `first_counted` on count."""

    sequences: Array  # indices of those that have steps that count
    begin: int
    first_counted: int
    end: int | None  # None: as far as each sequence goes
    next_begin: int  # where the next window of these sequences begins; 0: it needs no state

    def cut(self, examples: Examples) -> Examples:
        """The steps of the window."""
        some = examples.take(self.sequences, self.begin, self.end)
        if self.first_counted == self.begin:
            return some
        targets = []
        for target in some.targets:
            weight = target.weight
            counted = (step_numbers(target.y.lengths) + self.begin >= self.first_counted).astype(np.float64)
            counted = counted if weight is None else weight.values * counted
            targets.append(target._replace(weight=target.y.with_values(counted)))
        return Examples(some.x, tuple(targets))


def batches(lengths: Array, size: int, rng: np.random.Generator | None, by_length: bool) -> list[Array]:
    """Indices of the sequences of each batch of an epoch: in the order given without `rng`, else shuffled.

    With `by_length` sequences of similar length come together: they are sorted within pools of `POOL` batches, and
    the batches are shuffled again.
    """
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    if rng is None or not by_length:
        return [order[start : start + size] for start in range(0, len(order), size)]
    found = []
    for start in range(0, len(order), POOL * size):
        pool = order[start : start + POOL * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[i : i + size] for i in range(0, len(pool), size)]
    return [found[i] for i in rng.permutation(len(found))]


def windows(chosen: list[Array], lengths: Array, truncate: Truncate | None) -> Iterator[Window]:
    """The windows of each batch in turn; without `truncate` one per batch."""
    for batch in chosen:
        if truncate is None:
            yield Window(batch, 0, 0, None, 0)
            continue
        every, through = truncate
        longest = int(lengths[batch].max())
        for first_counted in range(0, longest, every):
            next_begin = first_counted + 2 * every - through if first_counted + every < longest else 0
            begin = max(0, first_counted + every - through)
            yield Window(
                batch[lengths[batch] > first_counted], begin, first_counted, first_counted + every, max(0, next_begin)
            )


def read_truncate(value: Any) -> Truncate | None:
    """`truncate` of the user: k or (k1, k2), k2 from k1 up; None for whole sequences."""
    if value is None:
        return None
    if not isinstance(value, (tuple, list)):
        every = checks.size("truncate", value)
        return every, every
    if len(value) != 2:
        raise ValueError(f"truncate must be k or (k1, k2). Got {checks.show(value)}.")
    every, through = checks.size("k1 of truncate", value[0]), checks.size("k2 of truncate", value[1])
    if through < every:
        raise ValueError(f"truncate must be (k1, k2) with k2 from k1 up. Got {checks.show(value)}.")
    return every, through


def map_state(function: Callable[[Array], Any], state: Any) -> Any:
    """A state with `function` of each array in it: an array, a tuple of them, or a list of these; None stays None."""
    if isinstance(state, (tuple, list)):
        return type(state)([map_state(function, part) for part in state])
    return None if state is None else function(state)


def select(state: Any, rows: Array) -> Any:
    """The rows of a state (batch, hidden)."""
    return map_state(lambda array: array[rows], state)
