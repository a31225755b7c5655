"""Modules as people write them in PyTorch, and what its exporters make of them."""

# ruff: noqa: E501, E731
# fmt: off
from __future__ import annotations

import io
import logging
import math
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from foreign_models import SIZES, Case, drawn, parsed

CASES: list[Case] = []


class Module(nn.Module):
    def __init__(self, layers: dict[str, Any], forward: Callable[..., Any]) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward


class One(Module):
    def forward(self, a):
        return self.run(self, a)


class Two(Module):
    def forward(self, a, b):
        return self.run(self, a, b)


class Three(Module):
    def forward(self, a, b, c):
        return self.run(self, a, b, c)


class Four(Module):
    def forward(self, a, b, c, d):
        return self.run(self, a, b, c, d)


def exported(case: Case, layers: Callable[[], dict[str, Any]], forward: Any, dynamo: bool, options: Any) -> bytes:
    torch.manual_seed(zlib.crc32(case.name.encode()))
    module = (One, Two, Three, Four)[len(case.inputs) - 1](layers(), forward).eval()
    for each in module.modules():
        if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
            each.weight.data.normal_()
            each.bias.data.normal_()
    arguments = tuple(torch.from_numpy(array) for array in drawn(case).values())
    dims = {name: parsed(spec)[1] for name, spec in case.inputs.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                for op in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
                    op._dispatch_cache.clear()  # or the second export would have all steps written out
                sizes = {letter: torch.export.Dim(letter) for letter in SIZES[0]}
                shapes = tuple({i: sizes[dim] for i, dim in enumerate(d) if dim in sizes} for d in dims.values())
                program = torch.onnx.export(
                    module, arguments, dynamo=True, dynamic_shapes=shapes, input_names=list(dims), verbose=False
                )
                return program.model_proto.SerializeToString()
            axes = {name: {i: dim for i, dim in enumerate(d) if dim in SIZES[0]} for name, d in dims.items()}
            file = io.BytesIO()
            torch.onnx.export(
                module, arguments, file, dynamo=False, input_names=list(dims), dynamic_axes=axes, **options
            )
            return file.getvalue()
    finally:
        logging.disable(logging.NOTSET)
        torch.set_num_threads(threads)


def add(name, inputs, layers, forward, *, dynamo=False, opset=17, **options):
    """A case of the older exporter, and with `dynamo` another of the newer one, or with None that alone."""
    for new in {False: (False,), True: (False, True), None: (True,)}[dynamo]:
        case = Case(f"torch {name}{' (dynamo)' if new else ''}", inputs, lambda: b"")
        case.build = lambda case=case, new=new: exported(case, layers, forward, new, {"opset_version": opset} | options)
        CASES.append(case)


def lstm(size, hidden, layers=1, both=False, first=True):
    return nn.LSTM(size, hidden, layers, batch_first=first, bidirectional=both)


def gru(size, hidden, layers=1, both=False, first=True):
    return nn.GRU(size, hidden, layers, batch_first=first, bidirectional=both)


def mask_of(n, y):
    """(batch, time), True where steps are real."""
    return torch.arange(y.size(1))[None, :] < n[:, None]


X, N = {"x": "b t 4"}, {"n": "lengths b"}
XN = X | N

# The last step by lengths.

L = lambda: {"rnn": lstm(4, 6), "out": nn.Linear(6, 2)}
add("last: arange", XN, L, lambda m, x, n: m.out(m.rnn(x)[0][torch.arange(x.size(0)), n - 1]), dynamo=True)
add("last: arange, long()", X | {"n": "lengths32 b"}, L,
    lambda m, x, n: m.out(m.rnn(x)[0][torch.arange(n.size(0)), n.long() - 1]))
add("last: gather", XN, L,
    lambda m, x, n: m.out((y := m.rnn(x)[0]).gather(1, (n - 1).view(-1, 1, 1).expand(-1, 1, y.size(2))).squeeze(1)),
    dynamo=True)
add("last: gather, time first", {"x": "t b 4"} | N, lambda: {"rnn": lstm(4, 6, first=False)},
    lambda m, x, n: (y := m.rnn(x)[0]).gather(0, (n - 1).view(1, -1, 1).expand(1, -1, y.size(2))).squeeze(0))
add("last: gather, repeat", XN, L,
    lambda m, x, n: m.out(m.rnn(x)[0].gather(1, (n - 1)[:, None, None].repeat(1, 1, 6))[:, 0]))
add("last: index_select of rows", XN, L,
    lambda m, x, n: m.out((y := m.rnn(x)[0]).reshape(-1, 6).index_select(
        0, torch.arange(x.size(0)) * y.size(1) + n - 1)))
add("last: gru, arange", XN, lambda: {"rnn": gru(4, 6, 2), "out": nn.Linear(6, 2)},
    lambda m, x, n: m.out(torch.relu(m.rnn(x)[0])[torch.arange(x.size(0)), n - 1]))
add("last: arange, both directions", XN, lambda: {"rnn": lstm(4, 6, both=True)},
    lambda m, x, n: m.rnn(x)[0][torch.arange(x.size(0)), n - 1])
add("last: one hot", XN, L,
    lambda m, x, n: m.out((m.rnn(x)[0] * (torch.arange(x.size(1))[None] == (n - 1)[:, None])[..., None]).sum(1)))


def packed(m, x, n):
    y, state = m.rnn(nn.utils.rnn.pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False))
    return nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0], state


add("last: packed, h", XN, lambda: {"rnn": lstm(4, 6, both=True), "out": nn.Linear(12, 2)},
    lambda m, x, n: (lambda y, s: (m.out(torch.cat((s[0][-2], s[0][-1]), 1)), y))(*packed(m, x, n)))
add("last: packed, padded, arange", XN, L,
    lambda m, x, n: m.out(packed(m, x, n)[0][torch.arange(x.size(0)), n - 1]))
add("last: packed, padded", XN, lambda: {"rnn": gru(4, 6, both=True), "out": nn.Linear(12, 2)},
    lambda m, x, n: m.out(packed(m, x, n)[0]))
add("last: packed, mean", XN, lambda: {"rnn": gru(4, 6, both=True)},
    lambda m, x, n: packed(m, x, n)[0].sum(1) / n[:, None].float())

# Masked means and maxima.

MASKS = {"mask": "mask b t", "bool": "boolmask b t", "int": "intmask b t"}
G = lambda: {"rnn": gru(4, 6), "out": nn.Linear(6, 2)}
add("mean: mask from lengths", XN, G,
    lambda m, x, n: m.out(((y := m.rnn(x)[0]) * (k := mask_of(n, y).float()[..., None])).sum(1) / k.sum(1)),
    dynamo=True)
add("mean: mask from lengths, divided by lengths", XN, G,
    lambda m, x, n: m.out(((y := m.rnn(x)[0]) * mask_of(n, y).unsqueeze(-1)).sum(1) / n.unsqueeze(1)))
add("mean: masked_fill 0", XN, G,
    lambda m, x, n: m.out((y := m.rnn(x)[0]).masked_fill(~mask_of(n, y)[..., None], 0.0).sum(1) / n[:, None].float()))
add("mean: where", XN, G,
    lambda m, x, n: m.out(torch.where(mask_of(n, y := m.rnn(x)[0])[..., None], y, torch.zeros(())).sum(1) /
                          n.clamp(min=1).unsqueeze(1)))
for kind, spec in MASKS.items():
    add(f"mean: {kind} as an input", X | {"mask": spec}, G,
        lambda m, x, k: m.out((m.rnn(x)[0] * k.unsqueeze(-1)).sum(1) / k.sum(1, keepdim=True)), dynamo=kind == "mask")
    add(f"mean: {kind} as an input, clamp", X | {"mask": spec}, G,
        lambda m, x, k: m.out(torch.sum(m.rnn(x)[0] * k.unsqueeze(-1).expand(-1, -1, 6).float(), 1) /
                              torch.clamp(k.unsqueeze(-1).expand(-1, -1, 6).float().sum(1), min=1e-9)))
    add(f"max: {kind} as an input", X | {"mask": spec}, G,
        lambda m, x, k: m.out(m.rnn(x)[0].masked_fill(~k.bool()[..., None], -1e9).max(1)[0]))
add("mean: mask (b, t, 1)", X | {"mask": "mask b t 1"}, G,
    lambda m, x, k: m.out((m.rnn(x)[0] * k).sum(1) / k.sum(1)))
add("max: mask from lengths, -inf", XN, G,
    lambda m, x, n: m.out((y := m.rnn(x)[0]).masked_fill(~mask_of(n, y)[..., None], -math.inf).max(1).values),
    dynamo=True)
add("max: mask from lengths, -1e9, amax", XN, G,
    lambda m, x, n: m.out((y := m.rnn(x)[0]).masked_fill(torch.logical_not(mask_of(n, y)).unsqueeze(-1), -1e9).amax(1)))
add("max: where, -inf", XN, G,
    lambda m, x, n: m.out(torch.where(mask_of(n, y := m.rnn(x)[0])[..., None], y, torch.tensor(-torch.inf)).max(1)[0]))
add("mean: mask of tokens", {"x": "tokens11 b t"}, lambda: {"e": nn.Embedding(11, 4), "rnn": gru(4, 6)},
    lambda m, x: (m.rnn(m.e(x))[0] * (k := (x != 0).float()[..., None])).sum(1) / k.sum(1).clamp(min=1))
add("steps: output times mask", X | {"mask": "mask b t"}, G,
    lambda m, x, k: m.out(m.rnn(x)[0]) * k.unsqueeze(-1))
add("steps: output times mask from lengths", XN, G, lambda m, x, n: m.out(m.rnn(x)[0]) * mask_of(n, x).unsqueeze(-1))
add("steps: masked input", X | {"mask": "mask b t"}, G, lambda m, x, k: m.out(m.rnn(x * k[..., None])[0]))
add("mean and max: side by side", X, lambda: {"rnn": gru(4, 6, both=True), "out": nn.Linear(24, 2)},
    lambda m, x: m.out(torch.cat([(y := m.rnn(x)[0]).mean(1), y.max(1)[0]], 1)))
add("mean, max, last: side by side", XN, lambda: {"rnn": gru(4, 6), "out": nn.Linear(18, 2)},
    lambda m, x, n: m.out(torch.cat([
        ((y := m.rnn(x)[0]) * (k := mask_of(n, y)[..., None])).sum(1) / n[:, None],
        y.masked_fill(~k, -torch.inf).max(1)[0],
        y[torch.arange(x.size(0)), n - 1]], 1)))

# Attention.

QM = {"q": "b t 4", "m": "b s 6"}
PROJECTED = lambda: {"rnn": gru(4, 6), "mem": gru(6, 6), "out": nn.Linear(12, 2)}


def dot(m, q, k, *, scale=None, mask=None, fill=-1e9):
    q, k = m.rnn(q)[0], m.mem(k)[0]
    s = torch.bmm(q, k.transpose(1, 2))
    if scale:
        s = s / scale
    if mask is not None:
        s = s.masked_fill(~mask[:, None, :], fill)
    return m.out(torch.cat((q, torch.bmm(torch.softmax(s, -1), k)), -1))


add("attention: dot", QM, PROJECTED, dot, dynamo=True)
add("attention: dot, matmul, scaled", QM, PROJECTED,
    lambda m, q, k: m.out(torch.cat([(q := m.rnn(q)[0]), F.softmax(q @ (k := m.mem(k)[0]).transpose(-2, -1) / math.sqrt(6), dim=2) @ k], 2)))
add("attention: dot, scaled by product", QM, PROJECTED,
    lambda m, q, k: m.out(torch.cat([(q := m.rnn(q)[0]), F.softmax((q * 6**-0.5) @ (k := m.mem(k)[0]).transpose(1, 2), dim=2) @ k], 2)))
