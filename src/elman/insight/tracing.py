"""Every number of every step: `elman.trace`, and the `Trace` that it returns.

Names are those of the cell's equations, "1.f" of the node "1" of a network, "f" of a layer alone; "d" before a name is
the gradient of the loss by it: "1.df". Names of the second direction end in ``_reverse``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from elman import checks
from elman.checks import Array
from elman.insight import tables
from elman.insight.naming import Numbers, UnknownNameError, all_names, kept_names
from elman.insight.tables import Norms, Saturation
from elman.insight.walks import TracedLayer
from elman.layers import Directed, Layer
from elman.layers.layer import Noise
from elman.layers.nesting import computes_otherwise
from elman.layers.recurrent import walks_of
from elman.network import Flow, Network, Taped, flow_back, taped
from elman.sequences import Layout, Sequences, Several, place

_MOST_ROWS = 12  # of a trace that is shown
Back: TypeAlias = "tuple[Any, Any, dict[str, Array], dict[str, Flow]]"


class Trace:
    """What a layer or a network computed at every step, by name; see `elman.trace`.

    ``t["1.f"]`` is an array in the form of x: (batch, time, hidden), (time, hidden) for one sequence, a list for a
    list; padded places are 0. Of each recurrent layer, or direction of one, there are its states ("h", "c"), its gates,
    what else its cell keeps, what stands inside the gates ("a_f") and, where they act, the `mask` of recurrent dropout
    and, of a state with zoneout, its value before it ("c_new") and how much of the old one was kept ("zone_c"). Every
    node has its output "y", recurrent ones also what they read, "x"; so has a layer alone.

    A trace made with `dy` or `dstate` has the gradient of the loss by each of these, "dc", "df", "da_f", "dy", through
    everything that comes after it; "dx" is that of both directions together. It also has what each step adds to the
    gradient of each weight, "dWh" (time, *shape of the weight), summed over the batch.

    All of it is computed where it is asked for, from the tape of the one forward pass; later changes of the weights do
    not touch it. ``name in t`` says whether there is such a name.
    """

    net: Layer  #: what ran
    lengths: Array | None  #: (batch,), the steps of each sequence; None for vectors
    dx: Any = None  #: the gradient by x, as `backward` gives it; None without `dy` and `dstate`
    dstate: Any = None  #: the gradient by the first state
    gradients: Mapping[str, Array] | None = None  #: the gradient of every parameter

    def __init__(
        self, net: Layer, read: Sequences | Several, start: Any, y: Any, end: Any, nodes: list[Taped], back: Back | None
    ) -> None:
        self.net, self._start, self._y, self._end = net, start, y, end
        self.lengths = None if read.layout.lengths is None else read.layout.lengths.copy()
        self._read, self._nodes, self._flows, self._dread = read, nodes, back and back[3], back and back[0]
        if back is not None:
            dx, dstart, found, _ = back
            self.dx, self.dstate = read.with_values(dx).unpack(own=True), net.unpack_state(dstart, read.layout)
            self.gradients = {name: found[name] for name in net.parameters}

    @functools.cached_property
    def x(self) -> Any:
        """What came in, as it was read."""
        return self._read.unpack(own=True)

    @functools.cached_property
    def y(self) -> Any:
        """What came out."""
        return self._y.unpack(own=True)

    @functools.cached_property
    def start(self) -> Any:
        """The state before the first step of each sequence, as it was given; None without."""
        return None if self._start is None else self.net.unpack_state(self._start, self._read.layout)

    @functools.cached_property
    def state(self) -> Any:
        """The state after the last step of each sequence."""
        return self.net.unpack_state(self._end, self._read.layout)

    @functools.cached_property
    def layers(self) -> Mapping[str, TracedLayer]:
        """The recurrent layers, each direction by itself: "1", "1_reverse"; of a layer alone "", "_reverse"."""
        flows = self._flows or {}
        return {one.name: one for node in self._nodes for one in _directions(node, flows.get(node.place))}

    def __getitem__(self, name: str) -> Any:
        return self.numbers(name).unpack()

    def __contains__(self, name: object) -> bool:
        return name in self._all

    @property
    def names(self) -> tuple[str, ...]:
        """All names: inputs, then of one node after another its numbers, their gradients, and shares of weights."""
        return tuple(self._all)

    def numbers(self, name: str) -> Numbers:
        """What a name stands for, packed, and the layout of its rows; nothing is computed yet."""
        found = (self._kept.get(name) or self._all.get(name)) if isinstance(name, str) else None
        if found is None:
            raise self._unknown(name)
        return found

    @functools.cached_property
    def _kept(self) -> dict[str, Numbers]:
        return kept_names(self.layers.values())

    @functools.cached_property
    def _all(self) -> dict[str, Numbers]:
        inputs = self.net.inputs if isinstance(self.net, Network) else ("x",)
        read = dict(zip(inputs, self._read.named.values(), strict=True))
        return all_names(read, self._nodes, self.layers.values(), self._flows, self._dread)

    def _unknown(self, name: Any) -> UnknownNameError:
        """The error for a name that is not there."""
        node, _, last = str(name).rpartition(".")
        without = f"{node}.{last[1:]}" if node else last[1:]
        known = [*self._all, *self.net.parameters]
        if self._flows is None and last.startswith("d") and without in known:
            must = f"{name!r} must be asked of a trace with dy or dstate, from which gradients come"
            return UnknownNameError(f"{must}. Got a trace of the forward pass alone.")
        places = checks.listed([node.place for node in self._nodes if node.place])
        where = f", of a node of {places}" if places != "()" else ""
        must = f"a name must be one of t.names{where}"
        return UnknownNameError(f"{must}. Got {checks.show(name)}.{checks.hint(name, self._all)}")

    def norms(self) -> Norms:
        """The Euclidean norm of every state at each step, over the batch and the units, and that of its gradient.

        A mapping of names, "1.h", "1.dh", to arrays (time,), that prints as a table. Outputs of nodes without states
        are there too.

        >>> import elman
        >>> t = elman.trace(elman.RNN(1, 2, seed=0), [[1.0], [0.5]], dy=[[0.0, 0.0], [1.0, 1.0]])
        >>> list(t.norms()), bool(np.isclose(t.norms()["h"][1], np.linalg.norm(t["h"][1])))
        (['h', 'dh'], True)
        """
        recurrent = {one.place for one in self.layers.values()}
        of_states = [
            one.path(d + state) for one in self.layers.values() for state in one.cell.states for d in ("", "d")
        ]
        others = [node.place and f"{node.place}." for node in self._nodes if node.place not in recurrent]
        names = [*of_states, *(f"{path}{y}" for path in others for y in ("y", "dy"))]
        return tables.norms({name: self._all[name] for name in names if name in self._all})

    def saturation(self, limit: float = 0.05) -> Saturation:
        """Which units sit where their gate cannot move: the share of steps, from 0 to 1, of each unit of each gate.

        A gate cannot move where the slope of its activation is under `limit` of the steepest that it has; for 0.05
        that is where a sigmoid is under 0.013 or over 0.987, and a tanh beyond +-0.975. A mapping of names, "1.f", to
        arrays (units,), that prints as a table. A cell of one's own takes part with the gates whose activations it
        names.

        >>> import elman
        >>> layer = elman.LSTM(1, 2, seed=0)
        >>> layer.b[2:4] = [9, 0]
        >>> elman.trace(layer, [[1.0], [0.5]]).saturation()["f"].tolist()
        [1.0, 0.0]
        """
        return tables.saturation(self.layers.values(), limit)

    def to_frame(self, names: Any = None) -> Any:
        """A long pandas table, a row per number: its `name`, `sequence`, `step`, `unit` and `value`.

        `names` chooses; left out, all but what stands inside the gates and the shares of weights. A vector per sequence
        stands at step 0. Raises `ValueError` for a share, which belongs to no sequence, and `MissingExtraError` without
        pandas.

        >>> import elman
        >>> t = elman.trace(elman.GRU(1, 2, seed=0), [[1.0], [0.5], [0.2]])
        >>> t.to_frame(["h", "z"]).query("step == 2 and unit == 0").name.tolist()
        ['h', 'z']
        """
        if names is None:
            inside = {one.path(f"{d}a_{g}") for one in self.layers.values() for g in one.cell.gates for d in ("", "d")}
            names = [name for name, found in self._all.items() if found.layout is not None and name not in inside]
        if isinstance(names, str):
            names = [names]
        if not isinstance(names, (list, tuple)) or not names:
            raise TypeError(f"names must be a name or a list of names. Got {checks.show(names)}.")
        return tables.frame({name: self.numbers(name) for name in names})

    def plot(self, name: str, text: Any = None, unit: Any = None, *, sequence: int = 0, path: Any = None) -> Any:
        """Draws what a name stands for over the steps, all units or some; see `elman.plots.trace`."""
        more: dict[str, Any] = {"sequence": sequence, "path": path}
        return import_module("elman.insight.plots").trace(self, name, text=text, unit=unit, **more)

    def to_html(
        self,
        path: Any,
        text: Any = None,
        compare: Trace | None = None,
        *,
        target: Any = None,
        labels: Any = None,
        title: str | None = None,
        sequence: int = 0,
        units: Any = None,
        steps: Any = None,
    ) -> None:
        """Writes one sequence of it as one page, a file that opens by itself and loads nothing.

        Parameters
        ----------
        path
            The file, which ends in .html. It is replaced whole or not at all.
        text
            One string (its characters), or a list of one string per step.
        compare
            A trace of another network over the same sequence: the page says at which step both part.
        target
            What should come out: a label per step (None where nothing came), or numbers in the shape of y. A network
            of tokens that gives a score for each is held to the next token if it is left out.
        labels
            The names of the outputs.
        title
            The heading.
        sequence
            Which sequence of the batch.
        units, steps
            A slice or a list, of those to show. Left out, the page has as many as fit into 2 MB, the last steps and
            the first units, and says what it left out.

        Raises `ShapeError` or `ValueError` where one of them does not fit, and for a network without a recurrent layer.
        """
        given: dict[str, Any] = {"target": target, "labels": labels, "title": title}
        given |= {"sequence": sequence, "units": units, "steps": steps}
        import_module("elman.insight.page").write(self, path, text=text, compare=compare, **given)

    def __repr__(self) -> str:
        count = self._read.layout.count
        steps = "" if self.lengths is None else f", {int(self.lengths.sum()):,} steps"
        back = "without gradients" if self._flows is None else "gradients too"
        head = f"Trace of {type(self.net).__name__}: {count:,} sequence{'s' * (count != 1)}{steps}, {back}"
        rows = []
        for node in self._nodes[:_MOST_ROWS]:
            own = [name + one.end for one in self.layers.values() if one.place == node.place for name in one.names()]
            rows.append((node.place, type(node.layer).__name__, " ".join(own or ["y"])))
        places, kinds = (max(len(row[i]) for row in rows) for i in (0, 1))
        lines = [f"  {place:<{places}}  {kind:<{kinds}}  {names}" for place, kind, names in rows]
        more = len(self._nodes) - _MOST_ROWS
        return "\n".join([head, *lines, *([f"  and {more} more"] if more > 0 else [])])


def trace(
    net: Layer, x: Any, state: Any = None, lengths: Any = None, dy: Any = None, dstate: Any = None, *, rng: Noise = None
) -> Trace:
    """Runs a layer or a network, and shows every number of every step: gates, states, what stands inside the gates.

    Parameters
    ----------
    net, x, state, lengths, rng
        As `forward` takes them. With `rng` dropout and zoneout draw as in training; running statistics do not move.
    dy, dstate
        The gradients of a loss by y and by the last states, as `backward` takes them, in finite numbers. With one of
        them the trace has the gradient of everything at every step.

    Returns
    -------
    Trace
        By name, ``t["1.f"]``; `Trace.names` has all names.

    Gates come from the tape of the forward pass, which takes as long as ever; the rest is computed where it is asked
    for. A bad argument is refused as `forward` and `backward` refuse it.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.LSTM(2, 3, seed=0), elman.Dense(3, 1, seed=1)])
    >>> x = np.ones((4, 7, 2))
    >>> t = elman.trace(net, x, dy=np.ones((4, 7, 1)))
    >>> t
    Trace of Network: 4 sequences, 28 steps, gradients too
      0  LSTM   h c i f g o tanh_c a_i a_f a_g a_o
      1  Dense  y
    >>> t["0.f"].shape, t["0.dc"].shape, t["0.dWh"].shape, t["1.dy"].shape
    ((4, 7, 3), (4, 7, 3), (7, 3, 12), (4, 7, 1))
    >>> y, _, tape = net.forward(x)
    >>> _, _, gradients = net.backward(tape, np.ones((4, 7, 1)))
    >>> bool(np.allclose(t["0.dWh"].sum(0), gradients["0.Wh"], rtol=1e-5))
    True
    """
    if not isinstance(net, Layer):
        of = "; of an estimator its network_" if hasattr(net, "network_") else ""
        raise checks.KindError(f"net must be a layer or a network{of}. Got {checks.show(net)}.")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, or None. Got {checks.show(rng)}.")
    packed = net.pack(x, lengths, own=True)
    start = net.pack_state("state", state, packed.layout)
    dend = net.pack_state("dstate", dstate, packed.layout)
    _check_finite("dstate", dend, packed.layout.as_vectors())
    try:
        y, end, kept = net.run(packed, start, rng, keep=True)
        nodes = taped(net, kept) if isinstance(net, Network) else [Taped("", net, kept, y)]
        back = None if dy is None and dstate is None else _go_back(net, kept, y, dy, dend)
    except NotImplementedError:
        must = "net must have layers that compute whole sequences and their gradients, by run and run_back"
        raise checks.KindError(f"{must}. Got {checks.show(net)}.") from None
    return Trace(net, packed, start, y, end, nodes, back)


def _go_back(net: Layer, kept: Any, y: Any, dy: Any, dstate: Any) -> Back:
    """The gradients by x, the first states and the parameters, and what came to each node."""
    given = y.gradient("dy", dy)
    for name, part in y.named.items():
        _check_finite("dy", given[name] if isinstance(given, dict) else given, part.layout)
    if isinstance(net, Network):
        return flow_back(net, kept, given, dstate)
    dx, dstart, found = net.run_back(kept, given, dstate)
    return dx, dstart, found, {"": Flow(given, dstate, dx)}


def _directions(node: Taped, flow: Flow | None) -> Iterator[TracedLayer]:
    """The directions of a recurrent layer; none of another one."""
    layer = node.layer
    if isinstance(layer, Directed) and not computes_otherwise(layer):
        walks = walks_of(layer, node.kept, *(() if flow is None else flow[:2]))
        for end, walk in walks.items():
            yield TracedLayer(node.place, end, layer.directions[end], node.y.layout, walk)


def _check_finite(name: str, value: Any, layout: Layout) -> None:
    """Refuses a gradient, packed, that is no finite number somewhere."""
    if isinstance(value, (list, tuple)):
        for part in value:
            _check_finite(name, part, layout)
    elif value is not None and not np.isfinite(value).all():
        index = checks.first(~np.isfinite(value))
        raise ValueError(f"{name} must hold finite numbers. Got {value[index]} at {place(index, layout)}.")
