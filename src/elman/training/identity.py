"""Texts that tell one argument of `fit` from another, and are the same in every process.

A value is told by what it is made of: numbers to the last bit, arrays by a digest, containers by what they hold,
objects by the qualified name of their class and by their attributes. Functions and classes of a user's own are told by
their code, their defaults, the values they close over and the globals they read; those of installed packages by their
name. No text holds an address. What has no content to tell it by, as a lock or an open file, is refused.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import copyreg
import dataclasses
import enum
import functools
import hashlib
import math
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeAlias

import numpy as np

from elman import checks
from elman.layers.layer import Layer
from elman.layers.nesting import placed_layers
from elman.network import Network
from elman.training.examples import Examples
from elman.training.user_code import installed, is_ours, is_own_method, is_written, name_of, read_by

MOST = 1_000_000  #: values looked at for one argument
LONGEST = 100  #: characters of a text; a longer one is replaced by its digest

_CACHED = functools.cached_property
_BUILT_IN = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


def identity_of(
    net: Layer, data: Examples, validation: Examples | None, settings: Mapping[str, Any], key: str | None
) -> dict[str, str]:
    """A text for each argument that must be the same for a run to go on; see `identify`."""
    streams = settings["truncate"] is not None and data.x.layout.form == "single"
    layers = [("", net), *placed_layers(net)]
    known = {id(array): f"weights {name}" for name, array in net.weights.items()}
    known |= {id(layer): f"layer {place}" for place, layer in layers}
    return {
        "net": ", ".join(f"{place}: {_layer_text(layer, key, known)}" for place, layer in layers),
        **{name: identify(name, value, key, known) for name, value in settings.items()},
        "data": _digest(data) + (" as parallel streams" if streams else ""),
        "validation": _digest(validation),
        "key": repr(key),
    }


def _layer_text(layer: Layer, key: str | None, known: dict[int, str]) -> str:
    """The class and the options of a layer; those of a class of a user's own, with its attributes."""
    kind = identify("net", type(layer), key, known)
    if isinstance(layer, Network):  # its layers are told one by one
        return kind
    apart = ("config", "_parameters", "_weights", "_initializer", "_forget_bias", "_views")  # weights, how they began
    own = [] if type(layer).__module__.startswith("elman.") else vars(layer).items()
    attributes = {name: value for name, value in own if name not in apart}
    return f"{kind}({identify('net', dict(layer.config), key, known)}, {identify('net', attributes, key, known)})"


def _digest(examples: Examples | None) -> str:
    """A text that differs where the data does."""
    if examples is None:
        return "none"
    of_targets = (part for target in examples.targets for part in (target.y, target.weight) if part is not None)
    parts: list[bytes | memoryview] = []
    for part in (*examples.x.named.values(), *of_targets):
        for array in (part.values, part.layout.lengths):
            if array is not None:
                parts += [f"{array.dtype}{array.shape}".encode(), np.ascontiguousarray(array).data]
    return digest_of(*parts)


def ancestry(kind: type) -> list[str]:
    """The qualified names of a class and its bases."""
    return [name_of(base) for base in kind.__mro__[:-1]]


def identify(name: str, value: Any, key: str | None = None, known: Mapping[int, str] | None = None) -> str:
    """A text for the argument `name`, which differs where what it does may differ.

    `known` names values by their id which are told elsewhere, as the network that is trained. Raises `ValueError` for
    what cannot be told apart, unless a `key` stands for it.
    """
    teller = _Teller(name, key is not None, known or {})
    try:
        return teller.tell(value, name)
    except RecursionError:
        raise teller.refused("one that is nested too deeply") from None


