"""The header and the source of an exported network, put together from its layers."""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from string import Template

from elman.checks import show
from elman.interop.c.functions import FUNCTIONS
from elman.interop.c.layers import Part, fill
from elman.interop.c.numbers import WIDTH, table


@dataclass(frozen=True)
class Stage:
    """A layer that has something to do in a step: its place in the network, and its C."""

    path: str  #: "3", or "1.0" in a nested network
    kind: str
    options: str
    inputs: int
    part: Part

    @property
    def place(self) -> str:
        """The path as it stands in names."""
        return self.path.replace(".", "_")


@dataclass(frozen=True)
class Model:
    """What is exported."""

    name: str
    inputs: int  #: features, or how many tokens there are
    tokens: bool
    stages: list[Stage]

    @property
    def outputs(self) -> int:
        return self.stages[-1].part.outputs

    @property
    def buffers(self) -> list[int]:
        """The widths of the two arrays through which layers without a state hand on what they compute."""
        widths = [0, 0]
        for i, stage in enumerate(stage for stage in self.stages[:-1] if not stage.part.states):
            widths[i % 2] = max(widths[i % 2], stage.part.outputs)
        return [width for width in widths if width]


def write(model: Model, report: str, header_file: str) -> tuple[str, str]:
    """The texts of the .h and the .c file; both hold a digest of them, so that files of two networks are told apart."""
    code = _source(model)
    parts = {"about": _comment(report), "step": _step_head(model), **_header_parts(model)}
    content = _named(_HEADER, model.name, digest="", **parts) + code
    digest = "0x" + hashlib.blake2b(content.encode(), digest_size=8).hexdigest()[1:]  # within 63 bits
    begin = _named(_SOURCE, model.name, header=header_file, digest=digest)
    return _named(_HEADER, model.name, digest=digest, **parts), begin + code


_HEADER = """\
$about
#ifndef ELMAN_${name}_H
#define ELMAN_${name}_H

/* The same number in header and source tells that they are of one network. */
#define ELMAN_${name}_NETWORK $digest
$include
#ifdef __cplusplus
extern "C" {
#endif

enum {
    ${name}_$inputs = $width, /* $input_comment */
    ${name}_outputs = $outputs /* numbers that a step gives */
};

/* What the network remembers from step to step. Any number may be in use, each by one thread at a time. */
typedef struct {
$fields
} ${name}_state;

/* Makes new memory a state, the one before the first step. Every state is to be given here first. */
void ${name}_init(${name}_state *s);

/* Back to the state before the first step: another sequence begins. */
void ${name}_reset(${name}_state *s);

$step_comment
$step;

#ifdef __cplusplus
}
#endif

#endif
"""


def _header_parts(model: Model) -> dict[str, str]:
    fields = [
        f"    float {name}_{stage.place}[{width}];"
        for stage in model.stages
        for name, width in stage.part.states.items()
    ]
    if not fields:
        fields = ["    unsigned char none; /* this network remembers nothing */"]
    if model.tokens:
        step = """\
/* One step: reads a token, a number from 0 to ${name}_tokens - 1, and writes y. y must not be part of *s. Returns 0;
   for any other number returns 1 and changes nothing. */"""
    else:
        step = "/* One step: reads x and writes y. Neither may be part of the other, or of *s. */"
    return {
        "include": "\n#include <stdint.h>\n" if model.tokens else "",
        "inputs": "tokens" if model.tokens else "inputs",
        "width": str(model.inputs),
        "input_comment": "how many tokens there are" if model.tokens else "numbers that a step takes",
        "outputs": str(model.outputs),
        "fields": "\n".join(fields),
        "step_comment": Template(step).substitute(name=model.name),
    }


def _step_head(model: Model) -> str:
    if model.tokens:
        return f"int {model.name}_step({model.name}_state *s, int32_t token, float y[{model.name}_outputs])"
    name = model.name
    return f"void {name}_step({name}_state *s, const float x[{name}_inputs], float y[{name}_outputs])"


_SOURCE = """\
/* See $header. */
#include "$header"

#if !defined(ELMAN_${name}_NETWORK) || ELMAN_${name}_NETWORK != $digest
#error "the header is of another network than this source: write both again with elman.to_c"
#endif

#include <math.h>

"""


