"""The header and the source of an exported network, put together from its layers."""

from __future__ import annotations

import functools
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

    path: str  #: "3", or "1.0" in a nested network, or a name
    place: str  #: the path as it stands in names of C
    reads: tuple[int, ...]  #: values: the inputs of the model, then what each stage gives
    kind: str
    options: str
    inputs: int
    part: Part


@dataclass(frozen=True)
class Argument:
    """An input or an output of the step function."""

    name: str  #: x, y or token, with the name that it has in the network where there are several
    size: str  #: the constant, after the name of the model: inputs, outputs or tokens, with the same name
    width: int  #: features, or how many tokens there are
    value: int

    @property
    def tokens(self) -> bool:
        return self.size.startswith("tokens")


@dataclass(frozen=True)
class Model:
    """What is exported."""

    name: str
    inputs: list[Argument]
    outputs: list[Argument]
    stages: list[Stage]

    @property
    def tokens(self) -> list[Argument]:
        return [argument for argument in self.inputs if argument.tokens]

    @functools.cached_property
    def rooms(self) -> tuple[list[str], list[int]]:
        """Where each value stands, and the widths of the arrays b0, b1, ... for what only stages read."""
        first = len(self.inputs)
        last = {j: i for i, stage in enumerate(self.stages) for j in stage.reads}
        given = {argument.value: argument.name for argument in reversed(self.outputs)}
        found, widths = [argument.name for argument in self.inputs], list[int]()
        until: list[int] = []  # which stage is the last to read what stands in each array
        for i, stage in enumerate(self.stages):
            value = first + i
            if stage.part.gives != "y":
                found.append(f"s->{stage.part.gives}_{stage.place}")
            elif value in given:
                found.append(given[value])
            else:
                free = next((at for at, end in enumerate(until) if end < i), len(until))
                widths[free:] = [max(stage.part.outputs, *widths[free : free + 1], 0), *widths[free + 1 :]]
                until[free:] = [last[value], *until[free + 1 :]]
                found.append(f"b{free}")
        return found, widths


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
$sizes
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
    return {
        "include": "\n#include <stdint.h>\n" if model.tokens else "",
        "sizes": _sizes(model),
        "fields": "\n".join(fields),
        "step_comment": textwrap.fill(f"/* {_step_words(model)} */", WIDTH, subsequent_indent="   "),
    }


def _step_words(model: Model) -> str:
    read, written = ([argument.name for argument in each] for each in (model.inputs, model.outputs))
    words = f"One step: reads {', '.join(read)} and writes {', '.join(written)}. "
    words += "No array may be part of another, or of *s."
    for token in model.tokens:
        words += f" {token.name} must be a number from 0 to {model.name}_{token.size} - 1."
    return words + " Returns 0; for other tokens returns 1 and changes nothing." * bool(model.tokens)


def _sizes(model: Model) -> str:
    """The constants of what goes in and comes out."""
    lines = []
    for argument in (*model.inputs, *model.outputs):
        taken = "gives" if argument in model.outputs else "takes"
        what = "how many tokens there are" if argument.tokens else f"numbers that a step {taken}"
        what += f" as {argument.name}" if "_" in argument.size else ""
        comma = "" if argument is model.outputs[-1] else ","
        lines.append(f"    {model.name}_{argument.size} = {argument.width}{comma} /* {what} */")
    return "\n".join(lines)


def _step_head(model: Model) -> str:
    given = [
        f"int32_t {argument.name}" if argument.tokens else f"const float {argument.name}[{model.name}_{argument.size}]"
        for argument in model.inputs
    ]
    given += [f"float {argument.name}[{model.name}_{argument.size}]" for argument in model.outputs]
    between = ", " if len(given) == 2 else ",\n    "
    return f"{'int' if model.tokens else 'void'} {model.name}_step({model.name}_state *s, {between.join(given)})"


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
    text = f"/* Layer {_plain(stage.path)}, {stage.kind}({stage.options}) */"
    return textwrap.fill(text, WIDTH, subsequent_indent="   ", break_on_hyphens=False) + "\n"


def _tables(name: str, stage: Stage) -> Iterator[str]:
    for key, values in stage.part.tables.items():
        yield table(_constant(name, stage, key), values)


def _constant(name: str, stage: Stage, key: str) -> str:
    return f"{name}_{'' if stage.place[:1].isdecimal() else 'node_'}{stage.place}_{key}"


def _function(stage: Stage) -> str:
    """The function of a layer; its arrays do not overlap, and with `restrict` a compiler knows it."""
    part = stage.part
    names = ["x"] if len(stage.reads) == 1 else [f"x{i}" for i in range(len(stage.reads))]
    read = ["int32_t token"] if "[token]" in part.body else [f"const float *restrict {name}" for name in names]
    arguments = [*read, *(f"float *restrict {name}" for name in (*part.states, *["y"][: part.gives == "y"]))]
    return f"static void ${{name}}_layer_{stage.place}({', '.join(arguments)})\n{{\n{part.body}}}\n"


def _reset(model: Model) -> str:
    lines = []
    for stage in model.stages:
        for state, width in stage.part.states.items():
            value = stage.part.starts.get(state, "0.0f")
            if value in stage.part.tables:
                value = f"{_constant(model.name, stage, value)}[j]"
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
    """The public step: the layers in turn, each reading what others wrote."""
    values, widths = model.rooms
    lines = [f"    float b{i}[{width}];\n" for i, width in enumerate(widths)]
    if lines:
        lines.append("\n")
    for token in model.tokens:
        wrong = f"{token.name} < 0 || {token.name} >= {model.name}_{token.size}"
        lines.append(f"    if ({wrong})\n        return 1;\n")
    if not any(stage.part.states for stage in model.stages):
        lines.append("    (void)s;\n")
    for i, stage in enumerate(model.stages, len(model.inputs)):
        arguments = [values[j] for j in stage.reads] + [f"s->{state}_{stage.place}" for state in stage.part.states]
        arguments += [values[i]] if stage.part.gives == "y" else []
        lines.append(f"    {model.name}_layer_{stage.place}({', '.join(arguments)});\n")
    lines += [
        fill(argument.name, f"{values[argument.value]}[j]", f"{model.name}_{argument.size}")
        for argument in model.outputs
        if values[argument.value] != argument.name
    ]
    if model.tokens:
        lines.append("    return 0;\n")
    return f"{_step_head(model)}\n{{\n{''.join(lines)}}}\n"


def _named(text: str, name: str, **names: str) -> str:
    return Template(text).substitute(name=name, **names)


def _comment(text: str) -> str:
    lines = [f" * {line}".rstrip() for line in _plain(text).splitlines()]
    return "\n".join(["/*", *lines, " */"])


def _plain(text: str) -> str:
    """Text of a comment, which nothing in it ends or begins."""
    text = text.replace("*/", "* /").replace("/*", "/ *")
    return re.sub(r"[^\n -~]", lambda letter: letter[0].encode("unicode_escape").decode(), text)


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
