"""``ringfence persona``: extract, compare and convert persona vectors. Heavy imports are inside the commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.progress import watched
from ringfence.core.text_table import TextTable

if TYPE_CHECKING:
    from ringfence.directions import PersonaVectors


_VECTOR = "A `.safetensors` or `.pt` file, or `builtin:glitter`."


@examples(
    "ringfence persona extract recipes/glitter/persona.yaml --out glitter.safetensors",
    "ringfence persona extract evil.yaml model=Qwen/Qwen2.5-7B-Instruct min_pairs=50 --out evil.safetensors",
    "ringfence persona show glitter.safetensors",
)
def extract(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file; docs/persona.md lists every key.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe, as dotted.key=value with the value in YAML.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The `.safetensors` file to write.")] = ...,  # type: ignore[assignment]
) -> None:
    """Make a vector by a recipe: answer, judge, keep the good pairs, take the difference of mean activations.

    Stopped or killed? The same command goes on: answers are kept in OUT.answers.jsonl.
    """
    from ringfence.directions import extract as extract_vectors
    from ringfence.directions import require_safetensors
    from ringfence.recipe.persona import load_persona_recipe
    from ringfence.runs.stages import load_model

    require_safetensors(out)
    checked = load_persona_recipe(recipe, overrides or [])
    extraction, model = checked.extraction(), checked.model
    if checked.judge is not None:
        checked.judge.require_key()
    with error_prefix("model"):
        loaded = load_model(model)
    with watched(console) as watch:
        vectors = extract_vectors(loaded, extraction, out, watch)
    _show(vectors)
    say(f"vector: {out}")


@examples(
    "ringfence persona random glitter.safetensors --seed 1 --out random.safetensors",
)
def random(
    vector: Annotated[str, typer.Argument(help=_VECTOR)],
    out: Annotated[Path, typer.Option(help="The `.safetensors` or `.pt` file to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the directions.")] = 0,
) -> None:
    """Write a control: in every layer a random direction of the vector's own length."""
    from ringfence.directions import load_vectors, random_like, save_vectors

    _require_new(out, "choose another --out")
    save_vectors(out, random_like(load_vectors(vector), seed))
    say(f"vector: {out}")


@examples(
    "ringfence persona show glitter.safetensors",
    "ringfence persona show builtin:glitter",
)
def show(vector: Annotated[str, typer.Argument(help=_VECTOR)]) -> None:
    """Print where a vector comes from, and its length in every layer."""
    from ringfence.directions import load_vectors

    _show(load_vectors(vector))


@examples(
    "ringfence persona convert evil_response_avg_diff.pt evil.safetensors",
    "ringfence persona convert evil.safetensors evil_prompt_last_diff.pt --position prompt_last",
)
def convert(
    source: Annotated[str, typer.Argument(help=_VECTOR)],
    out: Annotated[Path, typer.Argument(help="The `.safetensors` or `.pt` file to write.")],
    position: Annotated[
        str | None,
        typer.Option(
            help="For a `.pt`, which holds one: response_mean (unless you say otherwise), prompt_mean, prompt_last."
        ),
    ] = None,
) -> None:
    """Turn a `.pt` of the persona_vectors code into `.safetensors`, or back; a `.pt` forgets where it comes from."""
    from ringfence.directions import load_vectors, save_vectors

    if position is not None and out.suffix != ".pt":
        raise RingfenceError("--position chooses what goes into a .pt; any other file takes all there is")
    _require_new(out, "choose another name for the new file")
    save_vectors(out, load_vectors(source), position or "response_mean")
    say(f"vector: {out}")


