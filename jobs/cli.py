"""The command `lode`: the jobs, the catalogue and the report from one place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from jobs.cli_catalog import catalog_app
from jobs.cli_dataset import dataset_app
from schemas.errors import LodeError

DEFAULT_RUN = "runs/demo"
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app = typer.Typer(
    name="lode",
    help="Mine pretrained image generators for directions and query the catalogue.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(catalog_app, name="catalog")
app.add_typer(dataset_app, name="dataset")


@app.command(context_settings=PASS_ON)
def mine(context: typer.Context) -> None:
    """Make the dataset where it is missing, mine, measure, publish and report."""
    from jobs import mine_directions

    raise typer.Exit(guarded(mine_directions.main, context.args))


@app.command(context_settings=PASS_ON)
def generate(context: typer.Context) -> None:
    """Make a dataset: sample, render, measure."""
    from jobs import generate_dataset

    raise typer.Exit(guarded(generate_dataset.main, context.args))


@app.command()
def report(
    run: str = typer.Argument(DEFAULT_RUN, help="The run's folder or URL (its --out)."),
) -> None:
    """Write the report of a finished run again, and say where it lies."""
    from jobs.mine_directions import write_report
    from storage.files import absolute

    print(write_report(absolute(run)))


@app.command()
def version() -> None:
    """Print the version."""
    from jobs.publish import code_version

    print(code_version())


def guarded(program: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """Run a program; a LodeError becomes one line on stderr and its exit status."""
    try:
        return program(argv) or 0
    except LodeError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on.", file=sys.stderr)
        return 130


def main(argv: Sequence[str] | None = None) -> None:
    """The console script."""
    sys.exit(guarded(_lode, sys.argv[1:] if argv is None else argv))


def _lode(argv: Sequence[str]) -> None:
    # typer itself prints what is wrong with the arguments, and exits with 2
    app(list(argv), prog_name="lode")


if __name__ == "__main__":
    main()
