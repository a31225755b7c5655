"""From a file of one format to a file of another, with a check that both compute the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.checks import Array, FormatError, ShapeError, shorten
from elman.files import Where, check_path, folder_beside, path_text, replace_all
from elman.interop import formats
from elman.interop.chain import dtype_of, input_widths, sequence_inputs
from elman.interop.formats import Format
from elman.interop.inspection import not_finite
from elman.interop.peers import PeerUnavailable
from elman.layers import Masking
from elman.layers.nesting import flat_nodes
from elman.network import Network

_STEPS = (12, 1, 7, 4, 2)  # of the sequences that are run
_TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@dataclass(frozen=True)
class Check:
    """One comparison of a conversion."""

    what: str  #: what computed the same sequences
    difference: float | None  #: the largest, in units of the largest output where that is over 1; None: not computed
    tolerance: float
    reason: str = ""  #: why it was not computed
    failed: bool = False

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.what}: {'failed' if self.failed else 'not run'}, {self.reason}"
        told = "the same to the last bit" if self.difference == 0 else f"largest difference {self.difference:.1e}"
        return f"{self.what}: {told}" + (f", more than {self.tolerance:.0e}" if self.failed else "")


@dataclass(frozen=True, repr=False)
class Conversion:
    """What `convert` did. Printed, it says it in a few lines."""

    source: str
    source_format: str
    target: str
    target_format: str
    network: Network
    files: tuple[tuple[str, int], ...]  #: those that were written, with their sizes in bytes
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        written = ", ".join(f"{name} ({size:,} bytes)" for name, size in self.files)
        return "\n".join(
            [
                f"read     {self.source}: {formats.FORMATS[self.source_format].title}",
                *(f"         {line}" for line in repr(self.network).splitlines()),
                f"written  {written}: {formats.FORMATS[self.target_format].title}",
                *(f"checked  {check}" for check in self.checks),
                *(f"note     {note}" for note in self.notes),
            ]
        )


def convert(source: Where, target: Where, format: str | None = None) -> Conversion:  # noqa: A002
    """Reads a network from a file of any format and writes it into a file of another, checked before it is there.

    Random sequences of unequal length, from 0 and from random states, run through the network that was read and
    through the one that is read back from what was written; and, a sequence at a time, through PyTorch, Keras, ONNX
    Runtime or a C compiler, for the file of each that is installed. Outputs must agree within 1e-5 in float32 and
    1e-10 in float64, in units of the largest output where that is over 1.

    Parameters
    ----------
    source
        A file of elman, PyTorch (a state_dict), Keras, ONNX, RTNeural, AIDA-X, GuitarML or NAM, told by its content.
    target
        The file to write; its folder must exist. It is replaced after the check alone.
    format
        "elman", "torch", "keras", "onnx", "rtneural" or "c". Left out, the ending of `target` tells it: .safetensors
        (elman's, unless "torch" is named), .pt, .keras, .onnx, .json, .c.

    Returns
    -------
    conversion
        What was read, written and checked; its `repr` says it in a few lines.

    Raises `FormatError` for what cannot be read, or the target cannot hold, or where a check fails: the target is then
    as it was before. `MissingExtraError` where the library of a format is not installed.

    >>> import elman, tempfile
    >>> from elman.interop.conversion import convert
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     elman.Network([elman.GRU(2, 3, seed=0)]).save(folder + "/net.safetensors")
    ...     done = convert(folder + "/net.safetensors", folder + "/net.json")
    >>> print(done.checks[0])
    read back by elman: the same to the last bit
    """
    path_text("source", source)
    source_form, form = formats.find(source), formats.to_write(target, format)
    check_path("target", target)
    found = formats.read(source)
    net = found if isinstance(found, Network) else found.to_network()  # of an estimator, with its scaling
    place = Path(path_text("target", target))
    with folder_beside(place) as folder:
        written = Path(folder) / place.name
        formats.write(net, written, form.name)
        rng = np.random.default_rng(0)
        examples = _examples(net, rng)
        checks = [_read_back(net, form, written, _together(examples), rng)]
        checks += _by_peer(form, written, "written", net, examples)
        checks += _by_peer(source_form, source, "source", net, examples)
        failed = [check for check in checks if check.failed]
        if failed:
            raise FormatError(
                f"{os.fspath(target)}: it must compute what {os.fspath(source)} computes, and was not written. "
                f"Got {failed[0]}; elman.interop.formats.write writes without this check."
            )
        # By name: C's source before its header, as to_c writes them.
        contents = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        replace_all({place.parent / name: content for name, content in contents.items()})
    notes = [f"{name} is not finite: {what}" for name, what in not_finite(net).items()]
    if form.name == "torch":
        notes.append("a state_dict holds weights alone: read it into the same network, from_torch(path, like=net)")
    return Conversion(
        source=os.fspath(source),
        source_format=source_form.name,
        target=os.fspath(target),
        target_format=form.name,
        network=net,
        files=tuple((name, len(content)) for name, content in contents.items()),
        checks=tuple(checks),
        notes=tuple(notes),
    )


# The checks.


def _examples(net: Network, rng: np.random.Generator) -> list[Any]:
    """Random inputs, of unequal length and long enough for the network."""
    for more in (0, 8, 64, 512):
        examples = [_example(net, steps + more, rng) for steps in _STEPS]
        try:
            net(_together(examples))
        except ShapeError:
            if more == 512:
                raise
        else:
            break
    return examples


def _example(net: Network, steps: int, rng: np.random.Generator) -> Any:
    """A sequence, or several inputs by name: sequences and vectors. No step is one that a mask would drop."""
    nodes, over_time, found = flat_nodes(net)[0], sequence_inputs(net), {}
    for i, ((name, _, tokens), width) in enumerate(zip(net.takes, input_widths(net), strict=True)):
        shape = (steps,) if name in over_time else ()
        if tokens is None:
            found[name] = rng.normal(size=(*shape, width or 4)).astype(dtype_of(net))
            continue
        known = np.arange(tokens)
        embedded = {len(net.inputs) + j: node.layer for j, node in enumerate(nodes) if node.reads == (i,)}
        for node in nodes:
            if isinstance(node.layer, Masking) and node.reads[0] in embedded:
                W = embedded[node.reads[0]].parameters["W"][known]
                known = known[~np.equal(W, node.layer.value).all(axis=1)]
        found[name] = rng.choice(known, size=shape)
    return found if len(found) > 1 else next(iter(found.values()))


def _together(examples: list[Any]) -> Any:
    """Examples as one batch."""
    if not isinstance(examples[0], dict):
        return examples
    return {name: [np.asarray(x[name]) for x in examples] for name in examples[0]}


def _drawn(state: Any, rng: np.random.Generator) -> Any:
    """Random numbers in the form of the state of a layer."""
    if isinstance(state, tuple):
        return tuple([_drawn(part, rng) for part in state])
    return rng.normal(size=state.shape).astype(state.dtype)


def _entries(state: Any) -> Iterator[Any]:
    """The entries of a state, those of networks in the network in their place."""
    for entry in state:
        yield from _entries(entry) if isinstance(entry, list) else [entry]


def _in_form(state: Any, entries: Iterator[Any]) -> list[Any]:
    """The entries as the state of a network that may hold others where the first has its layers, or the reverse."""
    return [_in_form(entry, entries) if isinstance(entry, list) else next(entries) for entry in state]


def _read_back(net: Network, form: Format, path: Where, x: Any, rng: np.random.Generator) -> Check:
    what, tolerance = "read back by elman", _TOLERANCE[str(dtype_of(net))]
    if form.read is None:
        return Check(what, None, tolerance, f"{form.title} is written only")
    try:
        again = form.read_back(path, net) if form.read_back else form.read(path)
    except FormatError as error:  # in the words of its reader, without the name of the file that nobody will see
        return Check(what, None, tolerance, str(error).removeprefix(f"{os.fspath(path)}: "), failed=True)
    (y, state), (found, other) = net(x), again(x)
    difference = _difference(zip(_values(found), _values(y), strict=True))
    if net.stateful:
        starts = [node.start for node in flat_nodes(net)[0] if node.layer.stateful]
        pairs = zip(_entries(state), starts, strict=True)
        random = [_drawn(entry, rng) if start is None else None for entry, start in pairs]
        y, found = net(x, _in_form(state, iter(random)))[0], again(x, _in_form(other, iter(random)))[0]
        difference = max(difference, _difference(zip(_values(found), _values(y), strict=True)))
    return Check(what, difference, tolerance, failed=difference > tolerance)


def _values(y: Any) -> list[Array]:
    """The outputs one by one."""
    return [one for part in (y.values() if isinstance(y, dict) else [y]) for one in part]


def _by_peer(form: Format, path: Where, side: str, net: Network, x: list[Any]) -> Iterator[Check]:
    """The check of one file by its own system; none for elman's own files."""
    if form.name == "elman":
        return
    what, tolerance = f"the {side} file by {form.title}", _TOLERANCE[str(dtype_of(net))]
    try:
        if form.peer is None:
            raise PeerUnavailable("its files have no runtime in Python")
        peer = form.peer(path, net)
        difference = _difference(pair for part in x for pair in peer.run(part))
    except PeerUnavailable as absent:
        yield Check(what, None, tolerance, str(absent))
    except Exception as error:  # another system may raise anything; what elman wrote it must be able to run
        reason = f"{type(error).__name__}: {shorten(str(error))}, raised by {form.title}"
        yield Check(what, None, tolerance, reason, failed=side == "written")
    else:
        tolerance = _TOLERANCE["float32"] if peer.in_float32 else tolerance
        yield Check(f"the {side} file by {peer.name}", difference, tolerance, failed=difference > tolerance)


def _difference(pairs: Iterable[tuple[Array, Array]]) -> float:
    """The largest difference, in units of the largest of the second where that is over 1; NaN equals NaN."""
    largest = 0.0
    for a, b in pairs:
        if a.shape != b.shape:
            return float("inf")
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0, np.abs(np.asarray(a, np.float64) - b))
        scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0)))
        largest = max(largest, float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0)) / scale)
    return largest
