"""The networks in the JSON of the audio world; what a file is, its keys tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from elman.interop.audio import captures, rtneural
from elman.interop.files import Source, name_of, of_json, parse_json, read_bytes, refused
from elman.interop.pytorch.networks import from_torch
from elman.network import Network

#: No larger file is read: parsed JSON takes up to some twenty times its size.
MAX_BYTES = 2**26

#: What a file must be.
MUST = "JSON of RTNeural, AIDA-X or GuitarML, .nam of Neural Amp Modeler, or a state_dict in JSON"

_READERS: dict[str, Callable[[str, Mapping[str, Any]], Network]] = {
    "aida": rtneural.read_capture,
    "guitarml": captures.read_guitarml,
    "nam": captures.read_nam,
    "rtneural": rtneural.read,
}


def from_rtneural(path: Source) -> Network:
    """The network in a JSON file of RTNeural, AIDA-X or GuitarML (Proteus, NeuralPi), or in a .nam; also as bytes.

    RTNeural: layers "dense", "time-distributed-dense", "lstm", "gru", "conv1d", "batchnorm", "prelu" and "activation"
    (tanh, relu, sigmoid, elu, softmax). A convolution is causal, and one in groups becomes one with zeros between them.

    AIDA-X: the same with `in_skip`, which adds the input to the output, and the gains `in_gain` and `out_gain` in
    decibels, as `elman.Scale`. GuitarML: an LSTM, GRU or RNN of PyTorch and a Linear, "rec" and "lin", and their
    `skip`, which NeuralPi and Proteus take as 1 whatever the file says. Where a network has more inputs than are added
    to its output, a Dense of ones and zeros, "skip", picks them. Neural Amp Modeler: the architecture LSTM, with its
    states before the first sample as a learned state; NAM itself first runs half a second of silence. A state_dict
    in JSON is read by `elman.from_torch`.

    The network gives an output at every step, as these systems do. It is float32, unless the file has the field
    "dtype", which `to_rtneural` adds for float64 alone. A bias that is not there is 0. Raises `FormatError`, naming
    file and layer, for a file that is cut short, of another kind, or whose shapes do not fit, for a .nam of
    convolutions (WaveNet, ConvNet), and for layers that elman has not; `FileNotFoundError` where there is none.

    >>> import elman, tempfile, numpy as np
    >>> net = elman.Network([elman.GRU(1, 8, seed=0), elman.Dense(8, 1, "tanh", seed=1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     elman.to_rtneural(net, folder + "/amp.json")
    ...     same = elman.from_rtneural(folder + "/amp.json")
    >>> np.array_equal(net(np.ones((5, 1)))[0], same(np.ones((5, 1)))[0])
    True
    """
    source = name_of(path)
    model = parse_json(source, read_bytes(path, MUST, MAX_BYTES))
    form, what = of_json(model)
    if form == "torch":
        return from_torch(path)
    if form is None:
        raise refused(source, "it", MUST, what)
    return _READERS[form](source, model)