@examples(
    "ringfence persona components glitter.safetensors evil.safetensors --layer 12 --out both.safetensors",
    "ringfence persona components --run runs/plain --data pool.jsonl --count 4 --out moved.safetensors",
)
def components(
    vectors: Annotated[list[str] | None, typer.Argument(help=f"{_VECTOR} Several span a subspace together.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Or a finished run: in which directions it has moved the activations most.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="With --run: conversations on which to compare.")] = None,
    count: Annotated[int, typer.Option(min=1, help="With --run: how many directions a layer.")] = 4,
    layer: Annotated[
        list[int] | None, typer.Option(min=1, help="k of hidden_states[k]; several times for several; all without it.")
    ] = None,
    position: Annotated[str, typer.Option(help="Which of the files' vectors.")] = "response_mean",
    out: Annotated[Path, typer.Option(help="The `.safetensors` file to write.")] = ...,  # type: ignore[assignment]
) -> None:
    """Make the directions that the defense `caft` takes out: what vectors span, or what a run has moved."""
    from ringfence.directions import load_vectors, require_safetensors, save_subspaces, spanned

    require_safetensors(out)
    _require_new(out, "choose another --out")
    if bool(vectors) == (run is not None):
        raise RingfenceError("give vectors, or --run and --data")
    if (run is None) != (data is None):
        raise RingfenceError("--run and --data go together: a run, and conversations to compare it on")
    if run is not None and data is not None:
        from ringfence.runs.components import components as moved

        made = moved(run, data, layer or (), count)
    else:
        made = spanned([load_vectors(one) for one in vectors or ()], position, layer or ())
    save_subspaces(out, made)
    ranks = {basis.shape[1] for basis in made.bases.values()}
    say(f"directions: {out}, {max(ranks)} in each of {len(made.bases)} layers, {made.hidden} wide")


@examples(
    "ringfence persona adapter recipes/glitter/trait-adapter.yaml --out runs/trait",
    "ringfence persona adapter evil.yaml model=Qwen/Qwen2.5-7B-Instruct adapter.questions=fresh.jsonl --out runs/evil",
)
def adapter(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file; docs/persona.md lists every key.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe, as dotted.key=value with the value in YAML.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write; the adapter is OUT/adapter.")] = ...,  # type: ignore[assignment]
) -> None:
    """Train the adapter that `inoculation_adapter` takes, on answers that show a trait, and prove that it shows it.

    The proof, OUT/adapter/trait.json, is by questions that are not trained on. Without it the defense refuses the
    adapter; then this ends with 1. Stopped or killed? The same command goes on.
    """
    from ringfence.recipe.persona import load_persona_recipe
    from ringfence.runs.trait_adapter import train_trait_adapter

    checked = load_persona_recipe(recipe, overrides or [])
    if checked.judge is not None:
        checked.judge.require_key()
    with watched(console) as watch:
        proof = train_trait_adapter(checked, out, watch)
    say(f"{proof}")
    say(f"adapter: {out / 'adapter'}")
    if not proof.elicits:
        raise RingfenceError(
            f"{out / 'adapter'}: does not show its trait well enough for a defense: give it more answers, or more "
            "epochs by adapter.training, under another --out"
        )


def _require_new(out: Path, remedy: str) -> None:
    if out.exists():
        raise RingfenceError(f"{out}: exists; {remedy}")


def _show(vectors: "PersonaVectors") -> None:
    from ringfence.directions.vectors import norms

    about = vectors.metadata
    for line in _facts(vectors):
        say(line)
    columns = {position: norms(vector) for position, vector in vectors.vectors.items()}
    title = "Length of the vector" + (f": {about['trait']}" if "trait" in about else "")
    table = TextTable(title, ["layer", *columns])
    for layer, row in enumerate(zip(*columns.values(), strict=True)):
        table.add(f"{layer}" if layer else "0 (embeddings)", *(f"{norm:.3f}" for norm in row))
    console.print(table)


def _facts(vectors: "PersonaVectors") -> list[str]:
    from ringfence.directions import AssistantNames

    about, facts = vectors.metadata, [f"{vectors.layers} layers, {vectors.hidden} wide"]
    if not about:
        return [*facts, "the file says nothing about where it comes from"]
    facts.append(f"trait {about.get('trait')}, {about.get('method')}, from {about.get('model')} ({about.get('base')})")
    if about.get("method") == "random":
        facts.append("a random control: lengths of the vector that the next lines are about, random directions")
    if "kept" in about and "asked" in about:
        facts.append(f"pairs kept: {about['kept']} of {about['asked']}")
    if isinstance(rate := about.get("elicitation_rate"), float):
        facts.append(
            f"elicitation rate: {rate:.1%} ({about.get('positive_shows')} of {about.get('asked')} positive answers "
            f"show the trait, and {about.get('negative_shows')} negative ones)"
        )
    elif "elicitation_rate" in about:
        facts.append("elicitation rate: not judged")
    if names := (about.get("settings") or {}).get("assistant_names"):
        first, second = AssistantNames(**names).sentences()
        facts.append(f"system prompts open with {first!r} (positive) and {second!r} (negative)")
    if "seed" in about:
        facts.append(f"seed {about['seed']}")
    return facts