for fill in (-1e9, -math.inf, -1e4):
    add(f"attention: dot, lengths, {fill}", QM | {"n": "lengths/s b"}, PROJECTED,
        lambda m, q, k, n, fill=fill: dot(m, q, k, mask=mask_of(n, k), fill=fill, scale=math.sqrt(6)))
    add(f"attention: dot, mask as an input, {fill}", {"q": "b t 4", "m": "b s 6", "mask": "boolmask b s"}, PROJECTED,
        lambda m, q, k, n, fill=fill: dot(m, q, k, mask=n, fill=fill))
add("attention: dot, einsum", QM, PROJECTED,
    lambda m, q, k: torch.einsum("bqk,bkh->bqh", torch.softmax(torch.einsum("bqh,bkh->bqk", m.rnn(q)[0], (v := m.mem(k)[0])), -1), v))
add("attention: scaled_dot_product_attention", QM, PROJECTED,
    lambda m, q, k: F.scaled_dot_product_attention(m.rnn(q)[0], (v := m.mem(k)[0]), v))
add("attention: projected q k v", QM,
    lambda: {"q": nn.Linear(4, 5), "k": nn.Linear(6, 5), "v": nn.Linear(6, 9), "out": nn.Linear(9, 2)},
    lambda m, q, k: m.out(torch.softmax(m.q(q) @ m.k(k).transpose(1, 2) / math.sqrt(5), -1) @ m.v(k)), dynamo=True)
add("self attention: plain", X, lambda: {"rnn": gru(4, 6, both=True), "out": nn.Linear(12, 2)},
    lambda m, x: m.out(torch.bmm(torch.softmax(torch.bmm((y := m.rnn(x)[0]), y.transpose(1, 2)), -1), y).mean(1)))
add("self attention: linear q and k", X, lambda: {"rnn": gru(4, 6), "q": nn.Linear(6, 5), "k": nn.Linear(6, 5), "v": nn.Linear(6, 6)},
    lambda m, x: torch.softmax(m.q(y := m.rnn(x)[0]) @ m.k(y).transpose(1, 2) / 5**0.5, -1) @ m.v(y))
add("self attention: linear q and k, no bias, residual, norm", X,
    lambda: {"rnn": gru(4, 6), "q": nn.Linear(6, 5, bias=False), "k": nn.Linear(6, 5, bias=False), "n": nn.LayerNorm(6)},
    lambda m, x: m.n((y := m.rnn(x)[0]) + torch.softmax(m.q(y) @ m.k(y).transpose(1, 2), -1) @ y), dynamo=True)
add("self attention: lengths", XN, lambda: {"rnn": gru(4, 6), "q": nn.Linear(6, 5), "k": nn.Linear(6, 5)},
    lambda m, x, n: torch.softmax((m.q(y := m.rnn(x)[0]) @ m.k(y).transpose(1, 2)).masked_fill(~mask_of(n, y)[:, None], -1e9), -1) @ y)
add("self attention: heads", {"x": "b=3 t=7 4"}, lambda: {"rnn": gru(4, 6), "a": nn.MultiheadAttention(6, 2, batch_first=True)},
    lambda m, x: m.a(y := m.rnn(x)[0], y, y, need_weights=True)[0])
add("attention: Luong, last state", X, lambda: {"rnn": lstm(4, 6), "out": nn.Linear(12, 2)},
    lambda m, x: m.out(torch.cat([(h := (r := m.rnn(x))[1][0][-1]), torch.bmm(torch.softmax(torch.bmm(r[0], h.unsqueeze(2)).squeeze(2), 1).unsqueeze(1), r[0]).squeeze(1)], 1)),
    dynamo=True)
add("attention: Luong, last state, columns", X, lambda: {"rnn": lstm(4, 6), "out": nn.Linear(6, 2)},
    lambda m, x: m.out(torch.bmm((y := (r := m.rnn(x))[0]).transpose(1, 2), F.softmax(torch.bmm(y, r[1][0].squeeze(0).unsqueeze(2)).squeeze(2), 1).unsqueeze(2)).squeeze(2)))
add("attention: Luong, general", X, lambda: {"rnn": lstm(4, 6), "w": nn.Linear(6, 6, bias=False), "out": nn.Linear(12, 2)},
    lambda m, x: m.out(torch.tanh(torch.cat([(h := (r := m.rnn(x))[0][:, -1:]), torch.softmax(torch.bmm(m.w(h), r[0].transpose(1, 2)), 2) @ r[0]], 2))[:, 0]))
BAHDANAU = lambda: {"rnn": gru(4, 6), "mem": gru(6, 9), "w": nn.Linear(6, 5), "u": nn.Linear(9, 5), "v": nn.Linear(5, 1, bias=False)}
add("attention: Bahdanau", QM, BAHDANAU,
    lambda m, q, k: torch.softmax(m.v(torch.tanh(m.w(m.rnn(q)[0]).unsqueeze(2) + m.u(k := m.mem(k)[0]).unsqueeze(1))).squeeze(-1), -1) @ k, dynamo=True)
add("attention: Bahdanau, one query", QM, BAHDANAU,
    lambda m, q, k: torch.bmm(torch.softmax(m.v(torch.tanh(m.w(m.rnn(q)[1][-1]).unsqueeze(1) + m.u(k := m.mem(k)[0]))).squeeze(2), 1).unsqueeze(1), k).squeeze(1))
add("attention: Bahdanau, one query, sum", QM, BAHDANAU,
    lambda m, q, k: (torch.softmax(m.v(torch.tanh(m.w(m.rnn(q)[0][:, -1:]) + m.u(k := m.mem(k)[0]))), 1) * k).sum(1))
add("attention: Bahdanau, lengths", QM | {"n": "lengths/s b"}, BAHDANAU,
    lambda m, q, k, n: torch.softmax(m.v(torch.tanh(m.w(m.rnn(q)[0]).unsqueeze(2) + m.u(y := m.mem(k)[0]).unsqueeze(1))).squeeze(-1).masked_fill(~mask_of(n, k)[:, None], -torch.inf), -1) @ y)
POOL = lambda: {"rnn": gru(4, 6, both=True), "a": nn.Linear(12, 1), "out": nn.Linear(12, 2)}
add("attention pooling: sum", X, POOL, lambda m, x: m.out((torch.softmax(m.a(y := m.rnn(x)[0]), 1) * y).sum(1)))
add("attention pooling: squeezed", X, POOL,
    lambda m, x: m.out((torch.softmax(m.a(y := m.rnn(x)[0]).squeeze(-1), -1).unsqueeze(-1) * y).sum(1)), dynamo=True)
add("attention pooling: bmm", X, POOL,
    lambda m, x: m.out(torch.bmm(torch.softmax(m.a(torch.tanh(y := m.rnn(x)[0])).squeeze(-1), 1).unsqueeze(1), y).squeeze(1)))
add("attention pooling: parameter", X, lambda: {"rnn": gru(4, 6), "w": nn.Parameter(torch.randn(6)), "out": nn.Linear(6, 2)},
    lambda m, x: m.out((torch.softmax(torch.tanh(y := m.rnn(x)[0]) @ m.w, 1).unsqueeze(2) * y).sum(1)))
add("attention pooling: tanh, linear", X, lambda: {"rnn": gru(4, 6), "u": nn.Linear(6, 5), "w": nn.Linear(5, 1, bias=False)},
    lambda m, x: torch.einsum("bt,bth->bh", torch.softmax(m.w(torch.tanh(m.u(y := m.rnn(x)[0]))).squeeze(2), 1), y))
add("attention pooling: lengths", XN, POOL,
    lambda m, x, n: m.out((torch.softmax(m.a(y := m.rnn(x)[0]).squeeze(-1).masked_fill(~mask_of(n, y), -1e9), -1).unsqueeze(-1) * y).sum(1)))
add("attention pooling: lengths, no direction back", XN, lambda: {"rnn": gru(4, 6), "a": nn.Linear(6, 1)},
    lambda m, x, n: (torch.softmax(m.a(y := m.rnn(x)[0]).squeeze(-1).masked_fill(~mask_of(n, y), -math.inf), -1).unsqueeze(-1) * y).sum(1))
add("attention pooling: mask as an input", X | {"mask": "mask b t"}, lambda: {"rnn": gru(4, 6), "a": nn.Linear(6, 1)},
    lambda m, x, k: (torch.softmax(m.a(y := m.rnn(x)[0]).squeeze(-1).masked_fill(k == 0, -1e9), -1).unsqueeze(-1) * y).sum(1))
add("attention pooling: added mask", X | {"mask": "mask b t"}, lambda: {"rnn": gru(4, 6), "a": nn.Linear(6, 1)},
    lambda m, x, k: (torch.softmax(m.a(y := m.rnn(x)[0]).squeeze(-1) + (1.0 - k) * -10000.0, -1).unsqueeze(-1) * y).sum(1))
add("attention pooling: the weights go out too", X, POOL,
    lambda m, x: ((m.out(((a := torch.softmax(m.a(y := m.rnn(x)[0]), 1)) * y).sum(1))), a))

# Convolutions before the layers.


def turned(f):
    """The step of a module over (batch, features, time), for (batch, time, features)."""
    return lambda m, x: m.rnn(f(m, x.transpose(1, 2)).transpose(1, 2))[0]


def conv(name, layers, f=lambda m, x: m.c(x), *, inputs=X, size=6, **more):
    add(f"conv: {name}", inputs, lambda: layers() | {"rnn": gru(size, 5)}, turned(f), **more)


conv("depthwise", lambda: {"c": nn.Conv1d(4, 4, 3, padding=1, groups=4)}, size=4, dynamo=True)
conv("depthwise, two for each", lambda: {"c": nn.Conv1d(4, 8, 3, padding=1, groups=4)}, size=8)
conv("groups of 2", lambda: {"c": nn.Conv1d(4, 6, 3, padding=1, groups=2)})
conv("separable", lambda: {"c": nn.Conv1d(4, 4, 5, padding=2, groups=4, bias=False), "p": nn.Conv1d(4, 6, 1)}, lambda m, x: torch.relu(m.p(m.c(x))))
for mode in ("reflect", "replicate", "circular"):
    conv(f"{mode} padding", lambda mode=mode: {"c": nn.Conv1d(4, 6, 3, padding=1, padding_mode=mode)}, dynamo=mode == "replicate")
    conv(f"{mode} F.pad to the left", lambda: {"c": nn.Conv1d(4, 6, 3)}, lambda m, x, mode=mode: m.c(F.pad(x, (2, 0), mode)))
conv("constant F.pad to the left", lambda: {"c": nn.Conv1d(4, 6, 3, dilation=2)}, lambda m, x: m.c(F.pad(x, (4, 0))))
conv("constant F.pad, 1", lambda: {"c": nn.Conv1d(4, 6, 3)}, lambda m, x: m.c(F.pad(x, (1, 1), value=1.0)))
conv("causal by cutting", lambda: {"c": nn.Conv1d(4, 6, 3, padding=2)}, lambda m, x: m.c(x)[:, :, :-2])
BLOCK = lambda: {"c": nn.Conv1d(4, 6, 3, padding=1), "n": nn.BatchNorm1d(6), "p": nn.MaxPool1d(2)}
conv("norm, relu, pool", BLOCK, lambda m, x: m.p(torch.relu(m.n(m.c(x)))))
conv("norm, relu, pool of a known number", BLOCK, lambda m, x: m.p(torch.relu(m.n(m.c(x)))), inputs={"x": "b t=8 4"}, dynamo=None)
conv("norm that stays", lambda: {"n": nn.BatchNorm1d(4), "c": nn.Conv1d(4, 6, 3, padding=1)}, lambda m, x: torch.relu(m.c(m.n(x))))
conv("pool, then norm", BLOCK, lambda m, x: m.n(m.p(m.c(x))))
conv("strided", lambda: {"c": nn.Conv1d(4, 6, 3, stride=2, padding=1)})
conv("strided, dilated", lambda: {"c": nn.Conv1d(4, 6, 3, stride=2, dilation=2, padding=2)})
conv("two, leaky relu, dropout", lambda: {"c": nn.Conv1d(4, 5, 5, padding=2), "d": nn.Conv1d(5, 6, 3, padding=1), "drop": nn.Dropout(0.3)},
     lambda m, x: m.drop(F.leaky_relu(m.d(F.leaky_relu(m.c(x), 0.2)), 0.2)))
