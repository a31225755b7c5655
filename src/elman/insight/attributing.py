"""Which values of the input an output comes of: integrated gradients, and gradient times input.

With F an output of one sequence and x' a baseline in the place of its input x:

    integrated gradients     (x - x') int_0^1 dF/dx(x' + a (x - x')) da       their sum is F(x) - F(x')
    gradient times input     (x - x') dF/dx(x)

Sources: Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks", sections 3 and 5; Shrikumar and
others 2016. The integral is by the rule of Gauss and Legendre, in float64. Tokens have no gradient: the vectors in
their place do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.graph import Node
from elman.insight.shares import Attribution, Attributions
from elman.layers import Dropout, Embedding, Layer
from elman.layers.nesting import LastState, computes_otherwise, flat_nodes
from elman.network import Network
from elman.sequences import Sequences, Several, by_name

METHODS = ("integrated_gradients", "gradient_x_input")
_ROWS = 1 << 14  # steps that go through the network at a time, so that memory does not grow with x
_GAP = 0.01  # of the sizes of all shares: a sum that misses the difference by more is told


def attribution(
    net: Layer,
    x: Any,
    target: Any = None,
    method: str = "integrated_gradients",
    baseline: Any = 0,
    *,
    lengths: Any = None,
    steps: int = 64,
) -> Any:
    """The share of every value of the input in an output of each sequence.

    Parameters
    ----------
    net
        A network, or a layer. Nothing is dropped out. That of an estimator is its `to_network()`.
    x
        As the network takes it: (batch, time, features), one sequence, a list, a dict by input; tokens (batch, time).
    target
        Which output F of a sequence is: its place among the outputs, one for all or (batch,), of the last step where
        there is an output per step; a pair (step, place) for another step, counted from each sequence's end where it
        is negative. Left out, or None as a place: the only output, or the largest one. Of a network with several
        outputs a dict of one name to these.
    method
        "integrated_gradients", whose sum over a sequence is F(x) - F(baseline), or "gradient_x_input", which has no
        such sum but takes one pass.
    baseline
        The input of which nothing is said: a number, one per feature (features,), or an array in the form of x; a dict
        by input where there are several. Of tokens it stands in the place of their vectors: a number, or a vector, as
        ``net.layers[0].W[0]``, that of a token for padding.
    lengths
        As in `elman.Layer.forward`.
    steps
        Points of the path from the baseline to x, of integrated gradients: as many passes forward and backward.

    Returns
    -------
    shares
        In the form of x, float64, 0 in padding: an `Attribution`, which is an array (batch, time, features), of tokens
        (batch, time); a list in gives a list, a dict of inputs a dict. Each has `values`, `difference`, `target` and
        ``plot(text=None)``.

    Raises `ValueError` or `ShapeError` where an argument does not fit, and for networks that drop steps by their values
    (`elman.Masking`). Warns where the sum misses the difference by over a hundredth of all shares: more `steps`.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.GRU(2, 4, seed=0), elman.LastStep(), elman.Dense(4, 1, seed=1)])
    >>> x = np.ones((3, 5, 2))
    >>> shares = elman.attribution(net, x)
    >>> shares.shape, bool(np.allclose(shares.sum((1, 2)), net(x)[0][:, 0] - net(0 * x)[0][:, 0], atol=1e-6))
    ((3, 5, 2), True)
    """
    checks.choice("method", method, METHODS)
    steps = checks.size("steps", steps)
    path = _Path.read(net, x, lengths, baseline)
    chosen = _Target.read(target, path)
    whole = method == "integrated_gradients"
    points, weights = np.polynomial.legendre.leggauss(steps) if whole else (np.ones(1), np.full(1, 2.0))
    found, differences = [], []
    for some in np.split(np.arange(path.count), _cuts(path.rows)):
        part = path.take(some)
        last = part.net.run(part.at(1), None, None, keep=False)[0]
        which = chosen.find(last, some)
        slopes: dict[str, Array] = {}
        for a, w in zip((points + 1) / 2, weights / 2, strict=True):
            for name, slope in part.slopes(float(a), which).items():
                slopes[name] = slopes.get(name, 0) + w * slope
        first = part.net.run(part.at(0), None, None, keep=False)[0]
        differences.append(which.of(last) - which.of(first))
        found.append({name: part.gone(name) * slope for name, slope in slopes.items()})
    shares = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    difference = np.concatenate(differences)
    if whole:
        _check_sum(path, shares, difference)
    return path.given(shares, difference, target)


def _cuts(rows: Array) -> list[int]:
    """Where sequences of so many rows are cut into parts of few rows together."""
    cuts, total = [], 0
    for i, count in enumerate(rows.tolist()):
        if total and total + count > _ROWS:
            cuts.append(i)
            total = 0
        total += count
    return cuts


def _check_sum(path: _Path, shares: dict[str, Array], difference: Array) -> None:
    """Warns of sequences whose shares do not add up to their difference."""
    total, size = np.zeros(len(difference)), np.abs(difference)
    for name, part in path.ends.items():
        owner = np.repeat(np.arange(len(total)), part.layout.rows)
        total = total + np.bincount(owner, shares[name].sum(1), len(total))
        size = size + np.bincount(owner, np.abs(shares[name]).sum(1), len(total))
    wrong = np.abs(total - difference) > _GAP * size
    if wrong.any():
        i = int(wrong.argmax())
        words = f"shares must sum to F(x) - F(baseline), {difference[i]:.4g} of sequence {i}. Got {total[i]:.4g}"
        warnings.warn(f"{words}: more steps bring them nearer.", stacklevel=3)


class _Which(NamedTuple):
    """Which number of the outputs is F, for each sequence of a part."""

    output: int  # the place of the output among those of the network
    rows: Array  # (B,)
    places: Array  # (B,)

    def of(self, y: Sequences | Several) -> Array:
        """F of each sequence."""
        return np.asarray([*y.named.values()][self.output].values[self.rows, self.places])

    def gradient(self, y: Sequences | Several) -> Any:
        """The gradient of the sum of F by the outputs."""
        dy = {name: np.zeros_like(part.values) for name, part in y.named.items()}
        [*dy.values()][self.output][self.rows, self.places] = 1
        return dy if isinstance(y, Several) else dy["x"]


@dataclass(frozen=True)
class _Target:
    """What the user asked for."""

    output: int
    step: int | None
    places: Any  # None, a whole number, or (B,)

    @classmethod
    def read(cls, target: Any, path: _Path) -> _Target:
        output = 0
        if path.outputs is not None:
            names = ", ".join(map(repr, path.outputs))
            if not isinstance(target, Mapping) or len(target) != 1:
                must = f"target must be a mapping of one output, {names}, to what is asked of it"
                raise ValueError(f"{must}. Got {checks.show(target)}.")
            ((name, target),) = target.items()
            output = path.outputs.index(checks.choice("the output of target", name, path.outputs))
        step = None
        if isinstance(target, tuple):
            if len(target) != 2 or not checks.is_whole(target[0]):
                raise ValueError(f"target must be a place, or a pair (step, place). Got {checks.show(target)}.")
            step, target = int(target[0]), target[1]
        if target is not None and not checks.is_whole(target):
            target = checks.whole_numbers("target", target)
            checks.shape("target", target, (path.count,))
        return cls(output, step, target)

    def find(self, last: Sequences | Several, some: Array) -> _Which:
        """The numbers asked for among the outputs of these sequences."""
        y = [*last.named.values()][self.output]
        lengths, width = y.layout.lengths, y.values.shape[1]
        if lengths is None and self.step is not None:
            must = "target must be a place alone, as there is one output per sequence"
            raise ValueError(f"{must}. Got a pair with step {self.step}.")
        rows: Array = np.arange(len(some))
        step = -1 if self.step is None else self.step
        if lengths is not None:
            wrong = (step >= lengths) | (step < -lengths)
            if wrong.any():
                i = int(wrong.argmax())
                must = f"the step of target must be from {-lengths[i]} to {lengths[i] - 1}, for sequence {some[i]}"
                raise ValueError(f"{must}. Got {step}.")
            starts = y.layout.starts
            assert starts is not None
            rows = starts + step + (lengths if step < 0 else 0)
        if self.places is None:
            return _Which(self.output, rows, y.values[rows].argmax(1))
        places = self.places[some] if np.ndim(self.places) else np.full(len(some), self.places)
        wrong = (places < 0) | (places >= width)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(f"target must be from 0 to {width - 1}. Got {places[i]} for sequence {some[i]}.")
        return _Which(self.output, rows, places)


@dataclass(frozen=True)
class _Path:
    """A network in float64, its embeddings left out, and its inputs from the baselines to x, by name."""

    net: Layer
    ends: dict[str, Sequences]
    begins: dict[str, Sequences]
    asked: Sequences | Several  # x as the user's network takes it
    sources: dict[str, str]  # of vectors in the place of tokens -> the input that has the tokens
    outputs: list[str] | None  # the names of several

    @classmethod
    def read(cls, net: Any, x: Any, lengths: Any, baseline: Any) -> _Path:
        if not isinstance(net, Layer):
            must = "net must be a network or a layer; that of an estimator is its to_network()"
            raise TypeError(f"{must}. Got {checks.show(net)}.")
        if net.drops_steps:
            raise ValueError(f"net must not drop steps by their values, as Masking does. Got {net!r}.")
        net = net.astype("float64")
        outputs = [*net.config["outputs"]] if isinstance(net, Network) and "outputs" in net.config else None
        asked = net.pack(x, lengths, own=False)
        names = [*asked.named]
        if isinstance(baseline, Mapping):
            given = by_name("baseline", baseline, names, every=False)
            each = {name: 0 if value is None else value for name, value in given.items()}
        else:
            each = dict.fromkeys(names, baseline)
        tables: dict[str, tuple[str, Array]] = {}
        if any(part.values.ndim == 1 for part in asked.named.values()):
            net, tables = _without_embeddings(net, names)
            names = [*net.inputs]
        ends, begins = {}, {}
        for name in names:
            source, W = tables.get(name, (name, None))
            tokens = asked.named[source]
            values = np.asarray(tokens.values, np.float64) if W is None else W[tokens.values]
            if not np.isfinite(values).all():
                raise ValueError(f"{source} must be finite. Got {values[~np.isfinite(values)][0]}.")
            what = f"baseline[{source!r}]" if isinstance(baseline, Mapping) else "baseline"
            ends[name] = tokens.with_values(values)
            begins[name] = tokens.with_values(_baseline(what, each[source], ends[name], W is not None))
        return cls(net, ends, begins, asked, {name: source for name, (source, _) in tables.items()}, outputs)

    @property
    def count(self) -> int:
        """How many sequences there are."""
        return self.asked.layout.count

    @property
    def rows(self) -> Array:
        """How many rows each has, in all inputs together."""
        return np.asarray(sum(part.layout.rows for part in self.ends.values()))

    def take(self, some: Array) -> _Path:
        """The chosen sequences."""
        both = [{name: part.take(some) for name, part in named.items()} for named in (self.ends, self.begins)]
        return replace(self, ends=both[0], begins=both[1])

    def gone(self, name: str) -> Array:
        """x - x' of an input."""
        return np.asarray(self.ends[name].values - self.begins[name].values)

    def at(self, a: float) -> Sequences | Several:
        """The inputs at a place of the path, 0 the baselines and 1 x."""
        named = self.ends if a == 1 else self.begins
        if a not in (0, 1):
            named = {n: part.with_values(part.values + a * self.gone(n)) for n, part in self.begins.items()}
        return Several(named) if len(named) > 1 else next(iter(named.values()))

    def slopes(self, a: float, which: _Which) -> dict[str, Array]:
        """dF/dx by input, at a place of the path."""
        y, _, kept = self.net.run(self.at(a), None, None, keep=True)
        dx, _, _ = self.net.run_back(kept, which.gradient(y), None)
        named = dx if isinstance(dx, dict) else {next(iter(self.ends)): dx}
        return {n: np.zeros_like(self.ends[n].values) if part is None else part for n, part in named.items()}

    def given(self, shares: dict[str, Array], difference: Array, target: Any) -> Any:
        """Shares in the user's form, those of tokens summed over the vectors in their place."""
        total: dict[str, Any] = {}
        for name, values in shares.items():
            source = self.sources.get(name, name)
            total[source] = total.get(source, 0) + (values.sum(1) if name in self.sources else values)
        found: dict[str, Any] = {}
        for name, part in self.asked.named.items():
            values = part.layout.unpack(total[name], own=True)
            of_one = difference[0] if part.layout.form == "single" else difference
            kind = Attributions if isinstance(values, list) else Attribution
            found[name] = kind(values, of_one, target)
        return found if isinstance(self.asked, Several) else found["x"]


