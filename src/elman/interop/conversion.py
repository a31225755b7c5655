"""From a file of one format to a file of another, with a check that both compute the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.checks import Array, FormatError, shorten
from elman.files import check_path, folder_beside, path_text, replace_all
from elman.interop import formats
from elman.interop.chain import dtype_of, layers_of
from elman.interop.formats import Format, Where
from elman.interop.inspection import not_finite
from elman.interop.peers import PeerUnavailable, peer_of
from elman.layers import Embedding, Masking
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
    net = formats.network_in(source)
    place = Path(path_text("target", target))
    with folder_beside(place) as folder:
        written = Path(folder) / place.name
        formats.write(net, written, form.name)
        checks = _checks(net, (source_form, source), (form, written))
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


def _checks(net: Network, source: tuple[Format, Where], target: tuple[Format, Where]) -> list[Check]:
    rng = np.random.default_rng(0)
    x = _sequences(net, rng)
    y, state = net(x)
    checks = [_read_back(net, target, x, y, _like(state, rng))]
    for (form, path), side in ((target, "written"), (source, "source")):
        checks += _by_peer(form, path, side, net, x)
    return checks


def _sequences(net: Network, rng: np.random.Generator) -> list[Array]:
    """Random sequences of unequal length, without steps that a mask would drop."""
    first, *after = layers_of(net)
    if not isinstance(first, Embedding):
        return [rng.normal(size=(steps, net.input_size or 4)).astype(dtype_of(net)) for steps in _STEPS]
    tokens = np.arange(first.count)
    if after and isinstance(after[0], Masking):
        tokens = tokens[(after[0].value != first.W).any(axis=1)]
    return [rng.choice(tokens, size=steps) for steps in _STEPS]


def _like(state: Any, rng: np.random.Generator) -> Any:
    """Random numbers in the form of a state."""
    if isinstance(state, (list, tuple)):
        return type(state)([_like(part, rng) for part in state])
    return None if state is None else rng.normal(size=state.shape).astype(state.dtype)


def _read_back(net: Network, target: tuple[Format, Where], x: list[Array], y: list[Array], state: Any) -> Check:
    form, path = target
    what, tolerance = "read back by elman", _TOLERANCE[str(dtype_of(net))]
    if form.read is None:
        return Check(what, None, tolerance, f"{form.title} is written only")
    again = form.read_back(path, net) if form.read_back else form.read(path)
    difference = _difference(again(x)[0], y)
    if net.stateful:
        difference = max(difference, _difference(again(x, state)[0], net(x, state)[0]))
    return Check(what, difference, tolerance, failed=difference > tolerance)


def _by_peer(form: Format, path: Where, side: str, net: Network, x: list[Array]) -> Iterator[Check]:
    """The check of one file by its own system; none for elman's own files."""
    if form.name == "elman":
        return
    what, tolerance = f"the {side} file by {form.title}", _TOLERANCE[str(dtype_of(net))]
    try:
        peer = peer_of(form.name, path, net)
        pairs = [pair for part in x for pair in peer.run(part)]
        difference = _difference([theirs for theirs, _ in pairs], [ours for _, ours in pairs])
    except PeerUnavailable as absent:
        yield Check(what, None, tolerance, str(absent))
    except Exception as error:  # another system may raise anything; what elman wrote it must be able to run
        reason = f"{type(error).__name__}: {shorten(str(error))}, raised by {form.title}"
        yield Check(what, None, tolerance, reason, failed=side == "written")
    else:
        tolerance = _TOLERANCE["float32"] if peer.in_float32 else tolerance
        yield Check(f"the {side} file by {peer.name}", difference, tolerance, failed=difference > tolerance)


def _difference(ours: list[Array], theirs: list[Array]) -> float:
    """The largest difference, in units of the largest output where that is over 1; NaN equals NaN."""
    largest = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape:
            return float("inf")
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0, np.abs(np.asarray(a, np.float64) - b))
        scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0)))
        largest = max(largest, float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0)) / scale)
    return largest