conv("pool with ceil_mode", lambda: {"c": nn.Conv1d(4, 6, 1), "p": nn.MaxPool1d(2, ceil_mode=True)}, lambda m, x: m.p(m.c(x)))
conv("mean pool with ceil_mode", lambda: {"c": nn.Conv1d(4, 6, 1), "p": nn.AvgPool1d(3, 2, ceil_mode=True)}, lambda m, x: m.p(m.c(x)))
conv("mean pool with pads", lambda: {"c": nn.Conv1d(4, 6, 1), "p": nn.AvgPool1d(3, 1, padding=1)}, lambda m, x: m.p(m.c(x)))
conv("mean pool with pads, not counted", lambda: {"c": nn.Conv1d(4, 6, 1), "p": nn.AvgPool1d(3, 1, padding=1, count_include_pad=False)}, lambda m, x: m.p(m.c(x)))
conv("residual", lambda: {"c": nn.Conv1d(4, 4, 3, padding=1), "d": nn.Conv1d(4, 4, 3, padding=1)}, lambda m, x: torch.relu(m.d(torch.relu(m.c(x))) + x), size=4)
conv("gated (GLU)", lambda: {"c": nn.Conv1d(4, 12, 3, padding=1)}, lambda m, x: F.glu(m.c(x), 1))
conv("squeeze and excite", lambda: {"c": nn.Conv1d(4, 6, 3, padding=1), "a": nn.Linear(6, 3), "b": nn.Linear(3, 6)},
     lambda m, x: (y := m.c(x)) * torch.sigmoid(m.b(torch.relu(m.a(y.mean(2))))).unsqueeze(-1))
conv("instance norm", lambda: {"c": nn.Conv1d(4, 6, 3, padding=1), "n": nn.InstanceNorm1d(6)}, lambda m, x: m.n(m.c(x)))
conv("group norm", lambda: {"c": nn.Conv1d(4, 6, 3, padding=1), "n": nn.GroupNorm(2, 6)}, lambda m, x: m.n(m.c(x)))
conv("layer norm of channels", lambda: {"c": nn.Conv1d(4, 6, 3, padding=1), "n": nn.LayerNorm(6)}, lambda m, x: m.n(m.c(x).transpose(1, 2)).transpose(1, 2))
conv("transposed", lambda: {"c": nn.ConvTranspose1d(4, 6, 2, stride=2)})
conv("upsampled", lambda: {"c": nn.Conv1d(4, 6, 1)}, lambda m, x: F.interpolate(m.c(x), scale_factor=2))
add("conv: after the layer, adaptive mean", X, lambda: {"rnn": gru(4, 6), "c": nn.Conv1d(6, 5, 3, padding=1), "p": nn.AdaptiveAvgPool1d(1), "out": nn.Linear(5, 2)},
    lambda m, x: m.out(m.p(m.c(m.rnn(x)[0].permute(0, 2, 1))).squeeze(-1)), dynamo=True)
add("conv: after the layer, adaptive max, flatten", X, lambda: {"rnn": gru(4, 6), "p": nn.AdaptiveMaxPool1d(1), "out": nn.Linear(6, 2)},
    lambda m, x: m.out(torch.flatten(m.p(m.rnn(x)[0].permute(0, 2, 1)), 1)))
add("conv: global mean by the mean", X, lambda: {"c": nn.Conv1d(4, 6, 3), "out": nn.Linear(6, 2)},
    lambda m, x: m.out(torch.relu(m.c(x.permute(0, 2, 1))).mean(dim=2)))
add("conv: global max by F.max_pool1d", {"x": "b t=7 4"}, lambda: {"c": nn.Conv1d(4, 6, 3), "out": nn.Linear(6, 2)},
    lambda m, x: m.out(F.max_pool1d(F.relu(m.c(x.permute(0, 2, 1))), 5).squeeze(2)))
add("conv: text CNN of three widths", {"x": "tokens11 b t"}, lambda: {"e": nn.Embedding(11, 4), "cs": nn.ModuleList(nn.Conv1d(4, 5, k) for k in (2, 3, 4)), "out": nn.Linear(15, 2)},
    lambda m, x: m.out(torch.cat([F.relu(c(m.e(x).transpose(1, 2))).amax(2) for c in m.cs], 1)))
add("conv: text CNN by Conv2d", {"x": "tokens11 b t"}, lambda: {"e": nn.Embedding(11, 4), "cs": nn.ModuleList(nn.Conv2d(1, 5, (k, 4)) for k in (2, 3)), "out": nn.Linear(10, 2)},
    lambda m, x: m.out(torch.cat([F.relu(c(m.e(x).unsqueeze(1))).squeeze(3).amax(2) for c in m.cs], 1)))
add("conv: Conv2d of height 1", X, lambda: {"c": nn.Conv2d(4, 6, (1, 3), padding=(0, 1)), "rnn": gru(6, 5)},
    lambda m, x: m.rnn(m.c(x.permute(0, 2, 1).unsqueeze(2)).squeeze(2).permute(0, 2, 1))[0])
add("conv: Conv2d of width 1, pool", X, lambda: {"c": nn.Conv2d(1, 6, (3, 1), padding=(1, 0)), "rnn": gru(24, 5)},
    lambda m, x: m.rnn(F.relu(m.c(x.unsqueeze(1))).permute(0, 2, 1, 3).flatten(2))[0])
add("conv: Conv2d over all features", X, lambda: {"c": nn.Conv2d(1, 6, (3, 4), padding=(1, 0)), "rnn": gru(6, 5)},
    lambda m, x: m.rnn(F.relu(m.c(x.unsqueeze(1))).squeeze(3).transpose(1, 2))[0], dynamo=False)
add("conv: CRNN", {"x": "b 1 8 t"}, lambda: {"c": nn.Conv2d(1, 3, 3, padding=1), "p": nn.MaxPool2d((2, 1)), "rnn": gru(12, 5, both=True), "out": nn.Linear(10, 6)},
    lambda m, x: F.log_softmax(m.out(m.rnn(m.p(torch.relu(m.c(x))).permute(0, 3, 1, 2).flatten(2))[0]), 2))
add("conv: time first, CTC", {"x": "b 4 t"}, lambda: {"c": nn.Conv1d(4, 6, 3, stride=2, padding=1), "rnn": lstm(6, 5, 2, True, False), "out": nn.Linear(10, 11)},
    lambda m, x: F.log_softmax(m.out(m.rnn(F.hardtanh(m.c(x), 0, 20).permute(2, 0, 1))[0]), -1))
add("conv: TCN block", X, lambda: {"c": nn.Conv1d(4, 6, 2, dilation=2), "d": nn.Conv1d(6, 6, 2, dilation=2), "r": nn.Conv1d(4, 6, 1)},
    lambda m, x: F.relu(F.relu(m.d(F.pad(F.relu(m.c(F.pad(x.transpose(1, 2), (2, 0)))), (2, 0)))) + m.r(x.transpose(1, 2))))
add("conv: WaveNet gate", X, lambda: {"c": nn.Conv1d(4, 6, 2, dilation=2), "d": nn.Conv1d(4, 6, 2, dilation=2), "s": nn.Conv1d(6, 4, 1)},
    lambda m, x: m.s(torch.tanh(m.c(p := F.pad(x.transpose(1, 2), (2, 0)))) * torch.sigmoid(m.d(p))) + x.transpose(1, 2))
add("conv: WaveNet gate of one convolution", X, lambda: {"c": nn.Conv1d(4, 12, 2, padding=1), "s": nn.Conv1d(6, 4, 1)},
    lambda m, x: (lambda a, b: m.s(torch.tanh(a) * torch.sigmoid(b)) + x.transpose(1, 2))(*m.c(x.transpose(1, 2))[:, :, :-1].chunk(2, 1)))

# Reshapes, states, directions.

B2 = lambda: {"rnn": lstm(4, 6, 2, True), "out": nn.Linear(24, 2)}
add("h: permute, reshape", X, B2, lambda m, x: m.out((h := m.rnn(x)[1][0]).permute(1, 0, 2).reshape(h.size(1), -1)), dynamo=True)
add("h: permute, reshape, one layer", X, lambda: {"rnn": lstm(4, 6, 1, True), "out": nn.Linear(12, 2)}, lambda m, x: m.out(m.rnn(x)[1][0].permute(1, 0, 2).reshape(x.size(0), -1)))
add("h: two last", X, lambda: {"rnn": lstm(4, 6, 2, True), "out": nn.Linear(12, 2)}, lambda m, x: m.out(torch.cat(((h := m.rnn(x)[1][0])[-2], h[-1]), 1)), dynamo=True)
add("h: two last, slices", X, lambda: {"rnn": lstm(4, 6, 2, True), "out": nn.Linear(12, 2)}, lambda m, x: m.out(torch.cat(((h := m.rnn(x)[1][0])[-2, :, :], h[-1, :, :]), dim=1)))
add("h: last", X, lambda: {"rnn": lstm(4, 6, 2), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[1][0][-1]))
add("h: squeeze(0)", X, G, lambda m, x: m.out(m.rnn(x)[1].squeeze(0)))
add("h: squeeze()", X, G, lambda m, x: m.out(m.rnn(x)[1].squeeze()))
add("h: view(-1, H)", X, G, lambda m, x: m.out(m.rnn(x)[1].view(-1, 6)))
add("h: view(layers, directions)", X, lambda: {"rnn": lstm(4, 6, 2, True), "out": nn.Linear(6, 2)},
    lambda m, x: m.out(m.rnn(x)[1][0].view(2, 2, x.size(0), 6)[-1].sum(0)))
add("h: mean of layers", X, lambda: {"rnn": gru(4, 6, 2), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[1].mean(0)))
add("h: sum of directions", X, lambda: {"rnn": gru(4, 6, 1, True), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[1].sum(0)))
add("h and c: side by side", X, lambda: {"rnn": lstm(4, 6), "out": nn.Linear(12, 2)}, lambda m, x: m.out(torch.cat([(r := m.rnn(x)[1])[0][-1], r[1][-1]], 1)))
add("c alone", X, lambda: {"rnn": lstm(4, 6), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[1][1][-1]))
add("c goes out alone", X, lambda: {"rnn": lstm(4, 6)}, lambda m, x: m.rnn(x)[1][1])
add("autoencoder: h, repeated", X, lambda: {"rnn": lstm(4, 6), "d": lstm(6, 5), "out": nn.Linear(5, 4)},
    lambda m, x: m.out(m.d(m.rnn(x)[1][0][-1].unsqueeze(1).repeat(1, x.size(1), 1))[0]), dynamo=True)
add("autoencoder: last step, expanded", X, lambda: {"rnn": lstm(4, 6), "d": lstm(6, 5), "out": nn.Linear(5, 4)},
    lambda m, x: m.out(m.d(m.rnn(x)[0][:, -1:, :].expand(-1, x.size(1), -1))[0]))
add("autoencoder: fixed steps", {"x": "b t=6 4"}, lambda: {"rnn": lstm(4, 6), "d": lstm(6, 5), "out": nn.Linear(5, 4)},
    lambda m, x: m.out(m.d(m.rnn(x)[1][0].permute(1, 0, 2).repeat(1, 6, 1))[0]))
