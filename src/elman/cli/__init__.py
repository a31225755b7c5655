"""The command `elman`."""

from __future__ import annotations

import sys

from elman.checks import missing_extra


def main() -> None:
    """Runs the command; its libraries are the extra "cli", but `doctor` does without, to say what is missing."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        if sys.argv[1:] == ["doctor"]:
            from elman.cli.doctor import print_report

            print_report()
        print(missing_extra("the command elman", "cli"), file=sys.stderr)
        raise SystemExit(2) from None
    from elman.cli.app import app

    app()
