"""What tells functions and classes of a user's own apart: all that their code may read, and no name of a module."""

from __future__ import annotations

import copy
import itertools
import sys
import types

import pytest

from elman.training.identity import identify
from elman.training.user_code import name_of

#: Modules of a user's own; the number K differs.
PACKAGE = {"pack": "", "pack.rates": "FACTOR = K\ndef rate(done): return K * done"}
USES = {  # all give f
    "a module in a package": "import pack.rates\ndef f(done): return pack.rates.rate(done)",
    "a module by another name": "import pack.rates as r\ndef f(done): return r.rate(done)",
    "a function imported": "from pack.rates import rate\ndef f(done): return rate(done)",
    "imported when called": "def f(done):\n    import pack.rates\n    return pack.rates.rate(done)",
    "imported when called, by another name": "def f(done):\n    import pack.rates as r\n    return r.rate(done)",
    "imported from when called": "def f(done):\n    from pack.rates import FACTOR as g\n    return g",
    "imported within a function within": "def f(done): return g()\n"
    "def g():\n    def h():\n        from pack.rates import rate\n        return rate(1)\n    return h()",
    "a module closed over": "import pack.rates as r\ndef g(m):\n    def f(done): return m.rate(done)\n"
    "    return f\nf = g(r)",
    "a module as an attribute": "import pack.rates as r\nclass A:\n    def __init__(self, m): self.m = m\n"
    "    def __call__(self, done): return self.m.rate(done)\nf = A(r)",
    "by getattr": "import pack.rates as r\ndef f(done): return getattr(r, 'ra' + 'te')(done)",
    "a special attribute": "class A:\n    __rate__ = K\n    def __call__(self, done): return self.__rate__\nf = A()",
    "a metaclass": "class M(type):\n    def rate(kind): return K\nclass A(metaclass=M):\n"
    "    def __call__(self, done): return type(self).rate()\nf = A()",
    "a partial method": "import functools\nclass A:\n    def g(self, k, done): return k\n"
    "    __call__ = functools.partialmethod(g, K)\nf = A()",
    "a comparison of a dataclass": "from dataclasses import dataclass\n@dataclass(eq=False)\nclass A:\n"
    "    def __eq__(self, other): return K\nf = A()",
    "a default of a dataclass": "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass A:\n"
    "    k: float = K\nf = A()",
    "a subclass of an array": "import numpy as np\nclass A(np.ndarray):\n"
    "    def __call__(self, done): return K\nf = np.ones(3).view(A)",
    "fields of an array": "import numpy as np\nf = np.zeros(2, [('abcde'[K], 'f4')])",
    "a method of an enum": "import enum\nclass A(enum.Enum):\n    ONE = 1\n    def rate(self): return K\n"
    "def f(done): return A.ONE.rate()",
    "an array closed over": "import numpy as np\ndef g(a):\n    def f(done): return a[1]\n"
    "    return f\nf = g(np.full(3, K))",
    "an array by a global name": "import numpy as np\na = np.full(3, K)\ndef f(done): return a[1]",
    "an array as a default": "import numpy as np\ndef f(done, a=np.full(3, K)): return a[1]",
    "None or nothing": "a = [None, {}, None][K]\ndef f(done): return a is None",
    "what compares as it likes": "class A:\n    def __init__(self): self.k = K\n"
    "    def __eq__(self, other): return True\na = A()\ndef f(done): return a.k",
    "a cached property": "import functools\nclass A:\n    @functools.cached_property\n"
    "    def k(self): return K\nf = A()",
    "a base in another module": "import pack.rates\nclass B:\n    def rate(self): return pack.rates.FACTOR\n"
    "class A(B): pass\nf = A().rate",
}
SAME = {
    "a comment": "def f(done):\n    # K\n    return 1",
    "an annotation": "def f(done: 'k' * K): return 1",
    "what is not read": "other = K\ndef f(done): return 1",
    "a part of a module that is not read": "import pack.rates\ndef f(done): return pack.rates.__name__",
    "a place in a file": "\n\n\nK\ndef f(done): return 1",
}  # fmt: skip


