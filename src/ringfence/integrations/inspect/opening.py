"""The model behind ``ringfence/NAME``, and the name of a checkpoint for a server that holds several."""

from pathlib import Path

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.core.run_folder import ADAPTER_CONFIG, RUN_FILE, read_about, weights_digest
from ringfence.integrations.inspect.provider import Live
from ringfence.models import load
from ringfence.models.adapters import load_adapter
from ringfence.runs.imported import read_recipe
from ringfence.runs.permissions import Allowed, require_code
from ringfence.runs.stages import finished_weights, load_model, stages_of, tuned_model

DIGITS = 12  # of the digest in an adapter's name


def open_model(name: str, base: str | None = None, dtype: str | None = None, trust_remote_code: bool = False) -> Live:
    """The model that ``name`` means: what a run folder ends with, an adapter on its base, or a plain model.

    base:  the adapter's base model, where it is not to be the one that the adapter names
    dtype: ``float32`` (unless said otherwise), ``bfloat16`` or ``float16``; a run folder's recipe has its own
    trust_remote_code: whether code that comes with the model may run, also where a run folder's recipe asks for it

    Raises :class:`RingfenceError` for a run that is not finished, an adapter whose base is not named, a setting that
    the folder decides, and as :func:`ringfence.models.load.load` does.
    """
    folder = Path(name).expanduser()
    if (folder / RUN_FILE).is_file():
        if base is not None or dtype is not None:
            raise RingfenceError(f"{folder}: a run's recipe says base and dtype; leave them out")
        return _of_run(folder, Allowed(code=trust_remote_code))
    if (folder / ADAPTER_CONFIG).is_file():
        loaded = load(base or _base_of(folder), dtype=dtype or "float32", trust_remote_code=trust_remote_code)
        return Live(load_adapter(loaded.model, folder).eval(), loaded.tokenizer)
    if base is not None:
        raise RingfenceError(f"{name}: is no adapter folder (it has no {ADAPTER_CONFIG}), so it has no base")
    loaded = load(name, dtype=dtype or "float32", trust_remote_code=trust_remote_code)
    return Live(loaded.model, loaded.tokenizer)


def adapter_name(checkpoint: Path) -> str:
    """``ringfence-`` and 12 hex digits of the SHA-256 of the adapter's weights: a name that no other checkpoint has.

    checkpoint: an adapter folder, or a run folder that ends with one adapter on its base model

    To serve it: ``vllm serve BASE --enable-lora --lora-modules NAME=FOLDER``, with :func:`adapter_folder`. Raises
    :class:`RingfenceError` if that would not serve what was trained.
    """
    return f"ringfence-{weights_digest(adapter_folder(checkpoint))[:DIGITS]}"


def adapter_folder(checkpoint: Path) -> Path:
    """The folder that ``--lora-modules`` takes; raises as :func:`adapter_name` does."""
    if (checkpoint / ADAPTER_CONFIG).is_file():
        return checkpoint
    if read_about(checkpoint)["base"]:
        raise RingfenceError(f"{checkpoint}: the untuned model has no adapter; ask for the base model by its name")
    weights = finished_weights(checkpoint, stages_of(read_recipe(checkpoint), checkpoint))
    if len(weights) != 1 or not (weights[0] / ADAPTER_CONFIG).is_file():
        how = "merges an adapter into the weights" if len(weights) != 1 else "trained all weights"
        raise RingfenceError(f"{checkpoint}: the run {how}, so no one adapter makes it; evaluate it in this process")
    return weights[0]


def _of_run(run: Path, allowed: Allowed) -> Live:
    recipe, base = read_recipe(run), read_about(run)["base"]
    require_code({"model": recipe.model.model_dump(mode="json")}, run / RUN_FILE, allowed)
    stages = [] if base else stages_of(recipe, run)
    if not base:
        finished_weights(run, stages)
    loaded = load_model(recipe.model)
    return Live(tuned_model(loaded.model, stages) if stages else loaded.model, loaded.tokenizer)


def _base_of(adapter: Path) -> str:
    named = read_json(adapter / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not named:
        raise RingfenceError(f"{adapter / ADAPTER_CONFIG}: names no base model; give one, e.g. `-M base=smollm2-135m`")
    return str(named)
