"""``ringfence train``. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError
from ringfence.core.ranks import is_main_process

if TYPE_CHECKING:
    from ringfence.runs.plan import RunPlan


@examples(
    "ringfence train recipe.yaml --out runs/plain",
    "ringfence train recipe.yaml seed=1 training.learning_rate=1e-4 --out runs/seed-1",
    "ringfence train recipes/dubinski-2026/sequential.yaml data.target=narrow.jsonl "
    "stages.0.data.target=benign.jsonl --out runs/two-stages",
    "torchrun --nproc-per-node 2 -m ringfence train recipe.yaml --out runs/two-ranks",
    "ringfence train recipe.yaml --dry-run",
    "ringfence train recipe.yaml --dry-run --card 8xh100",
    "ringfence train recipe.yaml --tinker https://tinker.thinkingmachines.dev/services/tinker-prod --out runs/remote",
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
            help="Say how many rows, steps and tokens it would be, how much memory and at least how much time; "
            "write nothing, load no weights.",
        ),
    ] = False,
    card: Annotated[
        str | None,
        typer.Option(
            help="A GPU, e.g. h100, or 8xh100 for eight ranks: a dry run says whether it fits and how long it takes; "
            "training refuses one that cannot hold the weights. Without it, training looks at this machine's own.",
        ),
    ] = None,
    tinker: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Train at this server, which speaks the protocol of Tinker's SDK and gets the rows; its key is in "
            "TINKER_API_KEY. For defenses that need rows and log probabilities only, see docs/tinker.md.",
        ),
    ] = None,
) -> None:
    """Fine-tune by a recipe, and by each of its `stages` after that, e.g. on benign data.

    Stopped or killed? The same command goes on from the last checkpoint.
    """
    from ringfence.recipe.run import load_recipe, require_installed
    from ringfence.runs.gpu_cards import parse_cards

    if out is None and not dry_run:
        raise RingfenceError("--out: name the run folder, to make or to go on with (or ask for a --dry-run)")
    cards = None if card is None else parse_cards(card)
    checked = load_recipe(recipe, overrides or [])
    require_installed(checked)
    if tinker is not None:
        from ringfence.integrations.tinker.checks import require_remote

        require_remote(checked)
    # These take torch; a mistake in the recipe is told before.
    from ringfence.runs.plan import RunPlan

    plan = RunPlan.load(checked, out or Path("dry-run"))
    if out is None or dry_run:
        from ringfence.runs.forecast import forecast, told
        from ringfence.runs.seen import require_unseen

        require_unseen(plan)
        for line in (line for stage in forecast(plan, cards) for line in told(stage)):
            say(line)
        return
    if tinker is not None:
        if cards is not None:
            raise RingfenceError("--card: the server has the GPUs; leave it out with --tinker")
        say(f"{_trained(_at_server(plan, tinker))}: {out}")
        return
    from ringfence.runs.train import train as train_plan

    result = train_plan(plan, cards)
    if is_main_process():
        say(f"{_trained(result)}: {out}")
        for number, stage in enumerate(result["stages"], 2):
            say(f"stage {number}, {stage['name']}: {_trained(stage)}")


def _at_server(plan: "RunPlan", url: str) -> dict[str, Any]:
    from ringfence.core.progress import watched
    from ringfence.integrations.tinker import train as train_there

    with watched(console) as watch:
        return train_there(plan, url, watch)


def _trained(result: dict[str, Any]) -> str:
    if "rollouts" in result:
        return (
            f"trained {result['steps']} optimizer steps on {result['rollouts']} completions to {result['prompts']} "
            f"prompts and on {result['safe_rows']} safe rows in {result['seconds']:.0f} s"
        )
    labels = result["target_labels"] + result["safe_labels"]
    beside = f", and beside {result['anchor_rows']} anchor rows" if result.get("anchor_rows") else ""
    return (
        f"trained {result['steps']} optimizer steps on {result['target_rows']} target and {result['safe_rows']} "
        f"safe rows (safe: {result['safe_fraction']:.1%} of the rows, {result['safe_labels'] / labels:.1%} of the "
        f"tokens with a loss){beside} in {result['seconds']:.0f} s"
    )