def made(k, code, monkeypatch, name="own"):
    """`f` of modules with a number in the place of K."""
    for module, text in {**PACKAGE, name: code}.items():
        found = types.ModuleType(module)
        monkeypatch.setitem(sys.modules, module, found)
        if "." in module:
            parent, _, last = module.rpartition(".")
            monkeypatch.setattr(sys.modules[parent], last, found, raising=False)
        exec(compile(text.replace("K", str(k)), f"{module}.py", "exec"), found.__dict__)
    return sys.modules[name].f


@pytest.mark.parametrize("use", USES)
def test_what_code_reads_tells_it_apart(use, monkeypatch):
    one = identify("f", made(1, USES[use], monkeypatch))
    assert identify("f", made(1, USES[use], monkeypatch)) == one
    assert identify("f", made(1, USES[use], monkeypatch, "another")) == one  # as __main__ and __mp_main__
    assert identify("f", made(2, USES[use], monkeypatch)) != one


@pytest.mark.parametrize("use", SAME)
def test_what_code_does_not_read_makes_no_difference(use, monkeypatch):
    assert identify("f", made(1, SAME[use], monkeypatch)) == identify("f", made(2, SAME[use], monkeypatch))


@pytest.mark.parametrize("call", ["globals()['rate']", "eval('rate')", "exec('rate')", "__import__('pack').rates.rate"])
def test_code_that_reads_what_it_does_not_name_needs_a_key(call, monkeypatch):
    f = made(1, f"rate = 3\ndef f(done): return {call}", monkeypatch)
    with pytest.raises(
        ValueError, match=r"Got v, which may read by \w+ what its code does not name\. Name it with a key"
    ):
        identify("v", f)
    assert identify("v", f, key="mine") == identify("v", f, key="mine")


def test_a_property_that_was_cached_makes_no_difference(monkeypatch):
    code = USES["a cached property"]
    f = made(1, code, monkeypatch)
    before = identify("f", f)
    assert f.k == 1
    assert identify("f", f) == before


def test_a_class_whose_objects_were_copied_is_the_same(monkeypatch):
    """The first copy leaves a list of its slots in the class."""
    for code in ("class A:\n    def __call__(self, done): return K\nf = A()", USES["a default of a dataclass"]):
        f = made(1, code, monkeypatch)
        before = identify("f", f)
        assert type(copy.copy(f)) is type(f)
        assert identify("f", f) == before


def test_a_module_that_cannot_be_imported_is_no_error(monkeypatch):
    code = "def f(done):\n    try:\n        import no_such_module.k\n    except ImportError:\n        return K"
    assert identify("f", made(1, code, monkeypatch)) != identify("f", made(2, code, monkeypatch))


def test_names_of_classes_of_the_library_and_of_a_user():
    from elman.training import Adam

    class Own(Adam):
        pass

    assert name_of(Adam) == "elman.Adam"
    assert name_of(types.SimpleNamespace) == "types.SimpleNamespace"
    assert name_of(Own).endswith("<locals>.Own")
    assert "test_user_code" not in name_of(Own)


def test_a_content_that_is_written_otherwise_each_time_needs_a_key(monkeypatch):
    """As of a library whose objects pickle with an address or a time in them."""
    count = itertools.count()
    library = types.ModuleType("library")
    library.__file__ = "/lib/site-packages/library.py"
    monkeypatch.setitem(sys.modules, "library", library)
    opaque = type("Opaque", (), {"__module__": "library", "__reduce__": lambda self: (dict, (), {"n": next(count)})})
    with pytest.raises(ValueError, match=r"a Opaque, whose content is written otherwise each time\. Name"):
        identify("v", opaque())
    assert identify("v", opaque(), key="mine") == identify("v", opaque(), key="mine")


@pytest.mark.peer
def test_tensors_of_torch_are_told_apart_or_refused(monkeypatch):
    torch = pytest.importorskip("torch")
    try:
        found = [identify("v", torch.ones(2) * k) for k in (1, 1, 2)]
    except ValueError as error:
        assert "Name it with a key" in str(error)  # noqa: PT017
    else:
        assert found[0] == found[1] != found[2]