add("flatten: fixed steps", {"x": "b t=6 4"}, lambda: {"rnn": gru(4, 5), "out": nn.Linear(30, 2)}, lambda m, x: m.out(m.rnn(x)[0].flatten(1)), dynamo=True)
add("flatten: fixed steps, reshape", {"x": "b t=6 4"}, lambda: {"rnn": gru(4, 5), "out": nn.Linear(30, 2)}, lambda m, x: m.out(torch.relu(m.rnn(x)[0]).reshape(x.size(0), -1)))
add("flatten: fixed steps, features first", {"x": "b t=6 4"}, lambda: {"rnn": gru(4, 5), "out": nn.Linear(30, 2)}, lambda m, x: m.out(m.rnn(x)[0].transpose(1, 2).flatten(1)))
add("flatten: input", {"x": "b t=6 4"}, lambda: {"out": nn.Linear(24, 2)}, lambda m, x: m.out(x.flatten(1)))
add("flatten: windows of outputs", {"x": "b t=6 4"}, lambda: {"rnn": gru(4, 5), "out": nn.Linear(5, 9)}, lambda m, x: m.out(m.rnn(x)[0][:, -1]).view(-1, 3, 3))
TD = lambda: {"rnn": gru(4, 6), "out": nn.Linear(6, 2)}
add("time distributed: view, view", X, TD, lambda m, x: m.out(m.rnn(x)[0].reshape(-1, 6)).view(x.size(0), x.size(1), -1), dynamo=True)
add("time distributed: contiguous view, left flat", X, TD, lambda m, x: m.out(m.rnn(x)[0].contiguous().view(-1, 6)))
add("time distributed: left flat, log_softmax", X, TD, lambda m, x: F.log_softmax(m.out(m.rnn(x)[0].reshape(-1, 6)), dim=1))
add("time distributed: view, batch norm", X, lambda: {"rnn": gru(4, 6), "n": nn.BatchNorm1d(6), "out": nn.Linear(6, 2)},
    lambda m, x: m.out(m.n(m.rnn(x)[0].reshape(-1, 6))).view(x.size(0), -1, 2))
add("time distributed: time first", {"x": "t b 4"}, lambda: {"rnn": gru(4, 6, first=False), "out": nn.Linear(6, 2)},
    lambda m, x: m.out((y := m.rnn(x)[0]).view(y.size(0) * y.size(1), 6)).view(y.size(0), y.size(1), 2))
add("steps: the last k", X, TD, lambda m, x: m.out(m.rnn(x)[0][:, -3:]), dynamo=True)
add("steps: the last k, flat", X, lambda: {"rnn": gru(4, 6), "out": nn.Linear(18, 2)}, lambda m, x: m.out(m.rnn(x)[0][:, -3:].flatten(1)))
add("steps: the first k", X, TD, lambda m, x: m.out(m.rnn(x)[0][:, :3]))
add("steps: without the first", X, TD, lambda m, x: m.out(m.rnn(x)[0][:, 2:]))
add("steps: every second", X, TD, lambda m, x: m.out(m.rnn(x)[0][:, ::2]))
add("steps: the middle one", {"x": "b t=7 4"}, TD, lambda m, x: m.out(m.rnn(x)[0][:, 3]))
add("steps: the first", X, TD, lambda m, x: m.out(m.rnn(x)[0][:, 0]))
add("steps: last by narrow", X, TD, lambda m, x: m.out(m.rnn(x)[0].narrow(1, x.size(1) - 1, 1).squeeze(1)))
add("steps: last by select(-1)", {"x": "t b 4"}, lambda: {"rnn": gru(4, 6, first=False), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[0][-1]))
add("steps: flip", X, TD, lambda m, x: m.out(m.rnn(x.flip(1))[0].flip(1)))
add("steps: difference", X, TD, lambda m, x: m.out(m.rnn(x[:, 1:] - x[:, :-1])[0]))
add("steps: roll", X, TD, lambda m, x: m.out(m.rnn(torch.cat([x[:, -1:], x[:, :-1]], 1))[0]))
add("steps: cumsum", X, TD, lambda m, x: m.out(m.rnn(torch.cumsum(x, 1))[0]))
add("gates: chunk", X, lambda: {"rnn": gru(4, 6)}, lambda m, x: (lambda a, b: a * torch.sigmoid(b))(*m.rnn(x)[0].chunk(2, -1)), dynamo=True)
add("gates: split of three", X, lambda: {"rnn": gru(4, 6)}, lambda m, x: (lambda a, b, c: torch.tanh(a) * torch.sigmoid(b) + c)(*m.rnn(x)[0].split(2, 2)))
add("gates: slices", X, lambda: {"rnn": gru(4, 6), "out": nn.Linear(3, 2)}, lambda m, x: m.out((y := m.rnn(x)[0])[..., :3] + y[..., 3:]))
add("gates: highway", X, lambda: {"rnn": gru(4, 4), "g": nn.Linear(4, 4)}, lambda m, x: (g := torch.sigmoid(m.g(x))) * m.rnn(x)[0] + (1 - g) * x)
add("residual", X, lambda: {"rnn": gru(4, 4), "s": gru(4, 4), "out": nn.Linear(4, 2)}, lambda m, x: m.out((y := m.rnn(x)[0] + x) + m.s(y)[0]))
add("residual, norm, feed forward", X, lambda: {"rnn": gru(4, 4), "n": nn.LayerNorm(4), "a": nn.Linear(4, 8), "b": nn.Linear(8, 4), "k": nn.LayerNorm(4)},
    lambda m, x: m.k((y := m.n(m.rnn(x)[0] + x)) + m.b(F.gelu(m.a(y)))))
add("directions: concat of two layers, flip", X, lambda: {"rnn": gru(4, 6), "s": gru(4, 6), "out": nn.Linear(12, 2)},
    lambda m, x: m.out(torch.cat([m.rnn(x)[0], m.s(x.flip(1))[0].flip(1)], -1)))
add("directions: last of both by halves", X, lambda: {"rnn": gru(4, 6, both=True), "out": nn.Linear(12, 2)},
    lambda m, x: m.out(torch.cat([(y := m.rnn(x)[0])[:, -1, :6], y[:, 0, 6:]], 1)), dynamo=True)
add("directions: sum of halves", X, lambda: {"rnn": gru(4, 6, both=True), "out": nn.Linear(6, 2)}, lambda m, x: m.out((y := m.rnn(x)[0])[:, :, :6] + y[:, :, 6:]))
add("directions: view, mean", X, lambda: {"rnn": gru(4, 6, both=True), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[0].view(x.size(0), x.size(1), 2, 6).mean(2)))
add("directions: one of two", X, lambda: {"rnn": gru(4, 6, both=True), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[0][..., :6]))
add("two inputs: steps side by side", {"x": "b t 4", "z": "b t 3"}, lambda: {"rnn": gru(7, 6)}, lambda m, x, z: m.rnn(torch.cat([x, z], -1))[0])
add("two inputs: a vector beside", {"x": "b t 4", "v": "b 3"}, lambda: {"rnn": gru(4, 6), "out": nn.Linear(9, 2)}, lambda m, x, v: m.out(torch.cat([m.rnn(x)[0][:, -1], v], 1)), dynamo=True)
add("two inputs: a vector at each step", {"x": "b t 4", "v": "b 3"}, lambda: {"rnn": gru(7, 6)}, lambda m, x, v: m.rnn(torch.cat([x, v.unsqueeze(1).expand(-1, x.size(1), -1)], 2))[0])
add("two inputs: a vector starts", {"x": "b t 4", "v": "b 3"}, lambda: {"rnn": gru(4, 6), "i": nn.Linear(3, 6)}, lambda m, x, v: m.rnn(x, torch.tanh(m.i(v)).unsqueeze(0))[0])
add("two inputs: tokens and features", {"k": "tokens11 b t", "x": "b t 4"}, lambda: {"e": nn.Embedding(11, 3), "rnn": gru(7, 6)}, lambda m, k, x: m.rnn(torch.cat([m.e(k), x], 2))[0])
add("two inputs: one token for all steps", {"k": "tokens11 b", "x": "b t 4"}, lambda: {"e": nn.Embedding(11, 3), "rnn": gru(4, 6), "out": nn.Linear(9, 2)}, lambda m, k, x: m.out(torch.cat([m.rnn(x)[0][:, -1], m.e(k)], 1)))
add("two inputs: siamese", {"x": "b t 4", "z": "b s 4"}, lambda: {"rnn": gru(4, 6), "out": nn.Linear(6, 1)}, lambda m, x, z: m.out(torch.abs(m.rnn(x)[1][-1] - m.rnn(z)[1][-1])))
add("two outputs: steps and class", X, lambda: {"rnn": gru(4, 6), "a": nn.Linear(6, 2), "b": nn.Linear(6, 3)}, lambda m, x: (m.a(y := m.rnn(x)[0]), m.b(y[:, -1])))
add("one feature: squeezed", {"x": "b t"}, lambda: {"rnn": gru(1, 6), "out": nn.Linear(6, 1)}, lambda m, x: m.out(m.rnn(x.unsqueeze(-1))[0]).squeeze(-1))
add("one sequence without a batch", {"x": "t 4"}, TD, lambda m, x: m.out(m.rnn(x)[0]))

# States in and out.

HC = {"h": "h 1 b 6", "c": "c 1 b 6"}
add("states: h, c", X | HC, L, lambda m, x, h, c: (lambda y, s: (m.out(y), *s))(*m.rnn(x, (h, c))), dynamo=True)
add("states: two layers", X | {"h": "h 2 b 6", "c": "c 2 b 6"}, lambda: {"rnn": lstm(4, 6, 2)}, lambda m, x, h, c: (lambda y, s: (y, *s))(*m.rnn(x, (h, c))))
add("states: both directions", X | {"h": "h 2 b 6"}, lambda: {"rnn": gru(4, 6, 1, True)}, lambda m, x, h: m.rnn(x, h))
add("states: one array", X | {"s": "hc 2 b 6"}, lambda: {"rnn": lstm(4, 6)}, lambda m, x, s: (lambda y, t: (y, torch.cat(t, 0)))(*m.rnn(x, (s[0:1], s[1:2]))), dynamo=True)
add("states: one array, stacked", X | {"s": "hc 2 1 b 6"}, lambda: {"rnn": lstm(4, 6)}, lambda m, x, s: (lambda y, t: (y, torch.stack(t)))(*m.rnn(x, (s[0], s[1]))))
add("states: chunk", X | {"s": "hc 2 b 6"}, lambda: {"rnn": lstm(4, 6)}, lambda m, x, s: (lambda y, t: (y, torch.cat(t)))(*m.rnn(x, tuple(s.chunk(2)))))
add("states: batch first", X | {"h": "h b 2 6"}, lambda: {"rnn": gru(4, 6, 2)}, lambda m, x, h: (lambda y, s: (y, s.transpose(0, 1)))(*m.rnn(x, h.transpose(0, 1).contiguous())))
add("states: (batch, hidden)", X | {"h": "h b 6", "c": "c b 6"}, lambda: {"rnn": lstm(4, 6)}, lambda m, x, h, c: (lambda y, s: (y, s[0][0], s[1][0]))(*m.rnn(x, (h[None], c[None]))))
add("states: a list of layers", X | {"h": "h 2 b 6"}, lambda: {"a": gru(4, 6), "b": gru(6, 6)},
    lambda m, x, h: (lambda y, s: (lambda z, t: (z, torch.cat([s, t])))(*m.b(y, h[1:])))(*m.a(x, h[:1])))
