"""The recurrent cells as C functions, equation by equation as in `elman.cells`.

A function reads x and the states, and writes the states. Whatever is a product with h is computed before any of h is
written. The sums of the gates stand side by side in one array a, as in the rows of the weights. `$name` is explained
in `elman.interop.c.functions`.
"""

from __future__ import annotations

from collections.abc import Callable

from elman.cells.lstm_layer_norm import EPSILON
from elman.interop.c.functions import activated, calls_of, clipped, number
from elman.interop.c.layers import Part, fill, product, sized
from elman.interop.chain import check_holds
from elman.layers import Recurrent

_OPTIONS = {
    "rnn": ("activation", "clip"),
    "gru": ("reset_after", "clip", "activations"),
    "lstm": ("layer_norm", "peepholes", "coupled", "projection", "clip", "cell_clip", "activations"),
}


def recurrent(layer: Recurrent, inputs: int) -> Part:
    """A recurrent layer of one direction."""
    cell = layer.cell
    check_holds(layer, "C", (*_OPTIONS.get(cell.name, ()), "learned_state", "zoneout"))
    body, scratch = _CELLS[cell.name](layer)
    sizes = {"inputs": inputs, "units": layer.hidden_size}
    if cell.projection is not None:
        sizes["outputs"] = cell.projection
    states = dict(zip(cell.states, cell.widths(layer.hidden_size), strict=True))
    factors = [*cell.peepholes, *(name for name in cell.weights if name.startswith("gain"))]
    return Part(
        body=sized(body, **sizes),
        outputs=states[cell.states[0]],
        tables=dict(layer.parameters),
        states=states,
        gives=cell.states[0],
        starts={name: f"${name}0[j]" for name in cell.states if layer.learned_state},
        scratch=scratch * layer.hidden_size,
        multiply_adds=sum(w.size for name, w in layer.parameters.items() if w.ndim == 2 or name in factors),
        calls=sum(map(calls_of, cell.activations.values())) * layer.hidden_size,
    )


# The body of each cell, and how many floats it has on the stack for each unit.


def _rnn(layer: Recurrent) -> tuple[str, int]:
    body = f"""\
    float a[units];

{_sums_of_x("units")}{product("a", "h", "units", "$Wh[k]", "units")}\
    for (int j = 0; j < units; j++)
        h[j] = {_zoned(layer, "h", _gate(layer, "h", "a[j]"))};
"""
    return body, 1


def _gru(layer: Recurrent) -> tuple[str, int]:
    return (_gru_reset_after if layer.cell.options["reset_after"] else _gru_reset_before)(layer), 4


def _gru_reset_after(layer: Recurrent) -> str:
    return f"""\
    float a[3 * units]; /* for the gates r, z, n; n without what comes of h */
    float m[units];     /* for n: what comes of h, to be reset */

{_sums_of_x("3 * units")}{fill("m[j]", "$bn[j]", "units")}\
    for (int k = 0; k < units; k++) {{
        for (int j = 0; j < 2 * units; j++)
            a[j] += h[k] * $Wh[k][j];
        for (int j = 0; j < units; j++)
            m[j] += h[k] * $Wh[k][2 * units + j];
    }}
    for (int j = 0; j < units; j++) {{
        const float r = {_gate(layer, "r", "a[j]")};
        const float z = {_gate(layer, "z", "a[units + j]")};
        const float n = {_gate(layer, "n", "a[2 * units + j] + r * m[j]")};
        h[j] = {_zoned(layer, "h", "(1.0f - z) * n + z * h[j]")};
    }}
"""


def _gru_reset_before(layer: Recurrent) -> str:
    return f"""\
    float a[3 * units]; /* for the gates r, z, n */
    float m[units];     /* h, reset */

{_sums_of_x("3 * units")}{product("a", "h", "units", "$Wh[k]", "2 * units")}\
    for (int j = 0; j < units; j++)
        m[j] = {_gate(layer, "r", "a[j]")} * h[j];
    for (int k = 0; k < units; k++)
        for (int j = 2 * units; j < 3 * units; j++)
            a[j] += m[k] * $Wh[k][j];
    for (int j = 0; j < units; j++) {{
        const float z = {_gate(layer, "z", "a[units + j]")};
        const float n = {_gate(layer, "n", "a[2 * units + j]")};
        h[j] = {_zoned(layer, "h", "(1.0f - z) * n + z * h[j]")};
    }}
"""


