"""The recurrent cells as C functions, equation by equation as in `elman.cells`.

A function reads x and the states, and writes the states. Whatever is a product with h is computed before any of h is
written. The sums of the gates stand side by side in one array a, as in the rows of the weights. `$name` is explained
in `elman.interop.c.functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from elman.cells.activations import Activation
from elman.cells.lstm_layer_norm import EPSILON
from elman.interop.c.functions import activated, calls_of, clipped
from elman.interop.c.layers import Part, fill, product
from elman.interop.c.numbers import number
from elman.interop.chain import check_holds
from elman.layers import Recurrent

_OPTIONS = {
    "rnn": ("activation", "clip"),
    "gru": ("reset_after", "clip", "activations"),
    "lstm": ("layer_norm", "peepholes", "coupled", "projection", "clip", "cell_clip", "activations"),
}


class _Body(NamedTuple):
    text: str
    scratch: int  # floats per unit, on the stack
    calls: int  # of functions of <math.h> a unit


def recurrent(layer: Recurrent, inputs: int) -> Part:
    """A recurrent layer of one direction."""
    cell = layer.cell
    check_holds(layer, "C", (*_OPTIONS.get(cell.name, ()), "learned_state", "zoneout"))
    body = _CELLS[cell.name](layer)
    sizes = f"inputs = {inputs}, units = {layer.hidden_size}"
    if cell.projection is not None:
        sizes += f", outputs = {cell.projection}"
    states = dict(zip(cell.states, cell.widths(layer.hidden_size), strict=True))
    factors = [*cell.peepholes, *(name for name in cell.weights if name.startswith("gain"))]
    return Part(
        body=f"    enum {{ {sizes} }};\n{body.text}",
        outputs=states[cell.states[0]],
        tables=dict(layer.parameters),
        states=states,
        gives=cell.states[0],
        starts={name: f"{name}0" for name in cell.states if layer.learned_state},
        scratch=body.scratch * layer.hidden_size,
        multiply_adds=sum(w.size for name, w in layer.parameters.items() if w.ndim == 2 or name in factors),
        calls=body.calls * layer.hidden_size,
    )


def _rnn(layer: Recurrent) -> _Body:
    act = layer.cell.activations["h"]
    h_new = activated(act, clipped("a[j]", layer.cell.options.get("clip")))
    return _Body(
        f"""\
    float a[units];

{_sums_of_x("units")}{product("a", "h", "units", "$Wh", "units")}\
    for (int j = 0; j < units; j++)
        h[j] = {_zoned(layer, "h", h_new)};
""",
        1,
        calls_of(act),
    )


def _gru(layer: Recurrent) -> _Body:
    acts = layer.cell.activations
    build = _gru_reset_after if layer.cell.options["reset_after"] else _gru_reset_before
    return _Body(build(layer, acts), 4, _calls(acts))


def _gru_reset_after(layer: Recurrent, acts: Mapping[str, Activation]) -> str:
    return f"""\
    float a[3 * units]; /* for the gates r, z, n; n without what comes of h */
    float m[units];     /* for n: what comes of h, to be reset */

{_sums_of_x("3 * units")}{fill("m", "$bn[j]", "units")}\
    for (int k = 0; k < units; k++) {{
        for (int j = 0; j < 2 * units; j++)
            a[j] += h[k] * $Wh[k][j];
        for (int j = 0; j < units; j++)
            m[j] += h[k] * $Wh[k][2 * units + j];
    }}
    for (int j = 0; j < units; j++) {{
        const float r = {_gate(layer, acts, "r", "a[j]")};
        const float z = {_gate(layer, acts, "z", "a[units + j]")};
        const float n = {_gate(layer, acts, "n", "a[2 * units + j] + r * m[j]")};
        h[j] = {_zoned(layer, "h", "(1.0f - z) * n + z * h[j]")};
    }}
"""


def _gru_reset_before(layer: Recurrent, acts: Mapping[str, Activation]) -> str:
    return f"""\
    float a[3 * units]; /* for the gates r, z, n */
    float m[units];     /* h, reset */

