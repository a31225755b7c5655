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
            print_report()
        print(missing_extra("the command elman", "cli"), file=sys.stderr)
        raise SystemExit(2) from None
    from elman.cli.app import app

    app()


def print_report() -> None:
    """Prints the report of `doctor`; the exit code is 1 where its self-test failed."""
    from elman.cli.doctor import examine

    report, passed = examine()
    print(report)
    raise SystemExit(0 if passed else 1)