add("states: side by side in features", X | {"s": "hcw b 12"}, lambda: {"rnn": lstm(4, 6)}, lambda m, x, s: m.rnn(x, (s[None, :, :6].contiguous(), s[None, :, 6:].contiguous()))[0])
add("states: zeros of x", X, L, lambda m, x: m.out(m.rnn(x, (torch.zeros(1, x.size(0), 6), torch.zeros(1, x.size(0), 6)))[0]))
add("states: new_zeros", X, L, lambda m, x: m.out(m.rnn(x, (x.new_zeros(1, x.size(0), 6), x.new_zeros(1, x.size(0), 6)))[0]), dynamo=True)
add("states: ones", X, L, lambda m, x: m.out(m.rnn(x, (torch.ones(1, x.size(0), 6), torch.zeros(1, x.size(0), 6)))[0]))
LEARNED = lambda: {"rnn": lstm(4, 6), "h": nn.Parameter(torch.randn(1, 1, 6)), "c": nn.Parameter(torch.randn(1, 1, 6))}
add("states: learned, expand", X, LEARNED, lambda m, x: m.rnn(x, (m.h.expand(-1, x.size(0), -1).contiguous(), m.c.expand(-1, x.size(0), -1).contiguous()))[0], dynamo=True)
add("states: learned, repeat", X, LEARNED, lambda m, x: m.rnn(x, (m.h.repeat(1, x.size(0), 1), m.c.repeat(1, x.size(0), 1)))[0])
add("states: learned, tanh", X, LEARNED, lambda m, x: m.rnn(x, (torch.tanh(m.h).expand(1, x.size(0), 6).contiguous(), m.c.expand(1, x.size(0), 6).contiguous()))[0])
add("states: learned row, two directions", X, lambda: {"rnn": gru(4, 6, 1, True), "h": nn.Parameter(torch.randn(2, 6))}, lambda m, x: m.rnn(x, m.h.unsqueeze(1).expand(2, x.size(0), 6).contiguous())[0])
add("states: a convolution's past", {"x": "b t 4", "p": "b 2 4"}, lambda: {"c": nn.Conv1d(4, 6, 3), "rnn": gru(6, 5)}, lambda m, x, p: (m.rnn(m.c((z := torch.cat([p, x], 1)).transpose(1, 2)).transpose(1, 2))[0], z[:, -2:]))
add("cell: LSTMCell", {"x": "b 4", "h": "h b 6", "c": "c b 6"}, lambda: {"rnn": nn.LSTMCell(4, 6)}, lambda m, x, h, c: m.rnn(x, (h, c)))
add("cell: GRUCell, unrolled", {"x": "b t=3 4"}, lambda: {"rnn": nn.GRUCell(4, 6)}, lambda m, x: m.rnn(x[:, 2], m.rnn(x[:, 1], m.rnn(x[:, 0], torch.zeros(x.size(0), 6)))))

# Decoders.

ED = {"x": "b t 4", "z": "b s 3"}
add("decoder: states handed on", ED, lambda: {"e": lstm(4, 6), "d": lstm(3, 6), "out": nn.Linear(6, 2)}, lambda m, x, z: m.out(m.d(z, m.e(x)[1])[0]), dynamo=True)
add("decoder: from h of one direction", ED, lambda: {"e": lstm(4, 6, both=True), "d": lstm(3, 6)}, lambda m, x, z: (lambda h, c: m.d(z, (h[:1], c[:1]))[0])(*m.e(x)[1]))
add("decoder: from h[0], unsqueezed", ED, lambda: {"e": gru(4, 6, both=True), "d": gru(3, 6)}, lambda m, x, z: m.d(z, m.e(x)[1][0].unsqueeze(0))[0])
add("decoder: from the last layer", ED, lambda: {"e": gru(4, 6, 2), "d": gru(3, 6)}, lambda m, x, z: m.d(z, m.e(x)[1][-1:])[0])
add("decoder: from both directions, Linear", ED, lambda: {"e": gru(4, 6, both=True), "f": nn.Linear(12, 5), "d": gru(3, 5)},
    lambda m, x, z: m.d(z, torch.tanh(m.f(torch.cat(((h := m.e(x)[1])[0], h[1]), 1))).unsqueeze(0))[0])
add("decoder: from both directions, side by side", ED, lambda: {"e": gru(4, 6, both=True), "d": gru(3, 12)}, lambda m, x, z: m.d(z, torch.cat(((h := m.e(x)[1])[0:1], h[1:2]), 2))[0])
add("decoder: from both directions, sum", ED, lambda: {"e": gru(4, 6, both=True), "d": gru(3, 6)}, lambda m, x, z: m.d(z, m.e(x)[1].sum(0, keepdim=True))[0])
add("decoder: tokens, attention", {"x": "tokens11 b t", "z": "tokens9 b s"},
    lambda: {"ex": nn.Embedding(11, 4), "ez": nn.Embedding(9, 3), "e": gru(4, 6), "d": gru(3, 6), "out": nn.Linear(12, 9)},
    lambda m, x, z: (lambda y, h: m.out(torch.cat([(d := m.d(m.ez(z), h)[0]), torch.softmax(d @ y.transpose(1, 2), -1) @ y], -1)))(*m.e(m.ex(x))))
add("decoder: context at each step", ED, lambda: {"e": gru(4, 6), "d": gru(9, 6)}, lambda m, x, z: m.d(torch.cat([z, (h := m.e(x)[1])[-1].unsqueeze(1).expand(-1, z.size(1), -1)], 2), h)[0])
add("decoder: repeated embedding", X, lambda: {"e": gru(4, 6), "d": gru(6, 6), "out": nn.Linear(6, 4)}, lambda m, x: m.out(m.d((h := m.e(x)[1])[-1].unsqueeze(1).repeat(1, 5, 1), h)[0]))
TOK = {"x": "tokens11 b t"}
add("tokens: tied weights", TOK, lambda: {"e": nn.Embedding(11, 6), "rnn": lstm(6, 6)}, lambda m, x: m.rnn(m.e(x))[0] @ m.e.weight.t(), dynamo=True)
add("tokens: tied weights, F.linear, bias", TOK, lambda: {"e": nn.Embedding(11, 6), "rnn": lstm(6, 6), "b": nn.Parameter(torch.randn(11))}, lambda m, x: F.linear(m.rnn(m.e(x))[0], m.e.weight, m.b))
add("tokens: padding_idx", TOK, lambda: {"e": nn.Embedding(11, 6, padding_idx=0), "rnn": lstm(6, 6)}, lambda m, x: m.rnn(m.e(x))[0])
add("tokens: one hot", TOK, lambda: {"rnn": gru(11, 6)}, lambda m, x: m.rnn(F.one_hot(x, 11).float())[0])
add("tokens: int32 input", {"x": "tokens11 b t"}, lambda: {"e": nn.Embedding(11, 6), "rnn": gru(6, 5)}, lambda m, x: m.rnn(m.e(x.int()))[0])
add("tokens: time first", {"x": "tokens11 t b"}, lambda: {"e": nn.Embedding(11, 6), "rnn": gru(6, 5, first=False), "out": nn.Linear(5, 11)}, lambda m, x: m.out(m.rnn(m.e(x))[0]).view(-1, 11))
add("tokens: positions", TOK, lambda: {"e": nn.Embedding(11, 6), "p": nn.Embedding(20, 6), "rnn": gru(6, 5)}, lambda m, x: m.rnn(m.e(x) + m.p(torch.arange(x.size(1))))[0])
add("tokens: characters and words", {"x": "tokens11 b t"}, lambda: {"e": nn.Embedding(11, 6), "f": nn.Embedding(11, 3), "rnn": gru(9, 5)}, lambda m, x: m.rnn(torch.cat([m.e(x), m.f(x)], -1))[0])
add("tokens: mean of embeddings", TOK, lambda: {"e": nn.Embedding(11, 6), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.e(x).mean(1)))
END = lambda: {"rnn": gru(4, 6), "out": nn.Linear(6, 3)}
add("end: softmax", X, END, lambda m, x: F.softmax(m.out(m.rnn(x)[0]), -1))
add("end: log_softmax, time axis moved", X, END, lambda m, x: F.log_softmax(m.out(m.rnn(x)[0]).permute(0, 2, 1), 1))
add("end: argmax", X, END, lambda m, x: m.out(m.rnn(x)[0]).argmax(-1))
add("end: softmax and argmax", X, END, lambda m, x: ((p := F.softmax(m.out(m.rnn(x)[0][:, -1]), -1)), p.argmax(1)))
add("end: max and index", X, END, lambda m, x: m.out(m.rnn(x)[0][:, -1]).max(1))
add("end: topk", X, END, lambda m, x: torch.topk(m.out(m.rnn(x)[0][:, -1]), 2)[0])
add("end: sigmoid, squeeze", X, lambda: {"rnn": gru(4, 6), "out": nn.Linear(6, 1)}, lambda m, x: torch.sigmoid(m.out(m.rnn(x)[0][:, -1])).squeeze(1))
add("end: normalized to length 1", X, END, lambda m, x: F.normalize(m.out(m.rnn(x)[0][:, -1]), dim=1))
add("end: mean and exp of log variance", X, END, lambda m, x: ((y := m.out(m.rnn(x)[0]))[..., :1], torch.exp(y[..., 1:2])))
add("end: clamp", X, END, lambda m, x: m.out(m.rnn(x)[0]).clamp(-0.1, 0.1))
add("end: mean of steps' logits", X, END, lambda m, x: F.softmax(m.out(m.rnn(x)[0]), -1).mean(1))

# Functions and normalization.

FUNCTIONS = {
    "gelu": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "mish": F.mish,
    "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "relu6": F.relu6, "hardtanh": F.hardtanh, "elu": F.elu,
    "selu": F.selu, "celu": lambda x: F.celu(x, 0.7), "softplus": F.softplus, "softplus beta": lambda x: F.softplus(x, 2.0),
    "softsign": F.softsign, "logsigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink, "softshrink": F.softshrink,
    "exp": torch.exp, "abs": torch.abs, "square": torch.square, "sin": torch.sin, "sqrt of 1 + x^2": lambda x: torch.sqrt(1 + x**2),
    "log1p of exp": lambda x: torch.log(1 + torch.exp(x)), "gelu by hand": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu tanh by hand": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x), "silu by hand": lambda x: x * torch.sigmoid(x),
    "mish by hand": lambda x: x * torch.tanh(F.softplus(x)), "hardswish by hand": lambda x: x * F.relu6(x + 3) / 6,
    "threshold": lambda x: F.threshold(x, 0.0, 0.0), "max with 0": lambda x: torch.maximum(x, torch.zeros(())),
    "rational": lambda x: x / (1 + torch.abs(x)), "snake": lambda x: x + torch.sin(x) ** 2,
}  # fmt: skip
for name, f in FUNCTIONS.items():
    add(f"function: {name}", X, lambda: {"a": nn.Linear(4, 6), "rnn": gru(6, 5)}, lambda m, x, f=f: m.rnn(f(m.a(x)))[0])
for name, f in list(FUNCTIONS.items())[:5]:
    add(f"function: {name}, again (dynamo)", X, lambda: {"a": nn.Linear(4, 6)}, lambda m, x, f=f: f(m.a(x)))
    CASES[-1].build = lambda case=CASES[-1], f=f: exported(case, lambda: {"a": nn.Linear(4, 6)}, lambda m, x: f(m.a(x)), True, {})
