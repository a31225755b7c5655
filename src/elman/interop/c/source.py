"""The header and the source of an exported network, put together from its layers.

`$name` is a name of the model's own, see `elman.interop.c.functions`; in the text of a layer, one of its tables.
"""

from __future__ import annotations

import functools
import hashlib
import re
import textwrap
from dataclasses import dataclass

from elman.checks import show
from elman.interop.c.functions import FUNCTIONS, WIDTH, table
from elman.interop.c.layers import Part, fill


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
    state: str = ""  #: it is no layer, but this array in the state, the last state of one before it

    def named(self, text: str) -> str:
        """A text of C with the tables of the layer by their names in the file."""
        begin = self.place if self.place[:1].isdecimal() else f"node_{self.place}"
        tables = "|".join(self.part.tables)
        return re.sub(rf"\$({tables})\b", rf"${begin}_\1", text) if tables else text


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

    @property
    def states(self) -> list[tuple[str, int, str]]:
        """The name, the width and the first value of each array that is kept from step to step."""
        return [
            (f"{name}_{stage.place}", width, stage.named(stage.part.starts.get(name, "0.0f")))
            for stage in self.stages
            for name, width in stage.part.states.items()
        ]

    @property
    def layers(self) -> list[Stage]:
        """The stages that have something to do."""
        return [stage for stage in self.stages if not stage.state]

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
            if stage.state:
                found.append(stage.state)
            elif stage.part.gives != "y":
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
    code, name = _source(model), model.name
    digest = "0x" + hashlib.blake2b((_header(model, report, "") + code).encode(), digest_size=8).hexdigest()[1:]
    begin = f"""\
/* See {header_file}. */
#include "{header_file}"

#if !defined(ELMAN_{name}_NETWORK) || ELMAN_{name}_NETWORK != {digest}
#error "the header is of another network than this source: write both again with elman.to_c"
#endif

#include <math.h>

"""
    return _header(model, report, digest), begin + code


def _header(model: Model, report: str, digest: str) -> str:
    name, nothing = model.name, "    unsigned char none; /* this network remembers nothing */"
    lines = "\n".join(f" * {line}".rstrip() for line in _plain(report).splitlines())
    fields = "\n".join(f"    float {state}[{width}];" for state, width, _ in model.states) or nothing
    step_comment = textwrap.fill(_named(f"/* {_step_words(model)} */", model), WIDTH, subsequent_indent="   ")
    integers = "\n#include <stdint.h>\n" if model.tokens else ""
    text = f"""
#ifndef ELMAN_{name}_H
#define ELMAN_{name}_H

/* The same number in header and source tells that they are of one network. */
#define ELMAN_{name}_NETWORK {digest}
{integers}
#ifdef __cplusplus
extern "C" {{
#endif

enum {{
{_sizes(model)}
}};

/* What the network remembers from step to step. Any number may be in use, each by one thread at a time. */
typedef struct {{
{fields}
}} $state;

/* Makes new memory a state, the one before the first step. Every state is to be given here first. */
void $init($state *s);

/* Back to the state before the first step: another sequence begins. */
void $reset($state *s);

{step_comment}
{_step_head(model)};

#ifdef __cplusplus
}}
#endif

#endif
"""
    return f"/*\n{lines}\n */{_named(text, model)}"


def _step_words(model: Model) -> str:
    read, written = (", ".join(argument.name for argument in each) for each in (model.inputs, model.outputs))
    words = f"One step: reads {read} and writes {written}. No array may be part of another, or of *s."
    for token in model.tokens:
        words += f" {token.name} must be a number from 0 to ${token.size} - 1."
    return words + " Returns 0; for other tokens returns 1 and changes nothing." * bool(model.tokens)


