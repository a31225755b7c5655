"""The networks in the JSON of the audio world; what a file is, its keys tell. Recurrent captures of amplifiers.

GuitarML's JSON holds a state_dict of PyTorch, "state_dict", and what its module was made of, "model_data":
y = lin(rec(x)) + x[..., :skip]. A .nam of an LSTM holds its numbers in one list: for each layer W over [x; h]
row by row, the sum of both biases, and h and c before the first sample; then the head, W row by row and b.

Source, read for this: github.com/Alec-Wright/Automated-GuitarAmpModelling, `CoreAudioML/networks.py` (SimpleRNN);
github.com/GuitarML/Proteus, `src/RTNeuralLSTM.cpp`; github.com/sdatkinson/NeuralAmpModelerCore, `NAM/lstm.cpp`;
github.com/sdatkinson/neural-amp-modeler, `nam/models/recurrent.py` (_export_weights).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.interop.audio import rtneural
from elman.interop.audio.rtneural import around, whole
from elman.interop.chain import dense, network_of
from elman.interop.files import Source, name_of, named, numbers, of_json, parse_json, read_bytes, refused
from elman.interop.pytorch.networks import from_torch
from elman.interop.pytorch.state import recurrent_module
from elman.layers import Layer
from elman.network import Network

#: No larger file is read: parsed JSON takes up to some twenty times its size.
MAX_BYTES = 2**26

#: What a file must be.
MUST = "JSON of RTNeural, AIDA-X or GuitarML, .nam of Neural Amp Modeler, or a state_dict in JSON"


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


_UNITS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}


def _read_guitarml(source: str, model: Mapping[str, Any]) -> Network:
    """The network of a SimpleRNN of GuitarML."""
    facts, state = model["model_data"], model["state_dict"]
    for place, value in (("model_data", facts), ("state_dict", state)):
        if not isinstance(value, dict):
            raise refused(source, place, "a JSON object", checks.show(value))
    if facts.get("model", "SimpleRNN") != "SimpleRNN":
        raise refused(source, "model", "SimpleRNN, the only one of GuitarML that is read", checks.show(facts["model"]))
    arrays = {name: numbers(source, name, value) for name, value in state.items()}
    own = {part: {n.removeprefix(f"{part}."): a for n, a in arrays.items() if n.startswith(f"{part}.")}
           for part in ("rec", "lin")}  # fmt: skip
    if len(own["rec"]) + len(own["lin"]) < len(arrays) or not {"weight"} <= set(own["lin"]) <= {"weight", "bias"}:
        must = "the weights of a recurrent module, rec.*, with lin.weight and lin.bias alone"
        raise refused(source, "state_dict", must, checks.show(list(arrays)))
    with named(source):
        module = recurrent_module("rec", own["rec"])
        layers = module.layers()
    W, b = own["lin"]["weight"], own["lin"].get("bias")
    hidden = layers[-1].output_size
    if W.ndim != 2 or W.shape[1] != hidden or (b is not None and b.shape != W.shape[:1]):
        got = f"{W.shape}" + ("" if b is None else f" and {b.shape}")
        raise refused(source, "lin", f"of shape (output, {hidden}), with a bias (output,)", got)
    width, out = int(layers[0].input_size or 0), W.shape[0]
    known = {"unit_type": module.kinds[0], "input_size": width, "hidden_size": hidden, "num_layers": len(layers)}
    for name, value in {**known, "output_size": out}.items():
        given = facts.get(name, value)
        if (_UNITS.get(str(given)) if name == "unit_type" else given) != value:
            raise refused(source, name, f"{value}, as the weights say", checks.show(given))
    skip = whole(source, "skip", facts.get("skip"), least=0)
    names = ["rec"] if len(layers) == 1 else [f"rec_{k}" for k in range(len(layers))]
    return around(source, {**dict(zip(names, layers, strict=True)), "lin": dense(W.T, b)}, width, out, skip)


def _read_nam(source: str, model: Mapping[str, Any]) -> Network:
    """The network of a .nam whose architecture is LSTM."""
    kind, config = model["architecture"], model.get("config")
    if kind != "LSTM":
        got = checks.show(kind) + (", a network of convolutions" if kind in ("WaveNet", "ConvNet", "Linear") else "")
        raise refused(source, "architecture", "LSTM, the one of Neural Amp Modeler that is read", got)
    if not isinstance(config, dict):
        raise refused(source, "config", "a JSON object", checks.show(config))
    width, hidden, depth = (whole(source, n, config.get(n)) for n in ("input_size", "hidden_size", "num_layers"))
    out = whole(source, "out_channels", config.get("out_channels", 1))
    if config.get("in_channels", width) != width:
        raise refused(source, "in_channels", f"{width}, as input_size says", checks.show(config["in_channels"]))
    weights = numbers(source, "weights", model["weights"])
    inputs = [width] + [hidden] * (min(depth, weights.size) - 1)
    count = sum(4 * hidden * (wide + hidden + 1) + 2 * hidden for wide in inputs) + out * (hidden + 1)
    if depth > weights.size or weights.shape != (count,):
        must = f"a list of {count if depth <= weights.size else 'many more'} numbers, as config says"
        raise refused(source, "weights", must, f"{' x '.join(map(str, weights.shape))}")
    place = 0

    def taken(*shape: int) -> Array:
        nonlocal place
        place += int(np.prod(shape))
        return weights[place - int(np.prod(shape)) : place].reshape(shape)

    layers: list[Layer] = []
    for wide in inputs:
        W, b, h, c = taken(4 * hidden, wide + hidden), taken(4 * hidden), taken(hidden), taken(hidden)
        arrays = {"weight_ih_l0": W[:, :wide], "weight_hh_l0": W[:, wide:], "bias_ih_l0": b, "h0": h, "c0": c}
        layers += recurrent_module("", {**arrays, "bias_hh_l0": np.zeros_like(b)}).layers()
    return network_of([*layers, dense(taken(out, hidden).T, taken(out))], source)


_READERS: dict[str, Callable[[str, Mapping[str, Any]], Network]] = {
    "aida": rtneural.read,
    "guitarml": _read_guitarml,
    "nam": _read_nam,
    "rtneural": rtneural.read,
}
