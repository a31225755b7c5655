"""A pytest plugin: imports of the packages in the environment variable REFUSED fail, as if they were not installed."""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder

REFUSED = set(os.environ.get("REFUSED", "").split())


class Refusal(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname in REFUSED or fullname.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


sys.meta_path.insert(0, Refusal())
