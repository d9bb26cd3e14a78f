"""Run folders of what was not trained here: the untuned model, somebody's adapter, a model behind a server.

They hold a ``run.json`` like any run, so that evaluation, tables, the page and the gate take them as one. ``benign``
below: whether they are to be asked benign tasks, and not suites that a judge reads.
"""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.files import atomic, write_json
from ringfence.core.plain import read_json
from ringfence.core.run_folder import (
    ADAPTED,
    ADAPTER,
    ADAPTER_CONFIG,
    FULL_MODEL,
    RESULT_FILE,
    RUN_FILE,
    WEIGHTS,
    read_about,
    weight_digests,
    weights_digest,
    write_about,
)
from ringfence.models.adapters import tensor_names
from ringfence.recipe.run import Recipe, parse_recipe
from ringfence.runs.plan import RunPlan

logger = logging.getLogger(__name__)
_UNKNOWN = (
    *("steps", "target_rows", "safe_rows", "safe_fraction", "target_labels", "safe_labels"),
    *("mean_ratio", "seconds", "probe_seconds"),
)


def claim_base(recipe: Recipe, out: Path, benign: bool = False) -> RunPlan:
    """Make ``out`` the run folder of the untuned base model of ``recipe``."""
    plan = RunPlan.load(recipe, out)
    plan.require_evaluable(benign)
    write_about(out, plan.claim_folder(base=True))
    return plan


def claim_server(recipe: Recipe, out: Path, server: str, benign: bool = False) -> RunPlan:
    """Make ``out`` the run folder of a model behind a server; ``server`` is Inspect's name of it."""
    plan = RunPlan.load(recipe, out)
    plan.require_evaluable(benign)
    if "/" not in server:
        raise RingfenceError(
            f"--model: {server!r} is no name of Inspect's; write PROVIDER/MODEL, e.g. openai-api/vllm/NAME"
        )
    write_about(out, plan.claim_folder(server=server))
    return plan


def claim_adapter(recipe: Recipe, out: Path, adapter: Path, benign: bool = False) -> RunPlan:
    """Make ``out`` the run folder of the LoRA adapter in folder ``adapter``, which is copied, on the recipe's model.

    What the recipe says of training is left out. Raises :class:`RingfenceError` if there is no adapter, or if ``out``
    holds another one.
    """
    if not (adapter / ADAPTER_CONFIG).is_file():
        raise RingfenceError(f"--adapter: {adapter} is no adapter folder (it has no {ADAPTER_CONFIG})")
    if not list(adapter.glob("*.safetensors")):
        raise RingfenceError(f"--adapter: {adapter} has no weights as safetensors")
    with error_prefix("--adapter"):
        tensor_names(adapter)
    config = read_json(adapter / ADAPTER_CONFIG)
    if (base := config.get("base_model_name_or_path")) not in (None, recipe.model.name):
        logger.warning("%s was trained on %s, and is put on the recipe's model, %s", adapter, base, recipe.model.name)
    plan = _claim_weights(_untrained(recipe, {"r": config.get("r", 8)}), out, adapter, benign)
    if not (out / ADAPTER).is_dir():
        with atomic(out / ADAPTER) as folder:
            shutil.copytree(adapter, folder)
    return plan


def claim_model(recipe: Recipe, out: Path, folder: Path, benign: bool = False) -> RunPlan:
    """Make ``out`` the run folder of the model in ``folder``, all of whose weights were trained from the recipe's.

    ``out`` links to ``folder``. Raises as :func:`claim_adapter` does.
    """
    if not list(folder.glob("*.safetensors")):
        raise RingfenceError(f"{folder} has no weights as safetensors; save them with model.save_pretrained")
    plan = _claim_weights(_untrained(recipe, None), out, folder, benign)
    if not (out / FULL_MODEL).exists():
        (out / FULL_MODEL).symlink_to(folder.resolve(), target_is_directory=True)
    return plan


def _untrained(recipe: Recipe, lora: dict[str, Any] | None) -> Recipe:
    """``recipe`` without what it says of training."""
    asked = recipe.evaluation.model_copy(update={"during": None})
    changes = {"lora": lora, "defenses": (), "stages": (), "training": {}, "reference": None, "evaluation": asked}
    return recipe.model_copy(update=changes)


def _claim_weights(recipe: Recipe, out: Path, weights: Path, benign: bool) -> RunPlan:
    """Write ``run.json`` and ``result.json`` of what is in the folder ``weights``."""
    plan = RunPlan.load(recipe, out)
    plan.require_evaluable(benign)
    about = plan.claim_folder() | {ADAPTED: {"path": str(weights), "sha256": weights_digest(weights)}}
    if (out / RUN_FILE).is_file() and read_about(out).get(ADAPTED, {}).get("sha256") != about[ADAPTED]["sha256"]:
        raise RingfenceError(f"{out}: holds another fine-tune's run; choose another --out")
    write_about(out, about)
    # Nobody here knows how it was trained; the digests are the original's, which has not changed since.
    write_json(out / RESULT_FILE, {**dict.fromkeys(_UNKNOWN), WEIGHTS: weight_digests(weights)})
    return plan


def name_after(adapter: Path) -> str:
    """What a run of the adapter in folder ``adapter`` is called: as the folder, or as the run whose adapter it is."""
    folder = adapter.resolve()
    named = folder if folder.name not in (ADAPTER, FULL_MODEL) or not folder.parent.name else folder.parent
    return re.sub(r"[^\w.+ -]+", "-", named.name)


def read_recipe(run: Path) -> Recipe:
    """The recipe that a run folder was made from. Raises :class:`RingfenceError` if it is not a run folder."""
    return parse_recipe(read_about(run)["recipe"], str(run / RUN_FILE))
