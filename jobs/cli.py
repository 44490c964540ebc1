"""The command `lode`: the jobs, the catalogue and the report from one place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from jobs.cli_catalog import catalog_app
from jobs.cli_condition import condition
from jobs.cli_control import control_app
from jobs.cli_dataset import dataset_app
from jobs.cli_edit import edit_app
from jobs.cli_ganspace import ganspace
from jobs.cli_generator import generator_app
from jobs.cli_matrix import matrix_app
from jobs.cli_micromotion import micromotion_app
from jobs.cli_rescore import rescore
from schemas.errors import InputError, LodeError

DEFAULT_RUN = "runs/demo"
STOPPED = 130  # exit status of a program that was stopped by hand
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app = typer.Typer(
    name="lode",
    help="Mine pretrained image generators for directions and query the catalogue.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(catalog_app, name="catalog")
app.add_typer(dataset_app, name="dataset")
app.add_typer(generator_app, name="generator")
app.add_typer(control_app, name="control")
app.add_typer(edit_app, name="edit")
app.add_typer(matrix_app, name="matrix")
app.add_typer(micromotion_app, name="micromotion")
app.command()(condition)
app.command()(rescore)
app.command()(ganspace)


@app.command(context_settings=PASS_ON)
def mine(context: typer.Context) -> None:
    """Make what is missing of a dataset, mine, measure, publish, report."""
    from jobs import mine_directions

    raise typer.Exit(mine_directions.main(context.args))


@app.command(context_settings=PASS_ON)
def leaderboard(context: typer.Context) -> None:
    """Compare all methods with the truth at several numbers of samples."""
    from jobs import leaderboard as board

    raise typer.Exit(board.main(context.args))


@app.command(context_settings=PASS_ON)
def generate(context: typer.Context) -> None:
    """Make a dataset: sample, render, measure."""
    from jobs import generate_dataset

    raise typer.Exit(generate_dataset.main(context.args))


@app.command()
def report(
    run: str = typer.Argument(DEFAULT_RUN, help="The run's folder or URL (its --out)."),
) -> None:
    """Write the report of a finished run again, and say where it lies."""
    from jobs.mine_directions import write_report
    from jobs.report.files import NUMBERS
    from storage.files import Store, absolute

    out = absolute(run)
    store = Store(out)
    if not store.exists(f"results/{NUMBERS}"):
        state = "holds no finished run" if store.exists() else "does not exist"
        raise InputError(
            f"report: the run folder {out} {state}; expected the --out of a finished run, with "
            f"results/{NUMBERS} in it. Name another folder, or run `lode mine --out {run}` first."
        )
    store.check_writable()
    print(write_report(out))


@app.command()
def version() -> None:
    """Print the version."""
    from jobs.versions import code_version

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
        return STOPPED


def main(argv: Sequence[str] | None = None) -> None:
    """The console script."""
    sys.exit(guarded(_lode, sys.argv[1:] if argv is None else argv))


def _lode(argv: Sequence[str]) -> int | None:
    """Run a command; InputError where typer finds its arguments wrong, help where none came."""
    # click, or the copy of it that newer versions of typer carry
    wrong = sys.modules[typer.BadParameter.__module__]
    try:
        status = app(list(argv), prog_name="lode", standalone_mode=False)
    except typer.Abort:  # KeyboardInterrupt, where typer uses click
        raise KeyboardInterrupt from None
    except getattr(wrong, "NoArgsIsHelpError", ()) as error:  # click 8.1 has none, and helps itself
        print(error.format_message())
        return InputError.exit_status
    except wrong.UsageError as error:
        path = error.ctx.command_path if error.ctx else "lode"
        # "Value error" is pydantic's word before the message of a check
        message = error.format_message().replace("Value error, ", "")
        stop = "" if message.endswith((".", "?")) else "."
        raise InputError(f"{path}: {message}{stop} See `{path} --help`.") from None
    if status == STOPPED:  # KeyboardInterrupt, where typer has its copy
        raise KeyboardInterrupt
    return status


if __name__ == "__main__":
    main()