def _sizes(model: Model) -> str:
    """The constants of what goes in and comes out."""
    lines = []
    for argument in (*model.inputs, *model.outputs):
        taken = "gives" if argument in model.outputs else "takes"
        what = "how many tokens there are" if argument.tokens else f"numbers that a step {taken}"
        what += f" as {argument.name}" if "_" in argument.size else ""
        comma = "" if argument is model.outputs[-1] else ","
        lines.append(f"    ${argument.size} = {argument.width}{comma} /* {what} */")
    return "\n".join(lines)


def _step_head(model: Model) -> str:
    given = [f"int32_t {one.name}" if one.tokens else f"const float {one.name}[${one.size}]" for one in model.inputs]
    given += [f"float {one.name}[${one.size}]" for one in model.outputs]
    between = ", " if len(given) == 2 else ",\n    "
    return f"{'int' if model.tokens else 'void'} $step($state *s, {between.join(given)})"


def _source(model: Model) -> str:
    """The .c file after its includes."""
    headings = []
    for stage in model.layers:
        text = f"/* Layer {_plain(stage.path)}, {stage.kind}({stage.options}) */"
        headings.append(textwrap.fill(text, WIDTH, subsequent_indent="   ", break_on_hyphens=False) + "\n")
    functions = [stage.named(_function(stage)) for stage in model.layers]
    parts = []
    for stage, heading in zip(model.layers, headings, strict=True):
        tables = [table(_named(stage.named(f"${key}"), model), array) for key, array in stage.part.tables.items()]
        parts += [heading + "\n".join(tables)] if tables else []
    needed = [text for name, text in FUNCTIONS.items() if any(f"${name}(" in function for function in functions)]
    parts += [_named(text, model) for text in needed]
    for heading, function in zip(headings, functions, strict=True):
        parts.append(heading + _named(function, model))
    return "\n".join([*parts, _named(_reset(model), model), _named(_step(model), model)])


def _function(stage: Stage) -> str:
    """The function of a layer; its arrays do not overlap, and with `restrict` a compiler knows it."""
    part = stage.part
    names = ["x"] if len(stage.reads) == 1 else [f"x{i}" for i in range(len(stage.reads))]
    read = ["int32_t token"] if "[token]" in part.body else [f"const float *restrict {name}" for name in names]
    arguments = [*read, *(f"float *restrict {name}" for name in (*part.states, *["y"][: part.gives == "y"]))]
    return f"static void $layer_{stage.place}({', '.join(arguments)})\n{{\n{part.body}}}\n"


def _reset(model: Model) -> str:
    lines = [fill(f"s->{name}[j]", value, str(width)) for name, width, value in model.states]
    clear, body = ("", "".join(lines)) if lines else ("    s->none = 0;\n", "    (void)s;\n")
    return f"""\
void $init($state *s)
{{
{clear}    $reset(s);
}}

void $reset($state *s)
{{
{body}}}
"""


def _step(model: Model) -> str:
    """The public step: the layers in turn, each reading what others wrote."""
    values, widths = model.rooms
    lines = [f"    float b{i}[{width}];\n" for i, width in enumerate(widths)]
    lines += ["\n"] if lines else []
    for token in model.tokens:
        lines.append(f"    if ({token.name} < 0 || {token.name} >= ${token.size})\n        return 1;\n")
    lines += [] if model.states else ["    (void)s;\n"]
    for i, stage in enumerate(model.stages, len(model.inputs)):
        if stage.state:
            continue
        arguments = [values[j] for j in stage.reads] + [f"s->{state}_{stage.place}" for state in stage.part.states]
        arguments += [values[i]] if stage.part.gives == "y" else []
        lines.append(f"    $layer_{stage.place}({', '.join(arguments)});\n")
    for one in model.outputs:
        if values[one.value] != one.name:
            lines.append(fill(f"{one.name}[j]", f"{values[one.value]}[j]", f"${one.size}"))
    lines += ["    return 0;\n"] if model.tokens else []
    return f"{_step_head(model)}\n{{\n{''.join(lines)}}}\n"


def _named(text: str, model: Model) -> str:
    return text.replace("$", f"{model.name}_")


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