def _source(model: Model) -> str:
    """The .c file after its includes."""
    functions = [_function(stage) for stage in model.stages]
    needed = [text for name, text in FUNCTIONS.items() if any(f"${name}(" in function for function in functions)]
    prefixed = {name: f"{model.name}_{name}" for name in FUNCTIONS}
    parts = [_heading(stage) + "\n".join(_tables(model.name, stage)) for stage in model.stages if stage.part.tables]
    parts += [_named(text, model.name, **prefixed) for text in needed]
    for stage, function in zip(model.stages, functions, strict=True):
        tables = {name: _constant(model.name, stage, name) for name in stage.part.tables}
        parts.append(_heading(stage) + _named(function, model.name, **prefixed, **tables))
    return "\n".join([*parts, _reset(model), _step(model)])


def _heading(stage: Stage) -> str:
    text = f"/* Layer {stage.path}, {stage.kind}({stage.options}) */"
    return textwrap.fill(text, WIDTH, subsequent_indent="   ", break_on_hyphens=False) + "\n"


def _tables(name: str, stage: Stage) -> Iterator[str]:
    for key, values in stage.part.tables.items():
        yield table(_constant(name, stage, key), values)


def _constant(name: str, stage: Stage, key: str) -> str:
    return f"{name}_{stage.place}_{key}"


def _function(stage: Stage) -> str:
    """The function of a layer; its arrays do not overlap, and with `restrict` a compiler knows it."""
    part = stage.part
    if "[token]" in part.body:
        arguments = ["int32_t token", "float *restrict y"]
    else:
        written = [f"float *restrict {name}" for name in part.states] or ["float *restrict y"]
        arguments = ["const float *restrict x", *written]
    return f"static void ${{name}}_layer_{stage.place}({', '.join(arguments)})\n{{\n{part.body}}}\n"


def _reset(model: Model) -> str:
    lines = []
    for stage in model.stages:
        for state, width in stage.part.states.items():
            start = stage.part.starts.get(state)
            value = "0.0f" if start is None else f"{_constant(model.name, stage, start)}[j]"
            lines.append(fill(f"s->{state}_{stage.place}", value, str(width)))
    text = """\
void ${name}_init(${name}_state *s)
{
$clear    ${name}_reset(s);
}

void ${name}_reset(${name}_state *s)
{
$body}
"""
    return _named(
        text, model.name, clear="" if lines else "    s->none = 0;\n", body="".join(lines) or "    (void)s;\n"
    )


def _step(model: Model) -> str:
    """The public step: the layers in turn, each reading what the one before it wrote."""
    names = [f"b{i}" for i in range(len(model.buffers))]
    lines = [f"    float {name}[{width}];\n" for name, width in zip(names, model.buffers, strict=True)]
    if lines:
        lines.append("\n")
    if model.tokens:
        lines.append(f"    if (token < 0 || token >= {model.name}_tokens)\n        return 1;\n")
    if not any(stage.part.states for stage in model.stages):
        lines.append("    (void)s;\n")
    handed_on = iter(range(len(model.stages)))
    x = "token" if model.tokens else "x"
    for i, stage in enumerate(model.stages):
        states = [f"s->{state}_{stage.place}" for state in stage.part.states]
        last = i == len(model.stages) - 1
        written = states or ["y" if last else names[next(handed_on) % 2]]
        lines.append(f"    {model.name}_layer_{stage.place}({', '.join([x, *written])});\n")
        x = written[0]
    if model.stages[-1].part.states:
        lines.append(fill("y", f"{x}[j]", f"{model.name}_outputs"))
    if model.tokens:
        lines.append("    return 0;\n")
    return f"{_step_head(model)}\n{{\n{''.join(lines)}}}\n"


def _named(text: str, name: str, **names: str) -> str:
    return Template(text).substitute(name=name, **names)


def _comment(text: str) -> str:
    lines = [f" * {line}".rstrip() for line in text.splitlines()]
    return "\n".join(["/*", *lines, " */"])


_KEYWORDS = """
    _Bool _Complex _Imaginary alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl
    const const_cast constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern
    false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq
    private protected public register reinterpret_cast restrict return short signed sizeof static static_assert
    static_cast struct switch template this thread_local throw true try typedef typeid typename union unsigned using
    virtual void volatile wchar_t while xor xor_eq
"""


def check_name(name: object) -> None:
    """Refuses what names of C cannot begin with."""
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be letters, digits and underscores, a letter first, for C. Got {show(name)}.")
    if name in _KEYWORDS.split():
        raise ValueError(f"name must be no keyword of C or C++. Got {show(name)}.")