def digest_of(*parts: bytes | memoryview) -> str:
    """A short text for many bytes."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.hexdigest()


class _Teller:
    """One walk through a value. `place` says where it stands, for the error."""

    def __init__(self, name: str, keyed: bool, known: Mapping[int, str]) -> None:
        self.name, self.keyed, self.count = name, keyed, 0
        self.open: dict[int, int] = {}  # what is being told, id -> depth: a value may hold itself
        #: What was told; the value is kept, so that its id stays its own.
        self.done: dict[int, tuple[Any, str]] = {key: (None, text) for key, text in known.items()}
        self.outermost = math.inf  # the least depth that a text refers to

    def refused(self, got: str) -> ValueError:
        must = f"{self.name} must be told apart from others, so that the checkpoint belongs to this run"
        return ValueError(f"{must}. Got {got}. Name it with a key of your own: elman.Checkpoint(path, key='...').")

    def needs_key(self, got: str) -> str:
        """The text of what has no content to tell it by; refuses it where no key names it."""
        if not self.keyed:
            raise self.refused(got) from None
        return "named by the key"

    def tell(self, value: Any, place: str) -> str:
        text = _atom(value)
        if text is not None:
            return text
        if id(value) in self.done:
            return self.done[id(value)][1]
        if id(value) in self.open:
            depth = self.open[id(value)]
            self.outermost = min(self.outermost, depth)
            return f"<{len(self.open) - depth} levels up>"
        self.count += 1
        if self.count > MOST:
            raise self.refused(f"{place}, more than {MOST} values")
        depth, outer, self.outermost = len(self.open), self.outermost, math.inf
        self.open[id(value)] = depth
        text = self._compound(value, place)
        del self.open[id(value)]
        if len(text) > LONGEST:
            text = f"{text[:40].partition('(')[0]}#{digest_of(text.encode())}"
        if self.outermost >= depth:
            self.done[id(value)] = value, text
        else:
            outer = min(outer, self.outermost)
        self.outermost = outer
        return text

    def _told(self, kind: str | tuple[Any, ...], parts: Iterable[Any], place: str) -> str:
        """A text for parts: by their names, where they have some. A kind may itself have parts."""
        if isinstance(parts, Mapping):
            texts = [f"{name}={self.tell(part, f'{place}.{name}')}" for name, part in sorted(parts.items())]
        else:
            texts = [self.tell(part, place) for part in parts]
        return f"{kind if isinstance(kind, str) else self._told(kind[0], kind[1], place)}({', '.join(texts)})"

    def _compound(self, value: Any, place: str) -> str:
        if isinstance(value, dict) and is_ours(type(value).__module__):
            value = dict(value)
        if type(value) in _CONTAINERS:  # a subclass may hold more than what is in it
            return self._container(value, place)
        if isinstance(value, types.FunctionType):
            return self._function(value, place)
        for kinds, content_of in _KINDS:
            if isinstance(value, kinds):
                content = content_of(value)
                return content if isinstance(content, str) else self._told(*content, place)
        return self._object(value, place)

    def _container(self, value: Any, place: str) -> str:
        if isinstance(value, (dict, types.MappingProxyType)):
            pairs = sorted((self.tell(k, place), self.tell(v, f"{place}[{k!r:.40}]")) for k, v in value.items())
            texts = [f"{k}: {v}" for k, v in pairs]
        elif isinstance(value, (set, frozenset)):
            texts = sorted(self.tell(part, place) for part in value)
        else:
            texts = [self.tell(part, f"{place}[{i}]") for i, part in enumerate(value)]
        return f"{type(value).__name__}({', '.join(texts)})"

    def _function(self, value: types.FunctionType, place: str) -> str:
        parts = {"defaults": value.__defaults__, "keywords": value.__kwdefaults__, "attributes": vars(value)}
        parts = {name: part for name, part in parts.items() if part}  # most functions have none of these
        closed: dict[str, Any] = {}
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a variable that has no value yet
                closed[f"variable {name}"] = cell.cell_contents
        if installed(value.__globals__.get("__name__")):
            return self._told(name_of(value), {**parts, **closed}, place)
        dynamic, read = read_by(value, closed)
        if dynamic:
            self.needs_key(f"{place}, which may read by {dynamic} what its code does not name")
        return self._told("function", {**parts, "code": value.__code__, **read}, place)

    def _object(self, value: Any, place: str) -> str:
        kind = type(value)
        text = self.tell(kind, place)
        if is_ours(kind.__module__) or not installed(kind.__module__) or dataclasses.is_dataclass(kind):
            text = self._told(text, _attributes(value), place)
            bases = [base for base in kind.__mro__[1:-1] if base not in (abc.ABC, Generic, Protocol)]
            if not any(installed(base.__module__) and not is_ours(base.__module__) for base in bases):
                return text  # no base adds content to its objects that Python code cannot see
        content, twin = self.tell(self._reduced(value, place), place), value
        with contextlib.suppress(Exception):  # of an object that cannot be copied
            twin = copy.deepcopy(value)
        if content != self.tell(self._reduced(twin, place), place):  # as by an address in it
            content = self.needs_key(f"{place}, {checks.describe(value)}, whose content is written otherwise each time")
        return f"object({text}, {content})"

    def _reduced(self, value: Any, place: str) -> Any:
        """What pickle would write of an object whose content Python code cannot see."""
        reduce = copyreg.dispatch_table.get(type(value))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
            if isinstance(reduced, str):
                return _global_name(value, reduced)
        except (TypeError, ValueError, AttributeError, RuntimeError, AssertionError, OSError):
            return self.needs_key(f"{place}, {checks.describe(value)}, which has no content to compare")
        made, arguments, *rest = (*reduced, None, None, None)[:5]
        made = None if made in _MAKERS else made
        return [made, list(arguments), [list(part) if isinstance(part, Iterator) else part for part in rest]]


#: What a value is told by: a text, or a kind and parts.
Content: TypeAlias = str | tuple[str | tuple[Any, ...], Iterable[Any]]


def _array(value: np.ndarray[Any, Any]) -> Content:
    if value.dtype.hasobject:
        return f"array{value.shape}", [value.tolist()]
    plain = np.ascontiguousarray(value).view(np.ndarray)
    kind = value.dtype.str if value.dtype.names is None else repr(value.dtype)
    text = f"array({kind}, {value.shape}, {digest_of(plain.tobytes())})"
    own = vars(value) if hasattr(value, "__dict__") else 0
    return text if type(value) in (np.ndarray, np.memmap) else ("array", [type(value), text, own])


def _class(value: type) -> Content:
    name = name_of(value)
    if installed(value.__module__) and "<locals>" not in name:
        return name
    own = {key: part for key, part in vars(value).items() if is_written(key, part)}
    if issubclass(value, enum.Enum):  # beside its members there is what the module enum puts there
        own = {key: part for key, part in own.items() if is_own_method(part)}
        own |= {member.name: member.value for member in value}
    kinds = [] if installed(type(value).__module__) else [type(value)]
    return (name, [*kinds, *(base for base in value.__bases__ if base is not object)]), own


def _module(value: types.ModuleType) -> Content:
    if installed(value.__name__):
        return f"module {value.__name__}"
    return "module", {
        key: part for key, part in vars(value).items() if not (key.startswith("__") and key.endswith("__"))
    }


def _code(value: types.CodeType) -> Content:
    facts = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
    names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
    content = [value.co_code, value.co_exceptiontable, facts, names, value.co_consts]
    return f"code of {sys.implementation.cache_tag}", content


def _built_in(value: Any) -> Content:
    name = f"{getattr(value, '__module__', None)}.{value.__qualname__}"
    owner = getattr(value, "__self__", None)
    return name if owner is None or isinstance(owner, types.ModuleType) else (name, [owner])


def _generator(value: Any) -> Content:
    bits = value.bit_generator if isinstance(value, np.random.Generator) else value
    return name_of(type(value)), [bits.get_state(False) if isinstance(bits, np.random.RandomState) else bits.state]


_KINDS: list[tuple[Any, Callable[[Any], Content]]] = [
    (enum.Enum, lambda value: ("member", [type(value), value.name])),
    (np.ndarray, _array),
    ((np.random.Generator, np.random.RandomState, np.random.BitGenerator), _generator),
    (Layer, lambda value: ("layer", [type(value), dict(value.config), value.weights])),
    (types.ModuleType, _module),
    (type, _class),
    (types.CodeType, _code),
    (types.MethodType, lambda value: ("method", [value.__func__, value.__self__])),
    (_BUILT_IN, _built_in),
    (functools.partial, lambda value: ("partial", [value.func, value.args, value.keywords, vars(value)])),
    ((staticmethod, classmethod), lambda value: ("static", [value.__func__])),
    (property, lambda value: ("property", [value.fget, value.fset, value.fdel])),
    (functools.cached_property, lambda value: ("property", [value.func])),
    (functools._lru_cache_wrapper, lambda value: ("cached", [value.__wrapped__])),
]
_CONTAINERS = (dict, types.MappingProxyType, list, tuple, set, frozenset)
_MAKERS = (copyreg.__newobj__, copyreg.__newobj_ex__)  # type: ignore[attr-defined]


def _atom(value: Any) -> str | None:
    """The text of a value that holds no others; None for any other."""
    kind = type(value)
    if value is None or value is Ellipsis or kind is bool:
        return repr(value)
    if kind is int:
        return str(value) if abs(value) < 1 << 63 else hex(value)
    if kind is float:
        return f"float {value.hex()}"
    if kind is complex:
        return f"complex {value.real.hex()} {value.imag.hex()}"
    if kind in (str, bytes):
        return repr(value) if len(value) <= LONGEST else f"{kind.__name__}#{digest_of(repr(value).encode())}"
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return f"{value.dtype.str} {value.tobytes().hex()}"
    return None


def _attributes(value: Any) -> dict[str, Any]:
    """What an object holds: by `__dict__`, by `__slots__`, and the fields of a dataclass.

    A dataclass of the library leaves out what is as by default, so that a field which comes later changes no text.
    """
    fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    state = object.__getstate__(value)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    found = {field.name: getattr(value, field.name) for field in fields if hasattr(value, field.name)}
    found |= {**(slots or {}), **(attributes or {})}
    for name in {
        name for kind in type(value).__mro__ for name, part in vars(kind).items() if isinstance(part, _CACHED)
    }:
        found.pop(name, None)  # there once they were asked for
    for field in fields if is_ours(type(value).__module__) else ():
        if type(found[field.name]) is type(field.default) and found[field.name] == field.default:
            del found[field.name]
    return found


def _global_name(value: Any, name: str) -> str:
    """The name of a value that pickle calls by a name, where that is its own."""
    for module in (getattr(value, "__module__", None), "numpy", "scipy.special"):  # ufuncs do not know their module
        found: Any = sys.modules.get(module or "")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is value:
            return f"{module}.{name}"
    raise ValueError(name)
