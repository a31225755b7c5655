"""The command `elman`."""

from __future__ import annotations

from elman.checks import missing_extra


def main() -> None:
    """Runs the command; its libraries are the extra "cli"."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        raise SystemExit(str(missing_extra("the command elman", "cli"))) from None
    from elman.cli.app import app

    app()
