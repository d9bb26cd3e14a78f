"""The command line. Heavy imports are inside the commands, so that ``--help`` is instant."""

import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ringfence import __version__, evaluate_cli, select_cli
from ringfence.core.errors import RingfenceError
from ringfence.core.files import DISK_FULL
from ringfence.core.run_folder import OWN
from ringfence.core.terminal import say
from ringfence.direction_cli import app as direction_app
from ringfence.evaluation_cli import app as evaluation_app
from ringfence.persona_cli import app as persona_app
from ringfence.properties_cli import app as properties_app
from ringfence.suites_cli import app as suites_app

BAD_INPUT, INTERRUPTED = 2, 130  # exit codes

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Keep a fine-tune narrow: train with defenses against emergent misalignment, and measure honestly.\n\n"
    "Start with `ringfence demo`, which needs no data and no GPU.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data before training on it.")
app.add_typer(data_app, name="data")
data_app.add_typer(properties_app)  # its command stands beside `check`
app.add_typer(persona_app, name="persona")
app.add_typer(direction_app, name="direction")
app.add_typer(suites_app, name="suites")
console = Console(emoji=False)


def main() -> None:
    """Entry point: bad input is one line on stderr and exit code 2, Ctrl-C is 130."""
    _quiet_libraries()
    _show_log()
    if os.environ.get("RINGFENCE_EXIT_WITH_STDIN"):
        _exit_with_stdin()
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


@app.command(
    epilog="Examples:\n\n    ringfence train recipe.yaml --out runs/plain\n\n"
    "    ringfence train recipe.yaml seed=1 training.learning_rate=1e-4 --out runs/seed-1\n\n"
    "    ringfence train recipes/dubinski-2026/sequential.yaml data.target=narrow.jsonl "
    "stages.0.data.target=benign.jsonl --out runs/two-stages\n\n"
    "    torchrun --nproc-per-node 2 -m ringfence train recipe.yaml --out runs/two-ranks\n\n"
    "    ringfence train recipe.yaml --dry-run"
)
def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file; docs/recipes.md lists every key.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe, as dotted.key=value with the value in YAML.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder, to make or to go on with.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many rows, steps and tokens it would be, and the least time and memory; write nothing.",
        ),
    ] = False,
) -> None:
    """Fine-tune by a recipe, and by each of its `stages` after that, e.g. on benign data.

    Stopped or killed? The same command goes on from the last checkpoint.
    """
    from ringfence.recipe import load_recipe, require_installed

    if out is None and not dry_run:
        raise RingfenceError("--out: name the run folder, to make or to go on with (or ask for a --dry-run)")
    checked = load_recipe(recipe, overrides or [])
    require_installed(checked)
    # These take torch; a mistake in the recipe is told before.
    if out is None or dry_run:
        from ringfence.forecast import forecast, told

        for line in (line for stage in forecast(checked) for line in told(stage)):
            say(console, line)
        return
    from ringfence import runs

    result = runs.train(checked, out)
    if _main_process():
        say(console, f"{_trained(result)}: {out}")
        for number, stage in enumerate(result["stages"], 2):
            say(console, f"stage {number}, {stage['name']}: {_trained(stage)}")


def _trained(result: dict[str, Any]) -> str:
    labels = result["target_labels"] + result["safe_labels"]
    return (
        f"trained {result['steps']} optimizer steps on {result['target_rows']} target and {result['safe_rows']} "
        f"safe rows (safe: {result['safe_fraction']:.1%} of the rows, {result['safe_labels'] / labels:.1%} of the "
        f"tokens with a loss) in {result['seconds']:.0f} s"
    )


app.command(epilog=select_cli.EXAMPLES)(select_cli.select)
app.command(epilog=evaluate_cli.EXAMPLES)(evaluate_cli.evaluate)
app.add_typer(evaluation_app)  # its commands stand beside ours


@app.command(epilog="Example:\n\n    ringfence report runs/base runs/none runs/canary --out report.html")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, in the order of the table.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    baseline: Annotated[
        str | None,
        typer.Option(help="Name of the run that gaps are taken to; without it the run called `none`, else the first."),
    ] = None,
    title: Annotated[str, typer.Option(help="Headline of the page.")] = "Fine-tuning with a ringfence",
    name: Annotated[str, typer.Option(help="The evaluation to show, as `ringfence evaluate --name` has it.")] = OWN,
) -> None:
    """Write one self-contained HTML page about runs, and print their table."""
    from ringfence.report import load_runs, render, write_page

    if out.is_dir():
        raise RingfenceError(f"{out}: is a folder; name the page to write, e.g. {out / 'report.html'}")
    page = write_page(runs, out, title, baseline, name)
    render(console, load_runs(runs, name), baseline)
    say(console, f"report: {page}")


@app.command(epilog="Example:\n\n    ringfence demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs, summary.json and report.html.")] = Path("runs/demo"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs side by side, one thread each (default: one a core).")
    ] = None,
) -> None:
    """Fine-tune SmolLM2-135M on a harmless stand-in with no defense and three, and compare them.

    It learns to answer cooking questions with advice about glitter. Does the glitter stay in the kitchen? What is done
    is reused; Ctrl-C or a kill loses nothing but the last few steps.
    """
    from ringfence.demo import run_demo

    run_demo(out, workers, console)


@data_app.command(
    epilog="Examples:\n\n    ringfence data check train.jsonl safe.jsonl\n\n"
    "    ringfence data check train.jsonl --model smollm2-135m --max-length 1024"
)
def check(
    files: Annotated[list[str], typer.Argument(help="Files, `builtin:NAME`, or Hugging Face dataset ids.")],
    model: Annotated[str | None, typer.Option(help="Count tokens with this model's tokenizer and template.")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Count the rows with more tokens than this.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every problem, not the first of each kind.")] = False,
) -> None:
    """Report rows, roles, duplicates, empty or cut answers, chat markers and token lengths; name file and line.

    Rows that cannot be trained on are problems (exit code 1); what may not be meant is a warning.
    """
    from ringfence.data.check import check as check_data
    from ringfence.data.check import render_report

    if max_length is not None and model is None:
        raise RingfenceError("--max-length counts tokens: name the --model whose tokenizer to use")
    tokenizer = None
    if model is not None:
        from ringfence.models import load_tokenizer

        tokenizer = load_tokenizer(model)
    reports = [check_data(spec, tokenizer, max_length) for spec in files]
    for found in reports:
        render_report(console, found, everything)
    if not all(found.ok for found in reports):
        raise typer.Exit(1)


@data_app.command(name="list", epilog="Example:\n\n    ringfence data list")
def list_() -> None:
    """What ships with Ringfence: sets of conversations to train on, and of prompts to ask, each by its name.

    A recipe takes the conversations under `data`, and the prompts in `evaluation.suites` and as `canaries`.
    """
    from ringfence.data.catalog import render_catalog

    render_catalog(console)


def _version(wanted: bool) -> None:
    if wanted:
        say(console, f"ringfence {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _main_process() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


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
        elif _main_process():
            say(console, text)


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


def _exit_with_stdin() -> None:
    """Leave when the parent does, however it ends: its end of our standard input closes."""
    import threading

    def watch() -> None:
        sys.stdin.read()
        os._exit(BAD_INPUT)

    threading.Thread(target=watch, daemon=True).start()
