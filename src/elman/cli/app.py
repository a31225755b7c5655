"""The subcommands of `elman`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


class _Command(typer.core.TyperCommand):
    """A command whose one sentence of help stands whole in the list of commands."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The help, of any length."""
        return " ".join((self.help or "").split())


app = typer.Typer(
    help="Recurrent neural networks on the CPU.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from elman.cli.doctor import version

        typer.echo(f"elman {version('elman') or '(not installed)'}")
        raise typer.Exit


@app.callback()
def elman(
    version: Annotated[
        bool, typer.Option("--version", help="Prints the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Recurrent neural networks on the CPU."""


@app.command(cls=_Command)
def doctor() -> None:
    """Says what runs here: compiled part, instruction set, threads, versions; and tests it, in a second."""
    from elman.cli.doctor import print_report

    print_report()


@contextmanager
def _refusals(command: str) -> Iterator[None]:
    """What is refused becomes one line and the exit code 2, without a traceback."""
    from elman.checks import MissingExtraError

    try:
        yield
    except BrokenPipeError:  # whoever reads the output has read enough
        raise
    except (MissingExtraError, OSError, ValueError, TypeError, MemoryError) as error:
        words = str(error)
        if isinstance(error, OSError) and error.strerror:  # of the system, not of the library
            at = "" if error.filename is None else f" at {os.fsdecode(error.filename)!r}"
            words = f"the system must let it read and write. Got {error.strerror!r}{at}."
        typer.echo(f"elman {command}: {' '.join(words.split())}", err=True)
        raise typer.Exit(2) from None


@app.command(cls=_Command)
def demo(
    folder: Annotated[Path, typer.Option(help="Where the plot and the networks go.")] = Path("elman-demo"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0)] = 0,
) -> None:
    """Learns the yearly sunspot numbers, and forecasts the years from 1980 beside classical methods."""
    with _refusals("demo"):
        from elman.cli.demo import run

        run(folder, seed)


@app.command(cls=_Command)
def inspect(
    path: Annotated[
        Path, typer.Argument(help="A file of elman, PyTorch, Keras, ONNX, RTNeural, AIDA-X, GuitarML or NAM.")
    ],
) -> None:
    """Says what is in a file: format, layers, shapes, states, which code runs it. Nothing in it is executed."""
    with _refusals("inspect"):
        from elman.cli.files import print_inspection

        print_inspection(path)


@app.command(cls=_Command)
def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="A file of elman, PyTorch, Keras, ONNX, RTNeural, AIDA-X, GuitarML or NAM."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; its ending tells the format.")],
    to: Annotated[str | None, typer.Option(metavar="FORMAT", help="elman, torch, keras, onnx, rtneural or c.")] = None,
) -> None:
    """Writes the network of one file in the format of another, and checks that both compute the same."""
    with _refusals("convert"):
        from elman.cli.files import print_conversion

        print_conversion(source, target, to)


@app.command(cls=_Command)
def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A network or estimator, in a file of any format.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="What it reads: a table (.csv, .tsv), or a text.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("page.html"),
    against: Annotated[Path | None, typer.Option(help="Another file: where do both networks part?")] = None,
    columns: Annotated[str | None, typer.Option(help="The columns that the network reads: a,b,c.")] = None,
    target: Annotated[str | None, typer.Option(help="The column of what should come out.")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="The characters that the tokens are, in order.")] = None,
    steps: Annotated[str | None, typer.Option(help="The steps that are shown, FIRST:LAST.")] = None,
    units: Annotated[str | None, typer.Option(help="The units that are shown: 0,3,10:20.")] = None,
) -> None:
    """Writes one page with every number of every step: gates, states, gradients, and what the output hangs on."""
    with _refusals("explain"):
        from elman.cli.explain import write_page

        more = {"columns": columns, "target": target, "vocabulary": vocabulary, "steps": steps, "units": units}
        write_page(model, data, out, against=against, **more)
