"""The equations of one unit's step and of its derivative as text, which the page works out with numbers; by cell.

A state with a prime is that after the step, without one that before it; ⁺ marks the next step on the walk; what stands
side by side is multiplied; V W_k is the sum over units of a product with a block of a weight; `above` is what a
gradient has from outside of the recurrence. page/arithmetic.js reads them.
"""

from __future__ import annotations

from typing import Any

from elman.cells import Cell

Lines = list[tuple[str, str]]


def equations(cell: Cell) -> tuple[Lines, Lines]:
    """The lines forward and backward; none for a cell of one's own, whose functions alone know them."""
    plain = set(cell.weights) - set(cell.peepholes) - {"Wp", "bn"} == {"Wx", "Wh", "b"}
    kind = CELLS.get(cell.name) if (plain and cell.kernel is not None) or "Wp" in cell.weights else None
    return ([], []) if kind is None else kind(cell)


def rnn(cell: Cell) -> tuple[Lines, Lines]:
    forward = [("a_h", "x Wx + h Wh + b"), ("h'", act(cell, "h", "a_h"))]
    return forward, [("dh'", "above + da_h⁺ Wh.T"), ("da_h", "dh'" + slope(cell, "h", "h'"))]


def lstm(cell: Cell) -> tuple[Lines, Lines]:
    gates, peeps = cell.gates, {gate: name for name, gate in cell.peepholes.items()}
    forget, forget_next = ("f", "f⁺") if "f" in gates else ("(1 - i)", "(1 - i⁺)")
    forward: Lines = []
    out: Lines = []
    for gate in gates:
        lines = out if gate == "o" else forward
        seen = "c'" if gate == "o" else "c"
        peep = f" + {peeps[gate]} {seen}" if gate in peeps else ""
        lines += [(f"a_{gate}", f"x Wx_{gate} + h Wh_{gate}{peep} + b_{gate}"), (gate, act(cell, gate, f"a_{gate}"))]
    squashed = act(cell, "c", "c'")
    projected = "Wp" in cell.weights
    forward += [("c'", f"{forget} c + i g"), *out, ("h'", f"(o {squashed}) Wp" if projected else f"o {squashed}")]
    dout = "(dh' Wp.T)" if projected else "dh'"
    dc = f"{dout} o{slope(cell, 'c', squashed)} + dc'⁺ {forget_next}"
    dc += "".join(f" + {peeps[gate]} da_{gate}{'' if gate == 'o' else '⁺'}" for gate in gates if gate in peeps)
    backward = [("dh'", "above" + back(gates)), ("do", f"{dout} {squashed}"), ("da_o", "do" + slope(cell, "o", "o"))]
    backward += [("dc'", dc), ("di", "dc' g" if "f" in gates else "dc' (g - c)")]
    backward += [("df", "dc' c")] if "f" in gates else []
    backward += [
        ("dg", "dc' i"),
        *((f"da_{gate}", f"d{gate}{slope(cell, gate, gate)}") for gate in gates if gate != "o"),
    ]
    return forward, backward


def gru(cell: Cell) -> tuple[Lines, Lines]:
    after = "bn" in cell.weights
    inner = "r (h Wh_n + bn)" if after else "(r h) Wh_n"
    forward = [
        line
        for gate in "rz"
        for line in ((f"a_{gate}", f"x Wx_{gate} + h Wh_{gate} + b_{gate}"), (gate, act(cell, gate, f"a_{gate}")))
    ]
    forward += [("a_n", f"x Wx_n + {inner} + b_n"), ("n", act(cell, "n", "a_n")), ("h'", "(1 - z) n + z h")]
    inside = "(da_n⁺ r⁺) Wh_n.T" if after else "r⁺ (da_n⁺ Wh_n.T)"
    backward = [
        ("dh'", f"above + dh'⁺ z⁺{back('rz')} + {inside}"),
        ("dn", "dh' (1 - z)"),
        ("da_n", "dn" + slope(cell, "n", "n")),
        ("dz", "dh' (h - n)"),
        ("da_z", "dz" + slope(cell, "z", "z")),
        ("dr", "da_n (h Wh_n + bn)" if after else "(da_n Wh_n.T) h"),
        ("da_r", "dr" + slope(cell, "r", "r")),
    ]
    return forward, backward


def back(gates: Any) -> str:
    """What comes back to h from the gates of the next step."""
    return "".join(f" + da_{gate}⁺ Wh_{gate}.T" for gate in gates)


def act(cell: Cell, gate: str, inside: str) -> str:
    """The activation of a gate, of what stands inside."""
    return f"{cell.activations[gate].name if gate in cell.activations else 'tanh'}({inside})"


def slope(cell: Cell, gate: str, value: str) -> str:
    """A factor: the derivative of a gate's activation, from its value."""
    name = cell.activations[gate].name if gate in cell.activations else "tanh"
    known = {"sigmoid": f" {value} (1 - {value})", "tanh": f" (1 - {value}^2)", "identity": ""}
    return known.get(name, f" {name}_derivative({value})")


CELLS = {"rnn": rnn, "lstm": lstm, "gru": gru}
