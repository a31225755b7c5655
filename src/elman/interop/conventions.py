"""How other systems lay out recurrent weights, as data.

`CONVENTIONS` is the table of the systems whose arrays are fully specified, each an `elman.Convention`.

Sources, read for each row: PyTorch, `torch/nn/modules/rnn.py`; Keras 3, `keras/src/layers/rnn`; ONNX, operators RNN,
GRU and LSTM (opset 22); Flax, `flax/nnx/nn/recurrent.py` (OptimizedLSTMCell, GRUCell, SimpleCell); Equinox,
`equinox/nn/_rnn.py`; TensorFlow 1, `rnn_cell_impl.py` (BasicRNNCell, BasicLSTMCell, LSTMCell, GRUCell); numpy-ml,
`neural_nets/layers/layers.py`; Haste, `frameworks/pytorch/{lstm,gru}.py`; Neural Amp Modeler,
`nam/models/recurrent.py`; char-rnn, `model/LSTM.lua`; ncps, `torch/lstm.py`.

Left out of the table:

- cuDNN: its gates stand in the order of PyTorch's, but in one opaque buffer that only its own calls take apart.
- oneDNN: layers, directions and gates are axes of their own, and its GRU has two forms with a number of biases each.
- Thinc: one flat vector; where the weights of a layer begin in it is not specified.
- RTNeural: a JSON file of Keras's arrays without names. Name them kernel, recurrent_kernel, bias: "keras".
- The GRU of char-rnn: its six linear maps have no names. It is ``Convention(orientation="columns", per_gate=True,
  biases=2, update="new", reset_after=False)`` with names of one's own.
- The LSTMCell of Flax (not Optimized) has one array per gate; `flax` is the Optimized one, of which it says that the
  parameters are compatible.
"""

from __future__ import annotations

from elman.interop.convention import Convention

__all__ = ["CONVENTIONS", "Convention"]

_ALL = {"gru": "rzn", "lstm": "ifgo", "rnn": "h"}

_TABLE = (
    Convention("elman", inner_bias="b{gate}"),
    Convention(
        "pytorch",
        orientation="columns",
        gates=_ALL,
        weight_names=("weight_ih_l{layer}", "weight_hh_l{layer}"),
        biases=2,
        bias_names=("bias_ih_l{layer}", "bias_hh_l{layer}"),
        bias_optional=True,
        reset_after=True,
        projection="weight_hr_l{layer}",
    ),
    Convention(  # the GRU's bias is (2, 3H) with reset_after and (3H,) without
        "keras",
        gates={"gru": "zrn", "lstm": "ifgo", "rnn": "h"},
        weight_names=("kernel", "recurrent_kernel"),
        biases="inner",
        two_biases="rows",
        bias_names=("bias",),
        bias_optional=True,
    ),
    Convention(  # reset_after is the attribute linear_before_reset, 0 where it is left out
        "onnx",
        orientation="columns",
        gates={"gru": "zrn", "lstm": "iofg", "rnn": "h"},
        weight_names=("W", "R"),
        biases=2,
        two_biases="joined",
        bias_names=("B",),
        bias_optional=True,
        assumed_reset_after=False,
        direction_axis=True,
        by_cell={
            "lstm": {"peepholes": "P", "peephole_gates": "iof", "idle_gates": True, "optional_zeros": {"P": 3}},
        },
    ),
    Convention(
        "flax",
        gates=_ALL,
        weight_names=("dense_i/kernel", "dense_h/kernel"),
        bias_names=("dense_i/bias",),
        reset_after=True,
        by_cell={"lstm": {"bias_names": ("dense_h/bias",)}},
    ),
    Convention(
        "equinox",
        orientation="columns",
        gates={"gru": "rzn", "lstm": "ifgo"},
        weight_names=("weight_ih", "weight_hh"),
        bias_names=("bias",),
        bias_optional=True,
        inner_bias="bias_{gate}",
        reset_after=True,
    ),
    # BasicRNNCell, BasicLSTMCell and LSTMCell (order i, j, f, o), GRUCell (order r, u; the candidate by itself)
    Convention(
        "tf1",
        gates={"gru": "rzn", "lstm": "igfo", "rnn": "h"},
        stacked="xh",
        weight_names=("kernel",),
        bias_names=("bias",),
        forget_offset=1.0,
        reset_after=False,
        peepholes="w_{gate}_diag",
        projection="projection/kernel",
        by_cell={
            "gru": {
                "per_gate": ("rz", "n"),
                "gate_labels": {"rz": "gates", "n": "candidate"},
                "weight_names": ("{gate}/kernel",),
                "bias_names": ("{gate}/bias",),
            }
        },
    ),
    Convention(
        "numpy-ml",
        gates={"lstm": "ifgo", "rnn": "h"},
        by_cell={
            "lstm": {"stacked": "hx", "per_gate": True, "gate_labels": {"i": "u", "g": "c"}, "bias_shape": "row"},
            "rnn": {"weight_names": ("Wax", "Waa"), "biases": 2, "bias_names": ("bx", "ba"), "bias_shape": "column"},
        },
    ),
    Convention(
        "haste",
        gates={"gru": "zrn", "lstm": "igfo"},
        weight_names=("kernel", "recurrent_kernel"),
        bias_names=("bias",),
        reset_after=True,
        by_cell={"gru": {"biases": 2, "bias_names": ("bias", "recurrent_bias")}},
    ),
    Convention(
        "neural-amp-modeler",
        orientation="columns",
        gates={"lstm": "ifgo"},
        stacked="xh",
        weight_names=("weight",),
        bias_names=("bias",),
        zeros={"h0": 1, "c0": 1},
    ),
    Convention(  # it counts layers from 1
        "char-rnn",
        orientation="columns",
        gates={"lstm": "ifog"},
        weight_names=("i2h_{layer}.weight", "h2h_{layer}.weight"),
        biases=2,
        bias_names=("i2h_{layer}.bias", "h2h_{layer}.bias"),
        layer=1,
    ),
    Convention(
        "ncps",
        orientation="columns",
        gates={"lstm": "gifo"},
        weight_names=("input_map.weight", "recurrent_map.weight"),
        bias_names=("input_map.bias",),
        forget_offset=1.0,
    ),
)

#: The conventions by name. "elman" is this library's own.
CONVENTIONS: dict[str, Convention] = {convention.name: convention for convention in _TABLE}
