"""The subcommands of `elman`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Recurrent neural networks on the CPU.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def elman() -> None:
    """Recurrent neural networks on the CPU."""


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the plot and the networks go.")] = Path("elman-demo"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0)] = 0,
) -> None:
    """Learns the yearly sunspot numbers, and forecasts the years from 1980 beside classical methods."""
    from elman.checks import MissingExtraError
    from elman.cli.demo import run

    try:
        run(folder, seed)
    except (MissingExtraError, OSError) as error:
        typer.echo(f"elman demo: {error}", err=True)
        raise typer.Exit(1) from None
