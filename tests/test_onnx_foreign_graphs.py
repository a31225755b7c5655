"""Models as other people write them, beside ONNX Runtime: what is read, what is refused and in which words.

The verdicts stand in golden/onnx/foreign.json, which `python tests/foreign_verdicts.py --write` makes anew. A refusal
may become a reading, but nothing may be read wrongly: what is known to be wrong is to fail until it is mended.
"""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from foreign_verdicts import TABLE, every_case, verdict_of

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]  # of the exporters

KNOWN = json.loads(TABLE.read_text())
EXPECTED = dict.fromkeys(KNOWN["reads"], "reads")
EXPECTED |= {name: words for words, names in KNOWN["refused"].items() for name in names}


@pytest.fixture(scope="module")
def cases():
    return every_case()


def test_every_case_has_a_verdict(cases):
    assert {*cases} == {*EXPECTED, *KNOWN["wrong"]}
    assert not {*EXPECTED} & {*KNOWN["wrong"]}


@pytest.mark.parametrize(
    "name",
    [*EXPECTED, *(pytest.param(n, marks=pytest.mark.xfail(strict=True, reason=w)) for n, w in KNOWN["wrong"].items())],
)
def test_verdicts(cases, name):
    if "(dynamo)" in name:
        pytest.importorskip("onnxscript")
    found = verdict_of(cases[name])
    if EXPECTED.get(name, "reads") == "reads":
        assert found.kind == "OK", found
    else:
        assert found.kind == "REFUSED", found
        assert EXPECTED[name] in found.words.replace("\n", " ")