add("function: prelu", X, lambda: {"a": nn.Linear(4, 6), "p": nn.PReLU(), "rnn": gru(6, 5)}, lambda m, x: m.rnn(m.p(m.a(x)))[0])
add("function: prelu of channels", X, lambda: {"a": nn.Conv1d(4, 6, 1), "p": nn.PReLU(6, 0.1), "rnn": gru(6, 5)}, lambda m, x: m.rnn(m.p(m.a(x.transpose(1, 2))).transpose(1, 2))[0])
NORM = lambda: {"rnn": gru(4, 6), "g": nn.Parameter(torch.randn(6)), "b": nn.Parameter(torch.randn(6))}
add("norm: LayerNorm, opset 17", X, lambda: {"rnn": gru(4, 6), "n": nn.LayerNorm(6)}, lambda m, x: m.n(m.rnn(x)[0]))
add("norm: LayerNorm, opset 11", X, lambda: {"rnn": gru(4, 6), "n": nn.LayerNorm(6)}, lambda m, x: m.n(m.rnn(x)[0]), opset=11)
add("norm: LayerNorm without affine", X, lambda: {"rnn": gru(4, 6), "n": nn.LayerNorm(6, elementwise_affine=False)}, lambda m, x: m.n(m.rnn(x)[0]))
add("norm: by hand, var", X, NORM, lambda m, x: ((y := m.rnn(x)[0]) - y.mean(-1, keepdim=True)) / torch.sqrt(y.var(-1, unbiased=False, keepdim=True) + 1e-5) * m.g + m.b)
add("norm: by hand, std", X, NORM, lambda m, x: m.g * ((y := m.rnn(x)[0]) - y.mean(-1, keepdim=True)) / (y.std(-1, keepdim=True) + 1e-6) + m.b)
add("norm: by hand, rsqrt", X, NORM, lambda m, x: (d := (y := m.rnn(x)[0]) - y.mean(-1, keepdim=True)) * torch.rsqrt((d * d).mean(-1, keepdim=True) + 1e-5) * m.g + m.b)
add("norm: RMS", X, NORM, lambda m, x: (y := m.rnn(x)[0]) * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6) * m.g, dynamo=True)
add("norm: RMSNorm of PyTorch", X, lambda: {"rnn": gru(4, 6), "n": nn.RMSNorm(6, eps=1e-6)}, lambda m, x: m.n(m.rnn(x)[0]), dynamo=None)
add("norm: of the input by constants", X, lambda: {"mean": nn.Parameter(torch.randn(4)), "std": nn.Parameter(torch.rand(4) + 0.5), "rnn": gru(4, 6)}, lambda m, x: m.rnn((x - m.mean) / m.std)[0], dynamo=True)
add("norm: of the input, and back", X, lambda: {"mean": nn.Parameter(torch.randn(4)), "std": nn.Parameter(torch.rand(4) + 0.5), "rnn": gru(4, 6), "out": nn.Linear(6, 4)},
    lambda m, x: m.out(m.rnn((x - m.mean) / (m.std + 1e-8))[0]) * m.std + m.mean)
add("norm: of each sequence (RevIN)", X, lambda: {"rnn": gru(4, 6), "out": nn.Linear(6, 4)},
    lambda m, x: m.out(m.rnn((x - (u := x.mean(1, keepdim=True))) / (s := torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)))[0]) * s + u)
add("norm: last value taken away and added (NLinear)", X, lambda: {"rnn": gru(4, 6), "out": nn.Linear(6, 4)}, lambda m, x: m.out(m.rnn(x - (u := x[:, -1:]))[0]) + u)
add("norm: min and max of the input", X, lambda: {"lo": nn.Parameter(torch.randn(4)), "hi": nn.Parameter(torch.rand(4) + 3), "rnn": gru(4, 6)}, lambda m, x: m.rnn(2 * (x - m.lo) / (m.hi - m.lo) - 1)[0])
add("norm: batch norm of features", X, lambda: {"n": nn.BatchNorm1d(4), "rnn": gru(4, 6)}, lambda m, x: m.rnn(m.n(x.transpose(1, 2)).transpose(1, 2))[0])
add("norm: batch norm of the last step", X, lambda: {"rnn": gru(4, 6), "n": nn.BatchNorm1d(6), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.n(m.rnn(x)[0][:, -1])))
add("norm: log of the input", X, lambda: {"rnn": gru(4, 6)}, lambda m, x: m.rnn(torch.log(x.abs() + 1e-3))[0])

# Detectors of voice, and others of sound.


def detector(m, x, s):
    re, im = m.stft(F.pad(x, (0, 8), "reflect").unsqueeze(1)).chunk(2, 1)
    y = torch.sqrt(re**2 + im**2)
    for c in m.cs:
        y = torch.relu(c(y))
    y, (h, c) = m.rnn(y.permute(0, 2, 1), (s[0:1], s[1:2]))
    return torch.sigmoid(m.out(torch.relu(y.permute(0, 2, 1)))).squeeze(1).mean(1, keepdim=True), torch.cat([h, c])


DETECTOR = lambda: {"stft": nn.Conv1d(1, 18, 16, stride=8, bias=False), "cs": nn.ModuleList([nn.Conv1d(9, 6, 3, padding=1), nn.Conv1d(6, 5, 3, stride=2, padding=1)]), "rnn": lstm(5, 7), "out": nn.Conv1d(7, 1, 1)}
add("sound: detector", {"x": "b t=64", "s": "hc 2 b 7"}, DETECTOR, detector)
add("sound: magnitude by a norm", {"x": "b t"}, lambda: {"c": nn.Conv1d(1, 8, 4, stride=2), "rnn": gru(4, 5)},
    lambda m, x: m.rnn(m.c(x.unsqueeze(1)).view(x.size(0), 2, 4, -1).norm(dim=1).transpose(1, 2))[0])
add("sound: power, log", {"x": "b t"}, lambda: {"c": nn.Conv1d(1, 8, 4, stride=2), "mel": nn.Linear(4, 3, bias=False), "rnn": gru(3, 5)},
    lambda m, x: m.rnn(torch.log(m.mel(((y := m.c(x.unsqueeze(1)))[:, :4] ** 2 + y[:, 4:] ** 2).transpose(1, 2)).clamp(min=1e-5)))[0])
add("sound: skip around the network", {"x": "b t 1"}, lambda: {"rnn": lstm(1, 6), "out": nn.Linear(6, 1)}, lambda m, x: m.out(m.rnn(x)[0]) + x)
add("sound: mask of the spectrum", {"x": "b t 9"}, lambda: {"a": nn.Linear(9, 6), "rnn": gru(6, 6, 2), "out": nn.Linear(6, 9)}, lambda m, x: x * torch.sigmoid(m.out(m.rnn(torch.tanh(m.a(x)))[0])))
add("sound: RNNoise", {"x": "b t 9"}, lambda: {"a": nn.Linear(9, 6), "v": gru(6, 4), "n": gru(19, 5), "d": gru(18, 6), "vo": nn.Linear(4, 1), "out": nn.Linear(6, 3)},
    lambda m, x: (torch.sigmoid(m.out(m.d(torch.cat([(v := m.v(t := torch.tanh(m.a(x)))[0]), m.n(torch.cat([t, v, x], -1))[0], x], -1))[0])), torch.sigmoid(m.vo(v))))
add("sound: DTLN", {"x": "b t 8", "s": "b 1"}, lambda: {"n": nn.LayerNorm(8), "rnn": lstm(8, 6), "out": nn.Linear(6, 8), "d": nn.Linear(8, 5)},
    lambda m, x, s: m.d(torch.sigmoid(m.out(m.rnn(m.n(torch.log(x.abs() + 1e-7)))[0])) * x) * s[:, None])

# Models that people use, made small.

add("model: NSNet2", {"x": "b t 9"}, lambda: {"a": nn.Linear(9, 6), "r": gru(6, 5), "s": gru(5, 5), "b": nn.Linear(5, 8), "c": nn.Linear(8, 8), "d": nn.Linear(8, 9)},
    lambda m, x: torch.sigmoid(m.d(torch.relu(m.c(torch.relu(m.b(m.s(m.r(m.a(x))[0])[0])))))))
add("model: Open-Unmix", {"x": "b t 9"}, lambda: {"lo": nn.Parameter(torch.randn(9)), "up": nn.Parameter(torch.randn(9)), "a": nn.Linear(9, 6, bias=False), "na": nn.BatchNorm1d(6), "r": lstm(6, 3, 2, True), "b": nn.Linear(12, 6, bias=False), "nb": nn.BatchNorm1d(6), "c": nn.Linear(6, 9, bias=False), "nc": nn.BatchNorm1d(9)},
    lambda m, x: (lambda h: F.relu(m.nc(m.c(F.relu(m.nb(m.b(torch.cat([h, m.r(h)[0]], -1).reshape(-1, 12)))))).reshape(x.size(0), x.size(1), 9) * m.up + m.lo) * x)(
        torch.tanh(m.na(m.a(((x + m.lo) * m.up).reshape(-1, 9)))).reshape(x.size(0), x.size(1), 6)))
add("model: Tacotron 2, encoder", {"x": "tokens11 b t"} | N, lambda: {"e": nn.Embedding(11, 4), "c": nn.Conv1d(4, 6, 5, padding=2), "n": nn.BatchNorm1d(6), "d": nn.Conv1d(6, 6, 5, padding=2), "k": nn.BatchNorm1d(6), "rnn": lstm(6, 3, both=True)},
    lambda m, x, n: packed(m, F.relu(m.k(m.d(F.relu(m.n(m.c(m.e(x).transpose(1, 2))))))).transpose(1, 2), n)[0])
add("model: stateless decoder of a transducer", {"x": "tokens11 b t=2"}, lambda: {"e": nn.Embedding(11, 6), "c": nn.Conv1d(6, 6, 2, groups=3, bias=False), "out": nn.Linear(6, 5)},
    lambda m, x: m.out(F.relu(m.c(m.e(x).permute(0, 2, 1)).permute(0, 2, 1)).squeeze(1)))
add("model: joiner of a transducer", {"e": "b 6", "d": "b 6"}, lambda: {"a": nn.Linear(6, 5), "b": nn.Linear(6, 5), "out": nn.Linear(5, 11)}, lambda m, e, d: m.out(torch.tanh(m.a(e) + m.b(d))))
add("model: joint of a transducer, all pairs", {"e": "b t 6", "d": "b s 6"}, lambda: {"out": nn.Linear(6, 11)}, lambda m, e, d: F.log_softmax(m.out(torch.relu(e[:, :, None] + d[:, None])), -1))
add("model: prediction network of a transducer", {"x": "tokens11 b t", "h": "h 2 b 6", "c": "c 2 b 6"}, lambda: {"e": nn.Embedding(11, 4), "rnn": nn.LSTM(4, 6, 2), "out": nn.Linear(6, 5)},
    lambda m, x, h, c: (lambda y, s: (m.out(y.transpose(0, 1)), *s))(*m.rnn(m.e(x).transpose(0, 1), (h, c))))
add("model: policy with a memory", {"x": "b 9", "h": "h 1 b 6", "c": "c 1 b 6"}, lambda: {"a": nn.Linear(9, 5), "rnn": nn.LSTM(5, 6), "p": nn.Linear(6, 3), "v": nn.Linear(6, 1)},
    lambda m, x, h, c: (lambda y, s: (F.softmax(m.p(y), -1), m.v(y), *s))(*(lambda r: (r[0].squeeze(0), r[1]))(m.rnn(torch.tanh(m.a(x)).unsqueeze(0), (h, c)))))
add("model: memory of an agent in one row", {"x": "b t 4", "s": "hcw b 12"}, lambda: {"rnn": lstm(4, 6), "p": nn.Linear(6, 3)},
    lambda m, x, s: (lambda y, t: (m.p(y), torch.cat(t, -1)))(*m.rnn(x, tuple(part.contiguous() for part in s.unsqueeze(0).split(6, 2)))))
