"""What `to_c` writes and reports: sizes, names, both files or none, and what it refuses."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import elman
from elman.files import PathError
from elman.interop.c.code import to_c
from test_c_code import small
from test_gradients import LEAKY

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def test_the_report_counts(tmp_path):
    net = elman.Network(
        [
            elman.Embedding(9, 3),
            elman.Network([elman.LSTM(3, 8, peepholes=True, projection=4, learned_state=True), elman.Dropout(0.5)]),
            elman.GRU(4, 5, activations={"r": "hard_sigmoid", "n": "softplus"}),
            elman.LayerNorm(5),
            elman.Dense(5, 7, "tanh"),
            elman.Activate("relu"),
            elman.Dense(7, 2),
        ]
    )
    report = to_c(net, tmp_path / "model")
    assert report.weights_bytes == 4 * net.parameter_count
    assert report.state_bytes == 4 * (4 + 8 + 5)
    # The gates and what is projected; two arrays between layers, of 7 each.
    assert report.scratch_bytes == 4 * (4 * 8 + 8 + 7 + 7)
    assert report.multiply_adds == (3 + 4) * 32 + 3 * 8 + 8 * 4 + (4 + 5) * 15 + 5 + 5 * 7 + 7 * 2
    assert report.calls == 5 * 8 + (0 + 1 + 2) * 5 + 7
    assert (report.name, report.notes) == ("model", ())
    assert report.header.read_text().startswith("/*\n * model: a recurrent network")
    for line in report.text.splitlines():
        assert f" * {line}".rstrip() in report.header.read_text()
    assert "1.0  LSTM" in report.text
    assert "model_1_0_Wp[8][4]" in report.source.read_text()
    assert repr(report).splitlines()[0] == f"{report.header}, model.c"


def test_float64_is_rounded_and_said_so(tmp_path):
    net = small(dtype="float64")
    report = to_c(net, tmp_path / "twice")
    assert report.notes == ("The weights were rounded from float64 to float32.",)
    single = elman.Network.from_parameters(small().config, net.parameters)
    again = to_c(single, tmp_path / "single", "twice")
    # The same code; the notes of the header, and with it the number of the pair, differ.
    texts = [one.source.read_text().partition("#include <math.h>")[2] for one in (report, again)]
    assert texts[0] == texts[1] != ""
    net.layers[0].Wx[1, 2] = 1e39
    with pytest.raises(elman.FormatError, match=r"0\.Wx must hold numbers of float32 for C\. Got 1e\+39"):
        to_c(net, tmp_path / "refused")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["single.c", "single.h", "twice.c", "twice.h"]


def test_paths_and_names(tmp_path):
    net = small()
    for path, name in (("a", None), ("b.c", None), ("c.h", None), ("d-2.c", "second"), ("v1.5", "v15")):
        report = to_c(net, tmp_path / path, name)
        stem = path.removesuffix(".c").removesuffix(".h")
        assert (report.header, report.source) == (tmp_path / f"{stem}.h", tmp_path / f"{stem}.c")
        assert report.name == (name or stem)
        assert f'#include "{stem}.h"' in report.source.read_text()
        assert f"{report.name}_step(" in report.header.read_text()
    before = sorted(tmp_path.iterdir())
    for wrong in ("1st", "a-b", "a b", "", "_a", "ümlaut", 3):
        with pytest.raises(ValueError, match="name must be letters, digits and underscores"):
            to_c(net, tmp_path / "x", wrong)
    for wrong in ("float", "restrict", "class"):
        with pytest.raises(ValueError, match="name must be no keyword of C"):
            to_c(net, tmp_path / "x", wrong)
    with pytest.raises(ValueError, match="name must be letters"):
        to_c(net, tmp_path / "d-2")
    with pytest.raises(ValueError, match="path must name a file that C can include"):
        to_c(net, tmp_path / 'q"', "q")
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that exists"):
        to_c(net, tmp_path / "none" / "x")
    assert sorted(tmp_path.iterdir()) == before


def test_both_files_or_none(tmp_path, monkeypatch):
    first, second = small(), elman.Network([elman.GRU(3, 4, seed=5)])
    (tmp_path / "fresh.c").mkdir()
    with pytest.raises(PathError, match=r"path must be a file\. Got .*fresh\.c', a folder\."):
        to_c(first, tmp_path / "fresh")
    (tmp_path / "fresh.c").rmdir()
    report = to_c(first, tmp_path / "old")
    texts = report.header.read_text(), report.source.read_text()

    move = os.replace
    for ending in (".c", ".h"):

        def fails(temporary, target, ending=ending):
            if target.endswith(ending):
                raise OSError("no space left")
            move(temporary, target)

        for name in ("old", "fresh"):
            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", fails)
                with pytest.raises(OSError, match="no space left"):
                    to_c(second, tmp_path / name)
    assert (report.header.read_text(), report.source.read_text()) == texts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.c", "old.h"]


def compiled(folder):
    command = [COMPILER, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c", "net.c", "-o", os.devnull]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_header_and_source_of_two_networks_do_not_compile(tmp_path):
    """Networks of other sizes, and of other weights alone; headers of before there was a number, too."""
    nets = {
        "one": elman.Network([elman.GRU(2, 6, seed=0)]),
        "wider": elman.Network([elman.GRU(2, 7, seed=0)]),
        "weights": elman.Network([elman.GRU(2, 6, seed=1)]),
        "dense": elman.Network([elman.GRU(2, 6, seed=0), elman.Dense(6, 6, seed=1)]),
    }
    texts = {}
    for name, net in nets.items():
        (tmp_path / name).mkdir()
        reports = [to_c(net, tmp_path / name / "net.c") for _ in range(2)]
        assert reports[0] == reports[1]
        texts[name] = reports[0].header.read_text()
        assert compiled(tmp_path / name).returncode == 0
    unnumbered = texts["one"].replace("#define ELMAN_net_NETWORK", "#define ELMAN_net_OTHER")
    for name in nets:
        for text in [text for other, text in texts.items() if other != name] + [unnumbered]:
            (tmp_path / name / "net.h").write_text(text)
            result = compiled(tmp_path / name)
            assert result.returncode != 0
            assert "#error" in result.stderr
            assert "the header is of another network than this source" in result.stderr


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_a_kill_between_the_two_files_is_seen_by_the_compiler(tmp_path):
    script = """
        import os, signal, sys, elman
        real = os.replace
        def dies(*args):
            real(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace = dies
        elman.to_c(elman.Network([elman.GRU(2, 6, seed=5)]), "net.c")
    """
    to_c(elman.Network([elman.GRU(2, 6, seed=0)]), tmp_path / "net.c")
    found = {**os.environ, "PYTHONPATH": str(Path(elman.__file__).parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(command, cwd=tmp_path, env=found, check=False).returncode == -signal.SIGKILL
    result = compiled(tmp_path)
    assert "#error" in result.stderr
    to_c(elman.Network([elman.GRU(2, 6, seed=5)]), tmp_path / "net.c")
    assert compiled(tmp_path).returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["net.c", "net.h"]


def test_what_is_refused(tmp_path):
    stepwise = [
        elman.GRU(3, 4, bidirectional=True),
        elman.MaxPool1d(2),
        elman.LastStep(bidirectional=True),
        elman.Reverse(),
        elman.Masking(),
    ]
    for layer in stepwise:
        net = elman.Network([elman.Dense(3, 3), layer])
        with pytest.raises(elman.ShapeError) as of_stream:
            net.stream()
        with pytest.raises(elman.ShapeError, match=re.escape(str(of_stream.value))):
            to_c(net, tmp_path / "x")
    real = elman.GRU(3, 4).cell
    named = dataclasses.replace(real, step=lambda x, state, weights, mask=None: (state, {}), kernel=None)
    with pytest.raises(
        elman.FormatError, match=r"layer 1: the cell must be a built-in one for C\. Got Cell\('leaky'\)"
    ):
        to_c(elman.Network([elman.Dense(2, 3), elman.Recurrent(LEAKY, 3, 4)]), tmp_path / "x")
    with pytest.raises(elman.FormatError, match=r"layer 0\.0: the cell must be a built-in one.*of your own.*'gru'"):
        to_c(elman.Network([elman.Network([elman.Recurrent(named, 3, 4)])]), tmp_path / "x")
    assert to_c(elman.Recurrent(real, 3, 4), tmp_path / "x")  # the cell itself, in another layer
    for path in tmp_path.iterdir():
        path.unlink()

    class Own(elman.Dense):
        pass

    with pytest.raises(elman.FormatError, match="layer 0: it must be recurrent or one of Activate, Add"):
        to_c(Own(3, 2), tmp_path / "x")
    with pytest.raises(elman.ShapeError, match="net must have a layer that takes a certain number of features"):
        to_c(elman.Network([elman.Activate("tanh"), elman.Dropout(0.1)]), tmp_path / "x")
    with pytest.raises(TypeError, match="net must be a network, a layer or a fitted estimator"):
        to_c([elman.Dense(3, 2)], tmp_path / "x")
    assert not list(tmp_path.iterdir())
