"""The LSTM with everything that others added to it, each by itself or together; `elman.cells.lstm` is the one without.

    a_i = x Wx_i + h Wh_i + pi c + b_i        i = act_i(clip(a_i))
    a_f = x Wx_f + h Wh_f + pf c + b_f        f = act_f(clip(a_f)), or 1 - i with coupled gates
    a_g = x Wx_g + h Wh_g + b_g               g = act_g(clip(a_g))
    c' = cell_clip(f c + i g)
    a_o = x Wx_o + h Wh_o + po c' + b_o       o = act_o(clip(a_o))
    h' = (o act_c(c')) Wp

peepholes pi, pf, po (H,)   Gers, Schmidhuber 2000, "Recurrent Nets that Time and Count"; Gers, Schraudolph, Schmidhuber
                            2002, "Learning Precise Timing with LSTM Recurrent Networks", section 3: the output gate
                            sees the new cell state
coupled gates               Greff et al. 2017, "LSTM: A Search Space Odyssey", section V, CIFG; ONNX's input_forget. The
                            blocks are then i, g, o, and there is no pf
projection Wp (H, P)        Sak, Senior, Beaufays 2014, "Long Short-Term Memory Recurrent Neural Network Architectures
                            for Large Scale Acoustic Modeling", section 2.1: h is (B, P), Wh (P, G H)
clip                        +-clip bounds what stands inside the gates, as in the operators of ONNX, and not c' on its
                            way to h
cell_clip                   +-cell_clip bounds c' before all else reads it, as in the LSTMCell of TensorFlow
act                         sigmoid for i, f, o; tanh for g and c

x (B, I), c (B, H); the gates stand side by side: Wx (I, G H), Wh (H, G H), b (G H,), in the order i, f, g, o. Under
recurrent dropout m h stands for h in the products, with a mask m of the shape of h; c is never masked.

The kernel is src/elman/kernels/lstm.hpp, tests are in tests/test_cell_variants.py, tests/test_kernels.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from elman import checks
from elman.cells.activations import Activation, Gate, bounded, clip_option, read_activations
from elman.cells.cell import Arrays, Cell, Kept, built_in_cell, masked
from elman.checks import Array

Acts: TypeAlias = Mapping[str, Gate]  # of each gate, of c, and of what bounds c'
Names: TypeAlias = tuple[str, ...]  # of weights and gates: they tell which of the additions there are
_SIGMOID, _TANH = Activation("sigmoid"), Activation("tanh")
ACTIVATIONS: Mapping[str, Activation] = {"i": _SIGMOID, "f": _SIGMOID, "g": _TANH, "o": _SIGMOID, "c": _TANH}


def step(
    x: Array, state: Arrays, weights: Arrays, mask: Array | None = None, *, names: Names, gates: Names, act: Acts
) -> tuple[Arrays, Kept, Kept]:
    h, c = state
    w = dict(zip(names, weights, strict=True))
    sums = np.split(x @ w["Wx"] + masked(h, mask) @ w["Wh"] + w["b"], len(gates), axis=-1)  # (B, H) each
    a = dict(zip(gates, sums, strict=True))
    a |= {gate: a[gate] + peep(w, "p" + gate, c) for gate in ("i", "f") if gate in a}
    i = act["i"](a["i"])
    f = act["f"](a["f"]) if "f" in a else 1 - i
    g = act["g"](a["g"])
    c_next = act["bound"](f * c + i * g)
    a["o"] = a["o"] + peep(w, "po", c_next)
    o = act["o"](a["o"])
    act_c = act["c"](c_next)
    h_next = (o * act_c) @ w["Wp"] if "Wp" in w else o * act_c  # (B, P) or (B, H)
    kept = {"i": i, "f": f, "g": g, "o": o, "act_c": act_c, "c": c_next}
    return (h_next, c_next), kept, {"a_" + gate: a[gate] for gate in gates}


def step_derivative(
    x: Array,
    state: Arrays,
    weights: Arrays,
    kept: Kept,
    dnext: Arrays,
    mask: Array | None = None,
    *,
    names: Names,
    gates: Names,
    act: Acts,
) -> tuple[Array, Arrays, Arrays, Kept]:
    (h, c), (dh, dc) = state, dnext
    w = dict(zip(names, weights, strict=True))
    i, f, g, o, act_c, c_next = (kept[name] for name in ("i", "f", "g", "o", "act_c", "c"))
    dout = dh @ w["Wp"].T if "Wp" in w else dh  # (B, H), of o act_c(c')
    d = {"o": dout * act_c, "act_c": dout * o}
    da = {"o": d["o"] * act["o"].derivative(o)}  # (B, H) each, of what stands inside the gates
    d["c"] = dc + d["act_c"] * act["c"].derivative(act_c) + peep(w, "po", da["o"])
    dc = d["c"] * act["bound"].derivative(c_next)  # of f c + i g
    d |= {"i": dc * g if "f" in gates else dc * (g - c), "f": dc * c, "g": dc * i}  # coupled, f = 1 - i
    da |= {gate: d[gate] * act[gate].derivative(kept[gate]) for gate in gates if gate != "o"}
    dc = dc * f + sum(peep(w, "p" + gate, da[gate]) for gate in ("i", "f") if gate in gates)
    ds = np.concatenate([da[gate] for gate in gates], axis=-1)  # (B, G H)
    dw = {"Wx": x.T @ ds, "Wh": masked(h, mask).T @ ds, "b": ds.sum(0), "Wp": (o * act_c).T @ dh}
    dw |= {"p" + gate: (da[gate] * (c_next if gate == "o" else c)).sum(0) for gate in gates}
    d |= {"a_" + gate: da[gate] for gate in gates}
    return ds @ w["Wx"].T, (masked(ds @ w["Wh"].T, mask), dc), tuple(dw[name] for name in names), d


def peep(w: Mapping[str, Array], name: str, c: Array) -> Array | int:
    """p c, what a gate sees of the cell state; 0 without peepholes. The derivative by c is the same function."""
    return w[name] * c if name in w else 0


def lstm_variant(
    peepholes: bool,
    coupled: bool,
    projection: int | None,
    clip: float | None,
    cell_clip: float | None,
    activations: Any,
) -> Cell | None:
    """The cell of these options of `elman.cells.lstm`; None where all are at their defaults."""
    gates = ("i", "g", "o") if checks.flag("coupled", coupled) else ("i", "f", "g", "o")
    defaults = {gate: act for gate, act in ACTIVATIONS.items() if gate in (*gates, "c")}
    acts, chosen = read_activations(activations, defaults)
    options = {
        **({"peepholes": True} if checks.flag("peepholes", peepholes) else {}),
        **({"coupled": True} if coupled else {}),
        **({} if projection is None else {"projection": checks.size("projection", projection)}),
        **clip_option("clip", clip),
        **clip_option("cell_clip", cell_clip),
        **chosen,
    }
    if not options:
        return None
    peeping = {"p" + gate: gate for gate in gates if peepholes and gate != "g"}
    weights: dict[str, tuple[str, ...]] = {
        "Wx": ("input", "gates"),
        "Wh": ("hidden" if projection is None else "projection", "gates"),
        "b": ("gates",),
        **dict.fromkeys(peeping, ("hidden",)),
        **({} if projection is None else {"Wp": ("hidden", "projection")}),
    }
    clip, cell_clip = options.get("clip"), options.get("cell_clip")
    act = {name: act if name == "c" else bounded(act, clip) for name, act in acts.items()}
    act["bound"] = bounded(Activation("identity"), cell_clip)
    return built_in_cell(
        step,
        step_derivative,
        {"names": tuple(weights), "gates": gates, "act": act},
        name="lstm",
        weights=weights,
        states=("h", "c"),
        gates=gates,
        peepholes=peeping,
        projection=options.get("projection"),
        options=options,
        activations=acts,
        kernel=("lstm_coupled" if coupled else "lstm_general", clip, cell_clip) if projection is None else None,
    )
