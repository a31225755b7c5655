"""Arithmetic as it is shown: equations in symbols and in numbers, as text and in MathML."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from elman.checks import Array

#: An expression: ("name", label), ("number", value), ("call", name, *parts), ("transpose", part), ("negative", part),
#: one of `_SIGNS` with two parts, or ("worth", expression, value): in numbers its value stands in its place.
Shown: TypeAlias = tuple[Any, ...]

#: The operations that have a sign, and how tightly they bind.
_SIGNS = {"add": 1, "subtract": 1, "multiply": 2, "matmul": 2, "divide": 2, "power": 4}
KINDS = {*_SIGNS, "transpose", "negative"}  #: the operations that are not shown as a call
_MANY = 16  #: numbers of a vector that are all shown


class Style(NamedTuple):
    """How expressions are written."""

    name: Callable[[str], str]
    number: Callable[[str], str]
    sign: Callable[[str, bool], str]  # of an operation, between numbers or names
    power: Callable[[str, str, bool], str]
    brackets: Callable[[str, str, str], str]
    comma: str


def _symbol(label: str) -> str:
    """A name in MathML: what follows an underscore is set below, a prime stays beside it."""
    name, _, below = html.escape(label.replace("'", "")).partition("_")
    main = f"<mi>{name}{chr(0x2032) * label.count(chr(39))}</mi>"
    return f"<msub>{main}<mi>{below}</mi></msub>" if below else main


_PLAIN = {"add": " + ", "subtract": " - ", "divide": " / "}
TEXT = Style(
    name=str,
    number=str,
    sign=lambda kind, numbers: _PLAIN.get(kind, " * " if numbers else " "),
    power=lambda a, b, numbers: f"{a}{' ** ' if numbers else '^'}{b}",
    brackets=lambda begin, text, end: f"{begin}{text}{end}",
    comma=", ",
)
_MATH = Style(
    name=_symbol,
    number=lambda text: f"<mn>{text}</mn>",
    sign=lambda kind, numbers: (
        f"<mo>{_PLAIN[kind].strip()}</mo>" if kind in _PLAIN else "<mo>·</mo>" if numbers else '<mspace width="0.2em"/>'
    ),
    power=lambda a, b, numbers: f"<msup><mrow>{a}</mrow><mrow>{b}</mrow></msup>",
    brackets=lambda begin, text, end: f"<mrow><mo>{begin}</mo>{text}<mo>{end}</mo></mrow>",
    comma="<mo>,</mo>",
)


def as_text(value: Any, digits: int) -> str:
    """A number, or a vector, of which much is left out where it is long."""
    if np.ndim(value) == 0:
        return f"{float(value) + 0.0:.{digits}g}"  # no -0
    shown = value if len(value) <= _MANY else value[: _MANY // 2]
    left_out = [f"... {len(value)} numbers"] * (len(value) > len(shown))
    return f"[{', '.join([*(as_text(one, digits) for one in shown), *left_out])}]"


def written(shown: Shown, style: Style, digits: int, numbers: bool = False, around: int = 0, first: bool = True) -> str:
    """`around` is how tightly what stands around binds, `first` whether nothing stands before."""

    def side(part: Shown, around: int = 0, first: bool = True) -> str:
        return written(part, style, digits, numbers, around, first)

    kind, *parts = shown
    if kind == "name":
        return style.name(parts[0])
    if kind == "worth":
        return side(("number", parts[1]) if numbers else parts[0], around, first)
    if kind == "number":
        text = as_text(parts[0], digits)
        aside = around > 0 and not first and text.startswith("-")
        return style.brackets("(", style.number(text), ")") if aside else style.number(text)
    if kind == "transpose":
        return style.power(side(parts[0], 5), style.name("T"), False)
    if kind == "negative":
        text = f"-{side(parts[0], 3, False)}"
        return text if first and around < 2 else style.brackets("(", text, ")")
    if kind not in _SIGNS:
        inside = style.comma.join(map(side, parts[1:]))
        if parts[0] == "concatenate":
            return style.brackets("[", inside, "]")
        return style.name(parts[0]) + style.brackets("(", inside, ")")
    own = _SIGNS[kind]
    plain = numbers or parts[0][0] == parts[1][0] == "number"
    left = side(parts[0], own + (kind == "matmul"), (first or own < around) and kind != "power")
    # What binds as tightly stands in brackets on the right of these.
    right = side(parts[1], own + (kind in ("subtract", "divide", "matmul")), False)
    text = style.power(left, right, plain) if kind == "power" else f"{left}{style.sign(kind, plain)}{right}"
    return style.brackets("(", text, ")") if own < around else text


def products(shown: Shown) -> Iterator[tuple[tuple[Shown, Array], tuple[Shown, Array]]]:
    """The products of two vectors in an expression, each an expression with its numbers."""
    if shown[0] != "worth":
        for part in shown[1:]:
            if isinstance(part, tuple):
                yield from products(part)
    elif shown[1][0] == "matmul" and all(part[0] == "worth" for part in shown[1][1:]):
        (_, left, a), (_, right, b) = shown[1][1:]
        yield (left, a), (right, b)


@dataclass(frozen=True)
class Equation:
    """One line: a name, what makes it, and its value; a `whole` vector is not taken apart in numbers."""

    name: str
    shown: Shown
    value: Any
    whole: bool = False


@dataclass(frozen=True)
class Part:
    """The equations of one unit in a step, or in its derivative."""

    title: str
    given: dict[str, Any]
    equations: list[Equation]


class WorkedStep:
    """What `elman.explain` returns: printed it is text, in a notebook it is set in MathML.

    `lines` are those of the text. `values` are all numbers by name: those of one unit, or of all units a list of such.
    """

    def __init__(self, parts: list[Part], digits: int, products: bool, units: int | None) -> None:
        self.parts, self._digits, self._products = tuple(parts), digits, products
        found: list[dict[str, Any]] = [{} for _ in range(units or 1)]
        for i, part in enumerate(parts):
            equations = {one.name: one.value for one in part.equations}
            found[i % len(found)] |= {**part.given, **equations}
        self.values: Any = found[0] if units is None else found

    @property
    def lines(self) -> list[str]:
        found: list[str] = []
        for part in self.parts:
            given = [f"{name} = {as_text(value, self._digits)}" for name, value in part.given.items()]
            equations = [line for one in part.equations for line in self._of_equation(one)]
            found += [*[""] * bool(found), part.title, "", *given, "", *equations]
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__

    def _sides(self, one: Equation, style: Style) -> list[str]:
        """What stands after each sign of equality."""
        numbers = [("number", one.value)] if one.whole else [one.shown, ("number", one.value)]
        return [*dict.fromkeys([self._written(one.shown, style), *(self._written(n, style, True) for n in numbers)])]

    def _of_equation(self, one: Equation) -> Iterator[str]:
        first, *others = self._sides(one, TEXT)
        yield f"{one.name} = {first}"
        found = {repr(pair): pair for pair in products(one.shown)} if self._products and not one.whole else {}
        for (left, a), (right, b) in found.values():
            names = [self._written(side, TEXT, around=5) for side in (left, right)]
            for i, (own, other) in enumerate(zip(a, b, strict=True)):
                both = self._written(("multiply", ("number", own), ("number", other)), TEXT, True)
                yield f"    {names[0]}[{i}] {names[1]}[{i}] = {both} = {as_text(own * other, self._digits)}"
            yield f"    {self._written(('matmul', left, right), TEXT)} = {as_text(a @ b, self._digits)}"
        yield from (f"{' ' * len(one.name)} = {side}" for side in others)

    def _written(self, shown: Shown, style: Style, numbers: bool = False, around: int = 0) -> str:
        return written(shown, style, self._digits, numbers, around)

    def _repr_html_(self) -> str:
        found = []
        for part in self.parts:
            rows = [(name, f"<mn>{as_text(value, self._digits)}</mn>") for name, value in part.given.items()]
            for one in part.equations:
                rows += zip((one.name, "", ""), self._sides(one, _MATH), strict=False)
            cells = "".join(
                f'<mtr><mtd style="text-align: right">{_symbol(name) if name else ""}</mtd><mtd><mo>=</mo></mtd>'
                f'<mtd style="text-align: left">{side}</mtd></mtr>'
                for name, side in rows
            )
            title = f"<p><strong>{html.escape(part.title)}</strong></p>"
            found.append(f'{title}\n<math display="block"><mtable>{cells}</mtable></math>')
        return "\n".join(found)