def _lstm(layer: Recurrent) -> tuple[str, int]:
    """The LSTM and its variants; the layer-normalized one stands by itself."""
    if layer.cell.options.get("layer_norm"):
        return _lstm_layer_norm(layer)
    gates, peepholes, projection = layer.cell.gates, layer.cell.peepholes, layer.cell.projection
    count = f"{len(gates)} * units"
    sums = {gate: _place(gates.index(gate)) for gate in gates}
    for name, gate in peepholes.items():
        sums[gate] += f" + ${name}[j] * {'c_new' if gate == 'o' else 'c[j]'}"
    h_new = f"o * {activated(layer.cell.activations['c'], 'c_new')}"
    room = "" if projection is None else "    float m[units];     /* what is projected */\n"
    text = f"""\
    float a[{count}]; /* for the gates {", ".join(gates)} */
{room}
{_sums_of_x(count)}{product("a", "h", "units" if projection is None else "outputs", "$Wh[k]", count)}\
    for (int j = 0; j < units; j++) {{
        const float i = {_gate(layer, "i", sums["i"])};
        const float f = {_gate(layer, "f", sums["f"]) if "f" in gates else "1.0f - i"};
        const float g = {_gate(layer, "g", sums["g"])};
        const float c_new = {clipped("f * c[j] + i * g", layer.cell.options.get("cell_clip"))};
        const float o = {_gate(layer, "o", sums["o"])};
        {f"h[j] = {_zoned(layer, 'h', h_new)};" if projection is None else f"m[j] = {_share(layer, 'h', h_new)};"}
        c[j] = {_zoned(layer, "c", "c_new")};
    }}
"""
    if projection is not None:
        rate = _rate(layer, "h")
        text += fill("h[j]", f"{number(rate)} * h[j]" if rate else "0.0f", "outputs")
        text += product("h", "m", "units", "$Wp[k]", "outputs")
    return text, len(gates) + (projection is not None)


def _lstm_layer_norm(layer: Recurrent) -> tuple[str, int]:
    epsilon = number(EPSILON)
    body = f"""\
    float a[4 * units]; /* what comes of x, then the gates i, f, g, o */
    float m[4 * units]; /* what comes of h */
    float n[units];     /* c, normalized */

{fill("a[j]", "0.0f", "4 * units")}{product("a", "x", "inputs", "$Wx[k]", "4 * units")}\
{fill("m[j]", "0.0f", "4 * units")}{product("m", "h", "units", "$Wh[k]", "4 * units")}\
    $normalize(a, 4 * units, {epsilon});
    $normalize(m, 4 * units, {epsilon});
{fill("a[j]", "$gain_x[j] * a[j] + $gain_h[j] * m[j] + $b[j]", "4 * units")}\
    for (int j = 0; j < units; j++) {{
        const float i = $sigmoid(a[j]);
        const float f = $sigmoid(a[units + j]);
        const float g = tanhf(a[2 * units + j]);
        n[j] = f * c[j] + i * g;
        c[j] = {_zoned(layer, "c", "n[j]")};
    }}
    $normalize(n, units, {epsilon});
    for (int j = 0; j < units; j++) {{
        const float o = $sigmoid(a[3 * units + j]);
        h[j] = {_zoned(layer, "h", "o * tanhf($gain_c[j] * n[j] + $bias_c[j])")};
    }}
"""
    return body, 9


_CELLS: dict[str, Callable[[Recurrent], tuple[str, int]]] = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}


def _place(block: int) -> str:
    """Where the sums of the gate in this block stand."""
    return f"a[{['', 'units + '][block] if block < 2 else f'{block} * units + '}j]"


def _gate(layer: Recurrent, gate: str, inside: str) -> str:
    return activated(layer.cell.activations[gate], clipped(inside, layer.cell.options.get("clip")))


def _sums_of_x(count: str) -> str:
    """a = b + x Wx."""
    return fill("a[j]", "$b[j]", count) + product("a", "x", "inputs", "$Wx[k]", count)


def _rate(layer: Recurrent, state: str) -> float:
    return layer.zone_rates[layer.cell.states.index(state)]


def _zoned(layer: Recurrent, state: str, new: str) -> str:
    """The next value of a state: under zoneout the expectation of keeping the old one."""
    rate = _rate(layer, state)
    return f"{number(rate)} * {state}[j] + {_share(layer, state, new)}" if rate else new


def _share(layer: Recurrent, state: str, new: str) -> str:
    """What a new value adds to a state."""
    rate = _rate(layer, state)
    return f"{number(1 - rate)} * {f'({new})' if ' ' in new else new}" if rate else new
