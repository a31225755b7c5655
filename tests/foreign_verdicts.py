"""`python tests/foreign_verdicts.py [words]`: what becomes of each model of others, a line each; words choose by name.

With `--write` the table of tests/golden/onnx/foreign.json is made of it, and what is wrong or crashes stands there too.
"""

from __future__ import annotations

import collections
import json
import re
import sys
import warnings
from pathlib import Path

TABLE = Path(__file__).parent / "golden" / "onnx" / "foreign.json"


def session(model):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # or it would fuse to 8 bits
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def every_case():
    import foreign_hand
    import foreign_torch

    return {case.name: case for case in [*foreign_hand.CASES, *foreign_torch.CASES]}


def verdict_of(case):
    import elman
    from foreign_models import Verdict, run

    try:
        return run(case, elman, session)
    except Exception as error:  # the exporter does not know how
        return Verdict("BAD", f"{type(error).__name__}: {error}")


def words_of(refusal):
    """What a refusal says, without the file, the node and the lengths."""
    text = refusal.replace("\n", " ")
    got = re.search(r"must be one that is read\. (Got \w+)", text)
    if got:
        return got.group(1)
    text = re.sub(r"^.*?the bytes: ", "", text).split(". Got ")[0]
    for part in (" must be ", " must ", ": "):
        if part in text:
            return (part.strip(": ") + " " + text.split(part, 1)[1]).strip()
    return text


def main():
    warnings.simplefilter("ignore")
    chosen = [word for word in sys.argv[1:] if not word.startswith("-")]
    table = {"reads": [], "refused": collections.defaultdict(list), "wrong": {}}
    counts = collections.Counter()
    for name, case in every_case().items():
        if chosen and not any(word in name for word in chosen):
            continue
        found = verdict_of(case)
        counts[found.kind] += 1
        print(f"{found.kind:8} {name:70} {found.words}".replace("\n", " "), flush=True)
        if found.kind == "OK":
            table["reads"].append(name)
        elif found.kind == "REFUSED":
            table["refused"][words_of(found.words)].append(name)
        else:
            table["wrong"][name] = f"{found.kind}: {found.words}"[:160]
    print(dict(counts))
    if "--write" in sys.argv:
        TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
