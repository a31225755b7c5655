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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.graph import Node
from elman.insight.shares import Attribution, Attributions
from elman.insight.trees import check_finite
from elman.layers import Dropout, Embedding, Layer
from elman.layers.nesting import LastState, computes_otherwise, flat_nodes
from elman.network import Network
from elman.sequences import Layout, Sequences, Several, by_name

METHODS = ("integrated_gradients", "gradient_x_input")
_ROWS = 1 << 14  # steps that go through the network at a time, so that memory does not grow with x
_MOST_STEPS = 500  # whose places are still exact
_HALVINGS = 10  # of a path, where F has kinks
_GAP = 0.01  # of the sizes of all shares: a sum that misses the difference by more is told


def attribution(
    net: Layer,
    x: Any,
    target: Any = None,
    method: str = "integrated_gradients",
    baseline: Any = 0,
    *,
    lengths: Any = None,
    steps: int = 16,
    tolerance: float = 2e-5,
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
    steps, tolerance
        Of integrated gradients: the points of the path from the baseline to x, each a pass forward and backward. Where
        the shares of a sequence miss their sum by more than `tolerance` of their sizes, as at kinks of relu and of
        pools over the largest, its path is halved, up to 10 times, and each half has 4 points.

    Returns
    -------
    shares
        In the form of x, float64, 0 in padding: an `Attribution`, which is an array (batch, time, features), of tokens
        (batch, time); a list in gives a list, a dict of inputs a dict. Each has `values`, `difference`, `target` and
        ``plot(text=None)``.

    Raises `ValueError` or `ShapeError` where an argument does not fit, and for networks that drop steps by their values
    (`elman.Masking`). Warns where the sum still misses the difference by over a hundredth of all shares.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.GRU(2, 4, seed=0), elman.LastStep(), elman.Dense(4, 1, seed=1)])
    >>> x = np.ones((3, 5, 2))
    >>> shares = elman.attribution(net, x)
    >>> shares.shape, bool(np.allclose(shares.sum((1, 2)), net(x)[0][:, 0] - net(0 * x)[0][:, 0], atol=1e-6))
    ((3, 5, 2), True)
    """
    checks.choice("method", method, METHODS)
    steps, tolerance = checks.size("steps", steps, _MOST_STEPS), checks.number("tolerance", tolerance, 0, open_low=True)
    path = _Path.read(net, x, lengths, baseline)
    ask = _Ask.read(target, path)
    every = np.arange(path.count)
    low, high = (path.along(ask, every, np.full(path.count, a)) for a in (0.0, 1.0))
    sound = np.isfinite(low) & np.isfinite(high)
    if not sound.all():
        b = int(sound.argmin())
        raise ValueError(f"net must give finite outputs. Got {low[b]} and {high[b]} for sequence {b}.")
    if method == "integrated_gradients":
        shares = _integrals(path, ask, low, high, steps, tolerance)
    else:
        slopes = path.slopes(ask, every, np.ones(path.count))
        shares = {name: part.values * slopes[name] for name, part in path.gone.items()}
    return path.given(shares, high - low, target)


class _Piece(NamedTuple):
    """A piece of the path of one sequence, and F at its ends."""

    sequence: int
    begin: float
    end: float
    low: float
    high: float


def _integrals(path: _Path, ask: _Ask, low: Array, high: Array, steps: int, tolerance: float) -> dict[str, Array]:
    """Integrated gradients: a piece is halved where its shares do not sum to what F gains on it."""
    shares = {name: np.zeros_like(part.values) for name, part in path.gone.items()}
    size, missed = np.abs(high - low), np.zeros(path.count)
    pieces = [_Piece(b, 0.0, 1.0, low[b], high[b]) for b in range(path.count)]
    for halvings in range(_HALVINGS + 1):
        left = []
        for piece, found in path.pieces(ask, pieces, steps if not halvings else min(steps, 4)):
            b, gap = piece.sequence, abs(sum(part.sum() for part in found.values()) - (piece.high - piece.low))
            size[b] += 0 if halvings else sum(np.abs(part).sum() for part in found.values())
            least = np.finfo(np.float64).eps * 100 * (abs(piece.low) + abs(piece.high))  # what rounding leaves
            if gap > tolerance * size[b] + least and halvings < _HALVINGS:
                left.append(piece)
                continue
            missed[b] += gap
            for name, part in found.items():
                shares[name][path.gone[name].layout.of_one(b)] += part
        if not left:
            break
        middles = [(piece.begin + piece.end) / 2 for piece in left]
        between = path.along(ask, np.array([piece.sequence for piece in left]), np.array(middles))
        pieces = []
        for piece, a, f in zip(left, middles, between.tolist(), strict=True):
            pieces += [piece._replace(end=a, high=f), piece._replace(begin=a, low=f)]
    if (missed > _GAP * size).any():
        b = int((missed / np.maximum(size, np.finfo(np.float64).tiny)).argmax())
        words = f"shares of sequence {b} must sum to F(x) - F(baseline), {high[b] - low[b]:.4g}"
        warnings.warn(
            f"{words}. Got a sum that misses it by {missed[b]:.2g}: more steps bring it nearer.", stacklevel=3
        )
    return shares


@dataclass(frozen=True)
class _Ask:
    """Which output F is, of each sequence."""

    output: int  # the place of the output among those of the network
    step: int  # from the end where it is negative
    places: Array  # (B,)

    @classmethod
    def read(cls, target: Any, path: _Path) -> _Ask:
        output, step, place = 0, None, target
        if path.outputs is not None:
            if not isinstance(target, Mapping) or len(target) != 1:
                must = f"target must be a mapping of one output, {', '.join(map(repr, path.outputs))}, to what is asked"
                raise ValueError(f"{must} of it. Got {checks.show(target)}.")
            ((name, place),) = target.items()
            output = path.outputs.index(checks.choice("the output of target", name, path.outputs))
        if isinstance(place, tuple):
            if len(place) != 2 or not checks.is_whole(place[0]):
                raise ValueError(f"target must be a place, or a pair (step, place). Got {checks.show(place)}.")
            step, place = int(place[0]), place[1]
        y = [
            *path.net.run(path.at(np.arange(path.count), np.ones(path.count)), None, None, keep=False)[0].named.values()
        ]
        lengths, width = y[output].layout.lengths, y[output].values.shape[1]
        if lengths is None and step is not None:
            must = "target must be a place alone, as there is one output per sequence"
            raise ValueError(f"{must}. Got a pair with step {step}.")
        step = -1 if step is None else step
        wrong = np.zeros(path.count, bool) if lengths is None else (step >= lengths) | (step < -lengths)
        if lengths is not None and wrong.any():
            i = int(wrong.argmax())
            must = f"the step of target must be from {-lengths[i]} to {lengths[i] - 1}, for sequence {i}"
            raise ValueError(f"{must}. Got {step}.")
        ask = cls(output, step, np.zeros(path.count, np.int64))
        if place is None:
            return replace(ask, places=y[output].values[ask.rows(y[output].layout)].argmax(1))
        places = np.full(path.count, place) if checks.is_whole(place) else checks.whole_numbers("target", place)
        checks.shape("target", places, (path.count,))
        wrong = (places < 0) | (places >= width)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(f"target must be from 0 to {width - 1}. Got {places[i]} for sequence {i}.")
        return replace(ask, places=places)

    def rows(self, layout: Layout) -> Array:
        """Where F of each sequence stands among the rows of its output."""
        if layout.starts is None:
            return np.arange(layout.count)
        return np.asarray(layout.starts + self.step + (layout.rows if self.step < 0 else 0))

    def of(self, y: Sequences | Several, sequences: Array) -> tuple[Array, Any]:
        """F of these sequences, and the gradient of their sum by the outputs."""
        name, part = [*y.named.items()][self.output]
        where = self.rows(part.layout), self.places[sequences]
        dy = {name: np.zeros_like(part.values) for name, part in y.named.items()}
        dy[name][where] = 1
        return part.values[where], dy if isinstance(y, Several) else dy["x"]


@dataclass(frozen=True)
class _Path:
    """A network in float64, its embeddings left out, and its inputs from the baselines to x, by name."""

    net: Layer
    begins: dict[str, Sequences]
    gone: dict[str, Sequences]  # x - x'
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
        begins, gone = {}, {}
        for name in names:
            source, W = tables.get(name, (name, None))
            tokens = asked.named[source]
            values = np.asarray(tokens.values, np.float64) if W is None else W[tokens.values]
            check_finite(source, values)
            what = f"baseline[{source!r}]" if isinstance(baseline, Mapping) else "baseline"
            before = _baseline(what, each[source], tokens.with_values(values), W is not None)
            begins[name], gone[name] = tokens.with_values(before), tokens.with_values(values - before)
        return cls(net, begins, gone, asked, {name: source for name, (source, _) in tables.items()}, outputs)

    @property
    def count(self) -> int:
        """How many sequences there are."""
        return self.asked.layout.count

    def at(self, sequences: Array, places: Array) -> Sequences | Several:
        """The inputs of these sequences at places of their paths, 0 the baselines and 1 x."""
        named = {}
        for name, part in self.gone.items():
            gone, begin = part.take(sequences), self.begins[name].take(sequences)
            named[name] = gone.with_values(begin.values + places.repeat(gone.layout.rows)[:, None] * gone.values)
        return Several(named) if len(named) > 1 else next(iter(named.values()))

    def along(self, ask: _Ask, sequences: Array, places: Array) -> Array:
        """F of these sequences at places of their paths."""
        found = []
        for some in self._groups(sequences, 1):
            y, _, _ = self.net.run(self.at(sequences[some], places[some]), None, None, keep=False)
            found.append(ask.of(y, sequences[some])[0])
        return np.concatenate(found)

    def slopes(self, ask: _Ask, sequences: Array, places: Array) -> dict[str, Array]:
        """dF/dx of these sequences by input, at places of their paths."""
        found = []
        for some in self._groups(sequences, 1):
            y, _, kept = self.net.run(self.at(sequences[some], places[some]), None, None, keep=True)
            dx, _, _ = self.net.run_back(kept, ask.of(y, sequences[some])[1], None)
            found.append(dx if isinstance(dx, dict) else {next(iter(self.gone)): dx})
        return {name: np.concatenate([one[name] for one in found]) for name in self.gone}

    def pieces(self, ask: _Ask, pieces: list[_Piece], steps: int) -> Iterator[tuple[_Piece, dict[str, Array]]]:
        """The shares (rows, features) by input on each piece of a path, by the rule of Gauss and Legendre."""
        points, weights = (part / 2 for part in np.polynomial.legendre.leggauss(steps))
        for some in self._groups(np.array([piece.sequence for piece in pieces]), steps):
            group = pieces[some]
            sequences = np.array([piece.sequence for piece in group])
            begin, end = np.array([piece[1:3] for piece in group]).T[:, :, None]
            slopes = self.slopes(ask, sequences.repeat(steps), (begin + (end - begin) * (points + 0.5)).ravel())
            first = dict.fromkeys(slopes, 0)
            for piece in group:
                shares, width = {}, piece.end - piece.begin
                for name, part in self.gone.items():
                    gone = part.values[part.layout.of_one(piece.sequence)]
                    last = first[name] + steps * len(gone)
                    rows = slopes[name][first[name] : last].reshape(steps, *gone.shape)
                    shares[name], first[name] = width * gone * np.tensordot(weights, rows, 1), last
                yield piece, shares

    def _groups(self, sequences: Array, times: int) -> Iterator[slice]:
        """These sequences in groups that have few rows together, so that memory does not grow with x."""
        rows = times * np.sum([part.layout.rows[sequences] for part in self.gone.values()], axis=0)
        begin = total = 0
        for i, count in enumerate(rows.tolist()):
            if i > begin and total + count > _ROWS:
                yield slice(begin, i)
                begin, total = i, 0
            total += count
        yield slice(begin, len(rows))

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
    check_finite(name, array)
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
