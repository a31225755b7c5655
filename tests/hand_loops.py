"""The equations of every built-in cell, written out once more as loops in which each number passes through `see`.

`see(name, t, value)` returns the value, or another one in its place: so a test reads every number of every step, and
by central differences the gradient of it. Nothing here comes from the library.
"""

import numpy as np

ACTS = {
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "softsign": lambda a: a / (1 + abs(a)),
}


def lstm(p, o, x, h, c, see, mask=1.0):
    gates = "igo" if o.get("coupled") else "ifgo"
    act = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid", "c": "tanh", **o.get("activations", {})}

    def gate(name, a):
        a = see(f"a_{name}", a)
        return see(name, ACTS[act[name]](np.clip(a, -o["clip"], o["clip"]) if "clip" in o else a))

    a = dict(zip(gates, np.split(x @ p["Wx"] + (mask * h) @ p["Wh"] + p["b"], len(gates), -1), strict=True))
    peep = {g: p.get(f"p{g}", 0) for g in "ifo"}
    i = gate("i", a["i"] + peep["i"] * c)
    f = see("f", 1 - i) if o.get("coupled") else gate("f", a["f"] + peep["f"] * c)
    g = gate("g", a["g"])
    new = f * c + i * g
    new = see("c", np.clip(new, -o["cell_clip"], o["cell_clip"]) if "cell_clip" in o else new)
    out = gate("o", a["o"] + peep["o"] * new)
    squashed = see("tanh_c" if not o else "act_c", ACTS[act["c"]](new))
    return see("h", (out * squashed) @ p["Wp"] if "Wp" in p else out * squashed), new


def normal(a):
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)


def layer_norm(p, o, x, h, c, see, mask=1.0):
    a = p["gain_x"] * normal(x @ p["Wx"]) + p["gain_h"] * normal((mask * h) @ p["Wh"]) + p["b"]
    i, f, g, out = (see(f"a_{name}", part) for name, part in zip("ifgo", np.split(a, 4, -1), strict=True))
    i, f, out = see("i", ACTS["sigmoid"](i)), see("f", ACTS["sigmoid"](f)), see("o", ACTS["sigmoid"](out))
    g = see("g", np.tanh(g))
    new = see("c", f * c + i * g)
    return see("h", out * see("tanh_c", np.tanh(p["gain_c"] * normal(new) + p["bias_c"]))), new


def gru(p, o, x, h, see, mask=1.0):
    act = {"r": "sigmoid", "z": "sigmoid", "n": "tanh", **o.get("activations", {})}

    def gate(name, a):
        a = see(f"a_{name}", a)
        return see(name, ACTS[act[name]](np.clip(a, -o["clip"], o["clip"]) if "clip" in o else a))

    u = h.shape[-1]
    xr, xz, xn = np.split(x @ p["Wx"] + p["b"], 3, -1)
    mh, Wh = mask * h, p["Wh"]
    r, z = gate("r", xr + mh @ Wh[:, :u]), gate("z", xz + mh @ Wh[:, u : 2 * u])
    if o["reset_after"]:
        n = gate("n", xn + r * see("m", mh @ Wh[:, 2 * u :] + p["bn"]))
    else:
        n = gate("n", xn + (r * mh) @ Wh[:, 2 * u :])
    return (see("h", (1 - z) * n + z * h),)


def rnn(p, o, x, h, see, mask=1.0):
    a = see("a_h", x @ p["Wx"] + (mask * h) @ p["Wh"] + p["b"])
    a = np.clip(a, -o["clip"], o["clip"]) if "clip" in o else a
    act = o["activation"]
    return (see("h", ACTS[act if isinstance(act, str) else act["name"]](a)),)


def step_of(cell):
    """The step of a built-in cell by its name and options."""
    return layer_norm if cell.options.get("layer_norm") else {"lstm": lstm, "gru": gru, "rnn": rnn}[cell.name]


def run(layer, x, state, see, reverse=False, suffix="", masks=None, zones=None):
    """One sequence x (T, I) through a layer of one direction: y (T, H) and the last states.

    `see(name, t, value)` has every number; zones, one per state, (T, H) or a number: s = z s + (1 - z) s_new.
    """
    cell = layer.cell
    p = {name: layer.parameters[name + suffix] for name in cell.weights}
    y = [None] * len(x)
    for t in range(len(x))[::-1] if reverse else range(len(x)):

        def seen(name, value, t=t):
            new = zones is not None and name in cell.states and layer.zone_rates[cell.states.index(name)]
            return see(f"{name}_new" if new else name, t, value)

        new = step_of(cell)(p, dict(cell.options), x[t], *state, seen, **({} if masks is None else {"mask": masks}))
        if zones is not None:
            at = [z[t] if np.ndim(z) else z for z in zones]
            mixed = [z * old + (1 - z) * s for z, old, s in zip(at, state, new, strict=True)]
            rates = zip(cell.states, mixed, layer.zone_rates, strict=True)
            new = [see(name, t, s) if rate else s for name, s, rate in rates]
        state = tuple(new)
        y[t] = state[0]
    return np.stack(y), state