def _baseline(name: str, value: Any, part: Sequences, tokens: bool) -> Array:
    """The rows (N, features) of a baseline."""
    rows = part.values
    if checks.rank(value) == 0:
        return np.full_like(rows, checks.number(name, value))
    if checks.rank(value) == 1:
        array = checks.real_array(name, value, np.float64)
        checks.shape(name, array, (rows.shape[1],))
        array = np.broadcast_to(array, rows.shape)
    elif tokens:
        raise ShapeError(f"{name} must be a number or a vector of {rows.shape[1]}. Got {checks.describe(value)}.")
    else:
        array = part.gradient(name, value)  # in the form of x
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite. Got {array[~np.isfinite(array)][0]}.")
    return np.array(array)


def _without_embeddings(net: Layer, names: list[str]) -> tuple[Network, dict[str, tuple[str, Array]]]:
    """A network of the same layers that reads vectors in the place of tokens; for each such input, the input that has
    the tokens and their vectors."""
    flat, outputs = flat_nodes(net if isinstance(net, Network) else Network([net]))
    prefix = "node" + "_" * max(map(len, names))  # such a name no input has
    values = [*names]
    for i, node in enumerate(flat):
        inside = isinstance(node.layer, LastState)
        values.append(f"{values[node.reads[0]]}.{node.layer.state}" if inside else f"{prefix}{i}")
    gives = [values[j] for j in outputs]
    nodes: dict[str, Node] = {}
    tables: dict[str, tuple[str, Array]] = {}
    for name, node in zip(values[len(names) :], flat, strict=True):
        if isinstance(node.layer, LastState):
            continue
        if not node.layer.takes_tokens:
            start = node.start
            begin: str | tuple[str, ...] | None = None
            if start is not None:
                begin = values[len(names) + start] if isinstance(start, int) else tuple([values[j] for j in start])
            nodes[name] = Node(node.layer, *(values[j] for j in node.reads), state=begin)
        elif isinstance(node.layer, Embedding) and not computes_otherwise(node.layer):
            vectors = f"{name}_vectors" if name in gives else name
            tables[vectors] = values[node.reads[0]], node.layer.W
            nodes |= {name: Node(Dropout(0.0), vectors)} if name in gives else {}
        else:
            raise ValueError(f"net must take tokens by an Embedding. Got {node.layer!r}.")
    return Network(nodes, outputs=gives), tables
