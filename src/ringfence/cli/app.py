"""The tree of commands, and the entry point. Heavy imports are inside the commands, so that ``--help`` is instant."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from ringfence import __version__
from ringfence.cli import (
    agreement,
    audit,
    card,
    compare,
    data,
    demo,
    differences,
    direction,
    doctor,
    evaluate,
    figure,
    gate,
    init,
    persona,
    properties,
    report,
    reproduce,
    schema,
    select,
    suites,
    sweep,
    train,
)
from ringfence.cli.console import say
from ringfence.core.errors import RingfenceError
from ringfence.core.files import DISK_FULL
from ringfence.core.parent import leave_with_parent
from ringfence.core.ranks import is_main_process

BAD_INPUT, INTERRUPTED = 2, 130  # exit codes
HELP = (
    "Keep a fine-tune narrow: train with defenses against emergent misalignment, and measure honestly.\n\n"
    "Start with `ringfence demo`, which needs no data and no GPU."
)
COMMANDS: list[Callable[..., None]] = [
    init.init,
    train.train,
    select.select,
    evaluate.evaluate,
    gate.gate,
    audit.audit,
    compare.compare,
    differences.differences,
    agreement.agreement,
    report.report,
    figure.figure,
    card.card,
    sweep.sweep,
    reproduce.reproduce,
    demo.demo,
    doctor.doctor,
    schema.schema,
]
GROUPS: dict[str, tuple[str, list[Callable[..., None]]]] = {
    "data": (
        "Look at data before training on it; write the rows of benign tasks.",
        [data.check, data.list_, data.opswap, data.task, properties.properties],
    ),
    "persona": (
        "Persona vectors: directions in a model's activations along which it has a trait.",
        [persona.extract, persona.random, persona.show, persona.convert, persona.components, persona.adapter],
    ),
    "direction": (
        "The direction between two sets of conversations in a model's hidden states, and other sets along it.",
        [direction.fit, direction.plot],
    ),
    "suites": (
        "Suites: the questions that a model is asked; built in, from a file, or your copy of a published one.",
        [suites.add, suites.list_, suites.show],
    ),
}


def _group(text: str, commands: Iterable[Callable[..., None]], completion: bool = False) -> typer.Typer:
    """A command is called as its function is; its help ends with its examples. ``completion``: of the user's shell."""
    group = typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=completion,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    for command in commands:
        group.command(command.__name__.rstrip("_"), epilog=command.__dict__["epilog"])(command)
    return group


app = _group(HELP, COMMANDS, completion=True)
for _name, _about in GROUPS.items():
    app.add_typer(_group(*_about), name=_name)


def main() -> None:
    """Entry point: bad input is one line on stderr and exit code 2, Ctrl-C is 130."""
    _quiet_libraries()
    _show_log()
    leave_with_parent(BAD_INPUT)
    try:
        # Outside its standalone mode typer returns the exit code of typer.Exit, 130 for Ctrl-C, and None otherwise.
        code = app(standalone_mode=False, prog_name="ringfence")
    except Exception as error:
        line = _one_line(error)
        if line is None:
            raise
        _fail(line)
    if code == INTERRUPTED:
        print(file=sys.stderr)  # a progress bar may hold the line
        _fail("stopped; run the same command again to go on", INTERRUPTED)
    sys.exit(code or 0)


def _quiet_libraries() -> None:
    # Training data may be somebody else's: no usage pings from the libraries below.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        # Bars, of which a file keeps every redraw: what is slow says a line now and then instead.
        for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
            os.environ.setdefault(name, "1")
    # Notices between the libraries below that a user can do nothing about.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _one_line(error: Exception) -> str | None:
    """What a user can mend, on a line; None for a fault of ours."""
    if isinstance(error, RingfenceError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if _disk_is_full(error):
        return f"cannot write, the disk is full: make room, and run the same command again ({error})"
    # Usage errors carry their text; their class is private to typer.
    return f"{error.format_message()} Try `ringfence --help`." if hasattr(error, "format_message") else None


def _version(wanted: bool) -> None:
    if wanted:
        say(f"ringfence {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether a library that writes by itself ran out of disk; it says so in its text, or somewhere on the way."""
    texts = ("No space left on device", "os error 28", "PytorchStreamWriter failed writing file")
    while error is not None:
        if getattr(error, "errno", None) in DISK_FULL or any(text in str(error) for text in texts):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Terminal(logging.Handler):
    """What a run has to say goes to stdout, warnings to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            print(f"ringfence: {text}", file=sys.stderr)
        elif is_main_process():
            say(text)


def _show_log() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where a letter cannot be shown, its number is
    ours = logging.getLogger("ringfence")
    ours.setLevel(logging.INFO)
    if not any(isinstance(handler, _Terminal) for handler in ours.handlers):
        ours.addHandler(_Terminal())


def _fail(message: str, code: int = BAD_INPUT) -> None:
    print(f"ringfence: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