{_sums_of_x("3 * units")}{product("a", "h", "units", "$Wh", "2 * units")}\
    for (int j = 0; j < units; j++)
        m[j] = {_gate(layer, acts, "r", "a[j]")} * h[j];
    for (int k = 0; k < units; k++)
        for (int j = 2 * units; j < 3 * units; j++)
            a[j] += m[k] * $Wh[k][j];
    for (int j = 0; j < units; j++) {{
        const float z = {_gate(layer, acts, "z", "a[units + j]")};
        const float n = {_gate(layer, acts, "n", "a[2 * units + j]")};
        h[j] = {_zoned(layer, "h", "(1.0f - z) * n + z * h[j]")};
    }}
"""


def _lstm(layer: Recurrent) -> _Body:
    """The LSTM and its variants; the layer-normalized one stands by itself."""
    if layer.cell.options.get("layer_norm"):
        return _lstm_layer_norm(layer)
    gates, peepholes, projection = layer.cell.gates, layer.cell.peepholes, layer.cell.projection
    acts = layer.cell.activations
    count = f"{len(gates)} * units"
    sums = {gate: _place(gates.index(gate)) for gate in gates}
    for name, gate in peepholes.items():
        sums[gate] += f" + ${name}[j] * {'c_new' if gate == 'o' else 'c[j]'}"
    h_new = f"o * {activated(acts['c'], 'c_new')}"
    room = "" if projection is None else "    float m[units];     /* what is projected */\n"
    text = f"""\
    float a[{count}]; /* for the gates {", ".join(gates)} */
{room}
{_sums_of_x(count)}{product("a", "h", "units" if projection is None else "outputs", "$Wh", count)}\
    for (int j = 0; j < units; j++) {{
        const float i = {_gate(layer, acts, "i", sums["i"])};
        const float f = {_gate(layer, acts, "f", sums["f"]) if "f" in gates else "1.0f - i"};
        const float g = {_gate(layer, acts, "g", sums["g"])};
        const float c_new = {clipped("f * c[j] + i * g", layer.cell.options.get("cell_clip"))};
        const float o = {_gate(layer, acts, "o", sums["o"])};
        {f"h[j] = {_zoned(layer, 'h', h_new)};" if projection is None else f"m[j] = {_share(layer, 'h', h_new)};"}
        c[j] = {_zoned(layer, "c", "c_new")};
    }}
"""
    scratch = len(gates)
    if projection is not None:
        scratch += 1
        rate = _rate(layer, "h")
        text += fill("h", f"{number(rate)} * h[j]" if rate else "0.0f", "outputs") + product(
            "h", "m", "units", "$Wp", "outputs"
        )
    return _Body(text, scratch, _calls(acts))


def _lstm_layer_norm(layer: Recurrent) -> _Body:
    epsilon = number(EPSILON)
    return _Body(
        f"""\
    float a[4 * units]; /* what comes of x, then the gates i, f, g, o */
    float m[4 * units]; /* what comes of h */
    float n[units];     /* c, normalized */

{fill("a", "0.0f", "4 * units")}{product("a", "x", "inputs", "$Wx", "4 * units")}\
{fill("m", "0.0f", "4 * units")}{product("m", "h", "units", "$Wh", "4 * units")}\
    $normalize(a, 4 * units, {epsilon});
    $normalize(m, 4 * units, {epsilon});
{fill("a", "$gain_x[j] * a[j] + $gain_h[j] * m[j] + $b[j]", "4 * units")}\
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
""",
        9,
        5,
    )


_CELLS: dict[str, Callable[[Recurrent], _Body]] = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}


def _calls(acts: Mapping[str, Activation]) -> int:
    return sum(calls_of(act) for act in acts.values())


def _place(block: int) -> str:
    """Where the sums of the gate in this block stand."""
    return f"a[{['', 'units + '][block] if block < 2 else f'{block} * units + '}j]"


def _gate(layer: Recurrent, acts: Mapping[str, Activation], gate: str, inside: str) -> str:
    return activated(acts[gate], clipped(inside, layer.cell.options.get("clip")))


def _sums_of_x(count: str) -> str:
    """a = b + x Wx."""
    return fill("a", "$b[j]", count) + product("a", "x", "inputs", "$Wx", count)


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