add("model: LSTM-FCN", {"x": "b t 4"}, lambda: {"rnn": lstm(4, 6), "c": nn.Conv1d(4, 5, 8, padding=4), "n": nn.BatchNorm1d(5), "d": nn.Conv1d(5, 5, 5, padding=2), "k": nn.BatchNorm1d(5), "out": nn.Linear(11, 3)},
    lambda m, x: m.out(torch.cat([m.rnn(x)[1][0][-1], F.relu(m.k(m.d(F.relu(m.n(m.c(x.transpose(1, 2))))))).mean(-1)], 1)))
add("model: InceptionTime block", {"x": "b t 4"}, lambda: {"b": nn.Conv1d(4, 3, 1, bias=False), "cs": nn.ModuleList(nn.Conv1d(3, 2, k, padding=k // 2, bias=False) for k in (3, 5, 9)), "p": nn.MaxPool1d(3, 1, padding=1), "q": nn.Conv1d(4, 2, 1, bias=False), "n": nn.BatchNorm1d(8), "r": nn.Conv1d(4, 8, 1), "out": nn.Linear(8, 3)},
    lambda m, x: (lambda x: m.out(F.relu(F.relu(m.n(torch.cat([*(c(m.b(x)) for c in m.cs), m.q(m.p(x))], 1))) + m.r(x)).mean(2)))(x.transpose(1, 2)))
add("model: DeepConvLSTM", {"x": "b t 4"}, lambda: {"c": nn.Conv2d(1, 3, (5, 1)), "d": nn.Conv2d(3, 3, (3, 1), padding=(2, 0)), "rnn": lstm(12, 6), "out": nn.Linear(6, 2)},
    lambda m, x: m.out(m.rnn(F.relu(m.d(F.relu(m.c(x.unsqueeze(1))))).permute(0, 2, 1, 3).flatten(2))[0][:, -1]))
add("model: DLinear", {"x": "b t=9 4"}, lambda: {"p": nn.AvgPool1d(3, 1), "a": nn.Linear(9, 5), "b": nn.Linear(9, 5)},
    lambda m, x: (lambda x, t: (m.a(x - t) + m.b(t)).permute(0, 2, 1))(x.permute(0, 2, 1), m.p(F.pad(x.permute(0, 2, 1), (1, 1), "replicate"))))
add("model: LSTNet without skips", {"x": "b t=9 4"}, lambda: {"c": nn.Conv2d(1, 6, (3, 4)), "rnn": nn.GRU(6, 5), "out": nn.Linear(5, 4), "ar": nn.Linear(3, 1)},
    lambda m, x: m.out(m.rnn(F.relu(m.c(x.unsqueeze(1))).squeeze(3).permute(2, 0, 1))[1].squeeze(0)) + m.ar(x[:, -3:].permute(0, 2, 1).contiguous().view(-1, 3)).view(-1, 4))
add("model: DeepAR", {"x": "b t 4", "k": "tokens11 b"}, lambda: {"e": nn.Embedding(11, 3), "rnn": lstm(7, 6, 2), "mu": nn.Linear(6, 1), "s": nn.Linear(6, 1)},
    lambda m, x, k: (lambda y: (m.mu(y).squeeze(-1), F.softplus(m.s(y)).squeeze(-1)))(m.rnn(torch.cat([x, m.e(k).unsqueeze(1).expand(-1, x.size(1), -1)], -1))[0]))
add("model: gated residual network (TFT)", {"x": "b t 4"}, lambda: {"a": nn.Linear(4, 6), "b": nn.Linear(6, 6), "g": nn.Linear(6, 8), "n": nn.LayerNorm(4), "rnn": lstm(4, 4), "h": nn.Linear(4, 8)},
    lambda m, x: (lambda z: m.n(z + F.glu(m.h(m.rnn(z)[0]), -1)))(m.n(x + F.glu(m.g(m.b(F.elu(m.a(x)))), -1))))
add("model: GRU4Rec", {"x": "tokens11 b t"} | N, lambda: {"e": nn.Embedding(11, 6, padding_idx=0), "rnn": gru(6, 6), "d": nn.Linear(6, 6)},
    lambda m, x, n: (lambda y: y.gather(1, (n - 1).view(-1, 1, 1).expand(-1, -1, 6)).squeeze(1))(m.d(m.rnn(m.e(x))[0])) @ m.e.weight.transpose(0, 1))
add("model: tagger with characters", {"x": "tokens11 b t", "f": "b t 3"}, lambda: {"e": nn.Embedding(11, 4), "rnn": lstm(7, 5, 2, True), "out": nn.Linear(10, 6)},
    lambda m, x, f: F.log_softmax(m.out(F.dropout(m.rnn(torch.cat((m.e(x), f), -1))[0], 0.5, False)), -1))
add("model: Deep Speech 2", {"x": "t b 9"}, lambda: {"r": nn.GRU(9, 5, bidirectional=True), "n": nn.BatchNorm1d(5), "s": nn.GRU(5, 5, bidirectional=True), "out": nn.Linear(5, 6, bias=False)},
    lambda m, x: (lambda halves: F.softmax(m.out(halves(m.s(m.n(halves(m.r(x)[0]).view(-1, 5)).view(x.size(0), x.size(1), 5))[0])).transpose(0, 1), -1))(lambda y: y.view(y.size(0), y.size(1), 2, -1).sum(2).view(y.size(0), y.size(1), -1)))
add("model: CRNN of text in images", {"x": "b 1 t=8 12"}, lambda: {"c": nn.Conv2d(1, 3, 3, 1, 1), "p": nn.MaxPool2d(2, 2), "d": nn.Conv2d(3, 5, 3, 1, 1), "q": nn.MaxPool2d((4, 1)), "rnn": nn.LSTM(5, 6, bidirectional=True), "out": nn.Linear(12, 7)},
    lambda m, x: m.out(m.rnn(m.q(F.relu(m.d(m.p(F.relu(m.c(x)))))).squeeze(2).permute(2, 0, 1))[0]))
add("model: ECG, convolutions and a layer", {"x": "b 1 t"}, lambda: {"c": nn.Conv1d(1, 4, 7, 2, 3), "n": nn.BatchNorm1d(4), "p": nn.MaxPool1d(3, 2, 1), "rnn": lstm(4, 6, both=True), "out": nn.Linear(12, 3)},
    lambda m, x: F.softmax(m.out(m.rnn(m.p(F.relu(m.n(m.c(x)))).permute(0, 2, 1))[0].mean(1)), 1))
add("model: GuitarML", {"x": "t b 1"}, lambda: {"rec": nn.LSTM(1, 6), "lin": nn.Linear(6, 1)}, lambda m, x: m.lin(m.rec(x)[0]) + x)
add("model: emotion, convolution, layer, attention pooling", {"x": "b t 9"}, lambda: {"c": nn.Conv1d(9, 6, 5, padding=2), "n": nn.BatchNorm1d(6), "rnn": lstm(6, 4, both=True), "a": nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 1)), "out": nn.Linear(8, 3)},
    lambda m, x: (lambda y: m.out(torch.sum(F.softmax(m.a(y), 1) * y, 1)))(m.rnn(F.relu(m.n(m.c(x.permute(0, 2, 1)))).permute(0, 2, 1))[0]))
add("model: old detector of voice", {"x": "b t=64", "h": "h 2 b 7", "c": "c 2 b 7"}, lambda: {"stft": nn.Conv1d(1, 18, 16, stride=8, bias=False), "dw": nn.Conv1d(9, 9, 5, padding=2, groups=9), "pw": nn.Conv1d(9, 6, 1), "r": nn.Conv1d(9, 6, 1), "rnn": lstm(6, 7, 2), "out": nn.Conv1d(7, 1, 1)},
    lambda m, x, h, c: (lambda s: (lambda z: (lambda y, t: (torch.sigmoid(m.out(F.relu(y.transpose(1, 2)))).mean(2), *t))(*m.rnn(z.transpose(1, 2), (h, c))))(F.relu(m.pw(F.relu(m.dw(s))) + m.r(s))))(
        (lambda z: torch.sqrt(z[:, :9] ** 2 + z[:, 9:] ** 2))(m.stft(F.pad(x.unsqueeze(1), (4, 4), mode="reflect")))))
add("model: pyannote", {"x": "b 1 t"}, lambda: {"i": nn.InstanceNorm1d(1, affine=True), "c": nn.Conv1d(1, 5, 3, stride=2), "k": nn.InstanceNorm1d(5, affine=True), "rnn": lstm(5, 4, 2, True), "a": nn.Linear(8, 6), "out": nn.Linear(6, 3)},
    lambda m, x: F.log_softmax(m.out(F.leaky_relu(m.a(m.rnn(F.leaky_relu(m.k(torch.abs(m.c(m.i(x))))).transpose(1, 2))[0]))), -1))
add("model: multi-task heads", X, lambda: {"rnn": lstm(4, 6, 2), "hs": nn.ModuleList(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.2), nn.Linear(5, 1)) for _ in range(3))},
    lambda m, x: torch.cat([h(m.rnn(x)[0][:, -1]) for h in m.hs], 1))
add("model: mixture of two layers", X, lambda: {"a": lstm(4, 6), "b": gru(4, 6), "g": nn.Linear(4, 1)},
    lambda m, x: (lambda g: g * m.a(x)[0] + (1 - g) * m.b(x)[0])(torch.sigmoid(m.g(x))))

# What looks like something that a reader knows, and is not.

add("trap: sum of real steps divided by all steps", XN, G, lambda m, x, n: m.out(((y := m.rnn(x)[0]) * mask_of(n, y)[..., None]).sum(1) / y.size(1)))
add("trap: sum of all steps divided by lengths", XN, G, lambda m, x, n: m.out(m.rnn(x)[0].sum(1) / n[:, None]))
add("trap: sum of real steps divided by lengths and 1", XN, G, lambda m, x, n: m.out(((y := m.rnn(x)[0]) * mask_of(n, y)[..., None]).sum(1) / (n + 1)[:, None]))
add("trap: maximum over 0 in the padding", XN, G, lambda m, x, n: m.out(m.rnn(x)[0].masked_fill(~mask_of(n, x)[..., None], 0.0).max(1)[0]))
add("trap: maximum over -0.1 in the padding", XN, G, lambda m, x, n: m.out(m.rnn(x)[0].masked_fill(~mask_of(n, x)[..., None], -0.1).max(1)[0]))
add("trap: mask the other way around", XN, G, lambda m, x, n: m.out(((y := m.rnn(x)[0]) * (k := ~mask_of(n - 1, y))[..., None]).sum(1) / k.sum(1)[:, None]))
add("trap: one step more", XN, G, lambda m, x, n: m.out(((y := m.rnn(x)[0]) * (k := (torch.arange(y.size(1))[None] <= n[:, None]))[..., None]).sum(1) / k.sum(1)[:, None]))
add("trap: one step more, written as less or equal", XN, G, lambda m, x, n: m.out(((y := m.rnn(x)[0]) * (k := (torch.arange(y.size(1))[None] <= (n - 1)[:, None]))[..., None]).sum(1) / k.sum(1)[:, None]))
add("trap: from the second step on", XN, G, lambda m, x, n: m.out(((y := m.rnn(x)[0]) * (k := (torch.arange(1, y.size(1) + 1)[None] <= n[:, None]))[..., None]).sum(1) / k.sum(1)[:, None]))
add("trap: gather before the last", XN, L, lambda m, x, n: m.out(m.rnn(x)[0].gather(1, (n - 2).clamp(min=0).view(-1, 1, 1).expand(-1, 1, 6)).squeeze(1)))
add("trap: gather at a position", X | {"n": "tokens5 b"}, L, lambda m, x, n: m.out(m.rnn(x)[0].gather(1, n.view(-1, 1, 1).expand(-1, 1, 6)).squeeze(1)))
add("trap: weights of steps as an input", X | {"w": "b t"}, G, lambda m, x, w: m.out((m.rnn(x)[0] * w.unsqueeze(-1)).sum(1) / w.sum(1, keepdim=True)))
add("trap: weights of steps as an input, whole numbers", X | {"w": "tokens3 b t"}, G, lambda m, x, w: m.out((m.rnn(x)[0] * w.unsqueeze(-1)).sum(1) / w.sum(1, keepdim=True).clamp(min=1)))
add("trap: masked input, last step of all", X | {"mask": "mask b t"}, G, lambda m, x, k: m.out(m.rnn(x * k[..., None])[0][:, -1]))
add("trap: a mask that one layer sees", XN, lambda: {"rnn": gru(4, 6), "s": gru(6, 5)}, lambda m, x, n: m.s(m.rnn(x)[0] * mask_of(n, x)[..., None])[0])
add("trap: a mask that one layer sees, mean of all", XN, lambda: {"rnn": gru(4, 6), "s": gru(6, 5)}, lambda m, x, n: m.s(m.rnn(x)[0] * mask_of(n, x)[..., None])[0].mean(1))
add("trap: softmax over queries", QM, PROJECTED, lambda m, q, k: torch.softmax(m.rnn(q)[0] @ (k := m.mem(k)[0]).transpose(1, 2), 1) @ k)
add("trap: softmax over the batch", X, POOL, lambda m, x: m.out((torch.softmax(m.a(y := m.rnn(x)[0]), 0) * y).sum(1)))
add("trap: softmax over time, of each feature", X, lambda: {"rnn": gru(4, 6), "a": nn.Linear(6, 6)}, lambda m, x: (torch.softmax(m.a(y := m.rnn(x)[0]), 1) * y).sum(1))
add("trap: softmax over time, weights times steps without a sum", X, POOL, lambda m, x: m.out(torch.softmax(m.a(y := m.rnn(x)[0]), 1) * y))
add("trap: softmax over time, mean in place of the sum", X, POOL, lambda m, x: m.out((torch.softmax(m.a(y := m.rnn(x)[0]), 1) * y).mean(1)))
add("trap: scores of one memory for another", {"q": "b t 4", "m": "b s 6", "v": "b s 9"}, lambda: {"a": nn.Linear(4, 6)}, lambda m, q, k, v: torch.softmax(m.a(q) @ k.transpose(1, 2), -1) @ v)
add("trap: attention without a softmax", QM, PROJECTED, lambda m, q, k: (m.rnn(q)[0] @ (k := m.mem(k)[0]).transpose(1, 2)) @ k)
add("trap: attention by a sigmoid", QM, PROJECTED, lambda m, q, k: torch.sigmoid(m.rnn(q)[0] @ (k := m.mem(k)[0]).transpose(1, 2)) @ k)
add("trap: causal attention", X, lambda: {"rnn": gru(4, 6)}, lambda m, x: F.scaled_dot_product_attention((y := m.rnn(x)[0]), y, y, is_causal=True))
add("trap: mask of the queries for the memory", X | {"mask": "boolmask b t"}, lambda: {"rnn": gru(4, 6)}, lambda m, x, k: torch.softmax(((y := m.rnn(x)[0]) @ y.transpose(1, 2)).masked_fill(~k[:, :, None], -1e9), -1) @ y)
add("trap: steps of all axes of one length", {"x": "b=4 4 t=4"}, lambda: {"rnn": gru(4, 4)}, lambda m, x: m.rnn(x.transpose(1, 2))[0].transpose(0, 1).transpose(1, 2))
add("trap: the batch as time", {"x": "b t 4"}, lambda: {"rnn": gru(4, 6), "s": gru(6, 5)}, lambda m, x: m.s(m.rnn(x)[0].transpose(0, 1))[0])
add("trap: mean over the batch", X, G, lambda m, x: m.out(m.rnn(x)[0].mean(0)))
add("trap: reshape that mixes steps and features", {"x": "b t=6 4"}, lambda: {"rnn": gru(8, 5)}, lambda m, x: m.rnn(x.reshape(-1, 3, 8))[0])
add("trap: reshape for a transpose", {"x": "b t=6 4"}, lambda: {"rnn": gru(6, 5)}, lambda m, x: m.rnn(x.reshape(-1, 4, 6))[0])
add("trap: view of h in place of a transpose", X, lambda: {"rnn": gru(4, 6, 1, True), "out": nn.Linear(12, 2)}, lambda m, x: m.out(m.rnn(x)[1].contiguous().view(-1, 12)))
add("trap: h of the second direction first", X, lambda: {"rnn": gru(4, 6, 1, True), "out": nn.Linear(12, 2)}, lambda m, x: m.out(torch.cat((( h := m.rnn(x)[1])[1], h[0]), 1)))
add("trap: last step of both directions", X, lambda: {"rnn": gru(4, 6, 1, True), "out": nn.Linear(12, 2)}, lambda m, x: m.out(m.rnn(x)[0][:, -1]))
add("trap: states h and c given the wrong way", {"x": "b t 4", "z": "b s 3"}, lambda: {"e": lstm(4, 6), "d": lstm(3, 6)}, lambda m, x, z: (lambda h, c: m.d(z, (c, h))[0])(*m.e(x)[1]))
add("trap: h for h and c", {"x": "b t 4", "z": "b s 3"}, lambda: {"e": gru(4, 6), "d": lstm(3, 6)}, lambda m, x, z: (lambda h: m.d(z, (h, h))[0])(m.e(x)[1]))
add("trap: the same input state for two layers", X | {"h": "h 1 b 6"}, lambda: {"a": gru(4, 6), "b": gru(6, 6)}, lambda m, x, h: m.b(m.a(x, h)[0], h)[0])
add("trap: states of layers in another order", X | {"h": "h 2 b 6"}, lambda: {"a": gru(4, 6), "b": gru(6, 6)}, lambda m, x, h: m.b(m.a(x, h[1:])[0], h[:1])[0])
add("trap: a vector times a sequence of one step", {"x": "b t 4", "v": "b 6"}, lambda: {"rnn": gru(4, 6)}, lambda m, x, v: (m.rnn(x)[0][:, -1:] * v.unsqueeze(1)).squeeze(1))
add("trap: a step beside each step", X, lambda: {"rnn": gru(4, 6)}, lambda m, x: (y := m.rnn(x)[0]) * y[:, -1:])
add("trap: features of one beside many", {"x": "b t 4", "z": "b t 1"}, lambda: {"rnn": gru(4, 6)}, lambda m, x, z: m.rnn(x * z)[0])
add("trap: a row of steps beside features", {"x": "b t=4 4"}, lambda: {"rnn": gru(4, 6), "w": nn.Parameter(torch.randn(4, 1))}, lambda m, x: m.rnn(x * m.w)[0])
add("trap: weights of the batch", {"x": "b=4 t 4"}, lambda: {"rnn": gru(4, 6), "w": nn.Parameter(torch.randn(4, 1, 1))}, lambda m, x: m.rnn(x * m.w)[0])

# The same modules by other versions, and without folding of constants.

for opset in (9, 11, 13, 20):
    add(f"opset {opset}: layers, last states, norm", X, lambda: {"rnn": lstm(4, 6, 2, True), "n": nn.LayerNorm(12), "out": nn.Linear(12, 2)},
        lambda m, x: F.softmax(m.out(F.dropout(F.relu6(m.n(torch.cat(((h := m.rnn(x)[1][0])[-2], h[-1]), 1))), 0.2, False)), 1), opset=opset)
    add(f"opset {opset}: convolution, pad, pool", X, lambda: {"c": nn.Conv1d(4, 6, 3), "n": nn.BatchNorm1d(6), "p": nn.MaxPool1d(2), "rnn": gru(6, 5)},
        lambda m, x: m.rnn(m.p(F.hardtanh(m.n(m.c(F.pad(x.transpose(1, 2), (2, 0)))), 0.0, 6.0)).transpose(1, 2))[0].sum(1) * 0.1, opset=opset)
    add(f"opset {opset}: gates", X, lambda: {"rnn": gru(4, 6)}, lambda m, x: (lambda a, b: F.gelu(a) * b)(*m.rnn(x)[0].chunk(2, -1)), opset=opset)
    add(f"opset {opset}: gather at lengths", XN, L, lambda m, x, n: m.out(m.rnn(x)[0].gather(1, (n - 1).view(-1, 1, 1).expand(-1, 1, 6)).squeeze(1)), opset=opset)
for name, layers in {"lstm": lambda: {"rnn": lstm(4, 6, 2, True)}, "gru": lambda: {"rnn": gru(4, 6, 1)}, "rnn": lambda: {"rnn": nn.RNN(4, 6, batch_first=True, nonlinearity="relu")}}.items():
    add(f"not folded: {name}", X, layers, lambda m, x: m.rnn(x)[0], do_constant_folding=False)
add("one sequence of a known number of steps", {"x": "b=1 t=6 4"}, lambda: {"rnn": lstm(4, 6, 2), "out": nn.Linear(6, 2)}, lambda m, x: m.out(m.rnn(x)[0][:, -1]))
add("all lengths known", {"x": "b=3 t=6 4"}, lambda: {"rnn": lstm(4, 6, 2, True), "out": nn.Linear(12, 2)}, lambda m, x: m.out(torch.relu(m.rnn(x)[0].reshape(18, 12))).view(3, 6, 2), dynamo=True)


# Modules that are compiled first, as those with steps of Python are.


class Scripted(nn.Module):
    def __init__(self, rnn: nn.Module, wide: int):
        super().__init__()
        self.rnn, self.out = rnn, nn.Linear(wide, 2)


class LastOfSteps(Scripted):
    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class EverySteps(Scripted):
    def forward(self, x):
        y, _ = self.rnn(x)
        if y.size(1) > 1:
            y = torch.relu(y)
        return self.out(y)


class WithState(Scripted):
    def forward(self, x, h):
        y, h = self.rnn(x, h)
        return self.out(y), h


def scripted(name, inputs, module):
    case = Case(f"torch scripted: {name}", inputs, lambda: b"")
    case.build = lambda: exported_module(case, module())
    CASES.append(case)


def exported_module(case, module):
    torch.manual_seed(zlib.crc32(case.name.encode()))
    dims = {name: parsed(spec)[1] for name, spec in case.inputs.items()}
    axes = {name: {i: dim for i, dim in enumerate(d) if dim in SIZES[0]} for name, d in dims.items()}
    arguments, file = tuple(torch.from_numpy(array) for array in drawn(case).values()), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch.jit.script(module.eval()), arguments, file, dynamo=False, input_names=list(dims), dynamic_axes=axes, opset_version=17)
    return file.getvalue()


scripted("LSTM, last step", X, lambda: LastOfSteps(lstm(4, 6), 6))
scripted("GRU, both directions, last step", X, lambda: LastOfSteps(gru(4, 6, 2, True), 12))
scripted("GRU, a condition on the number of steps", X, lambda: EverySteps(gru(4, 6), 6))
scripted("GRU, state", X | {"h": "h 1 b 6"}, lambda: WithState(gru(4, 6), 6))

# Models that ONNX Runtime has optimized and saved.


def optimized(build, level):
    import tempfile
    from pathlib import Path

    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path, settings = Path(folder) / "model.onnx", onnxruntime.SessionOptions()
        settings.log_severity_level, settings.optimized_model_filepath = 4, str(path)
        settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        onnxruntime.InferenceSession(build(), settings, providers=["CPUExecutionProvider"])
        return path.read_bytes()


for level in ("BASIC", "EXTENDED"):
    for name in ("residual, norm, feed forward", "conv: norm, relu, pool", "h: two last", "gates: chunk", "tokens: tied weights", "attention pooling: sum", "sound: skip around the network"):
        before = next(case for case in CASES if case.name == f"torch {name}")
        CASES.append(Case(f"optimized ({level.lower()}): {name}", before.inputs, lambda before=before, level=level: optimized(before.build, level)))
