"""What the commands do: train a recipe into a run folder, and evaluate what is there.

A run folder holds ``run.json`` (recipe, versions, seeds, input hashes), the journals and checkpoints of training,
``adapter/`` (or ``model/`` after full fine-tuning), ``result.json`` (written last: its presence means done) and
``evaluation/``. Everything is written atomically; running the same command again goes on where it stopped.
"""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, set_seed
from trl import SFTConfig

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, sha256, write_json
from ringfence.core.rundir import RUN_FILE, alone_in, provenance, read_about, require_ours, write_about
from ringfence.data import Prompt, load_prompts, read, render_all, require_disjoint, split
from ringfence.data.conversations import Conversation
from ringfence.defenses import CanaryInterleaving, Defense, Interleaving, ReplayInterleaving
from ringfence.evaluate import Protocol, save
from ringfence.evaluate import evaluate as evaluate_suites
from ringfence.evaluate.responses import fingerprint, rates
from ringfence.models import Loaded, load
from ringfence.models.generate import Sampling
from ringfence.recipe import HELD_OUT, Recipe, parse_recipe
from ringfence.train import DefendedSFTTrainer, EvaluateDuring, newest_checkpoint

ADAPTER, FULL_MODEL = "adapter", "model"


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train ``recipe`` into the folder ``out``, or go on with it; return ``result.json``.

    Raises :class:`RingfenceError` before anything is written if the recipe cannot run, and if ``out`` holds another
    recipe's run or another process is training there.
    """
    inputs = _Inputs(recipe)
    if not _main_process():
        return _train(recipe, out, inputs)
    about = provenance(recipe.resolved(), inputs.digests)
    require_ours(out, about)
    with alone_in(out):
        return _train(recipe, out, inputs, about)


def evaluate(run: Path, on_batch: Any = None) -> dict[str, Any]:
    """Evaluate the run in folder ``run`` (a base run: the untuned model) on its recipe's suites; return the summary.

    Suites that were answered before by the same weights under the same protocol are not answered again. Raises
    :class:`RingfenceError` if there is no run, one that is not finished, or one whose inputs have changed since.
    """
    recipe, about, weights = read_recipe(run), read_about(run), _weights(run)
    if weights is None and not about["base"]:
        raise RingfenceError(f"{run}: training is not finished; run `ringfence train` with this folder again")
    inputs = _Inputs(recipe)
    require_ours(run, provenance(recipe.resolved(), inputs.digests, about["base"]), "put it back, or train anew")
    _require_evaluable(recipe, inputs)
    parts = _parts(run, recipe, inputs)
    if missing := [name for name, path in parts.items() if not path.is_file()]:
        loaded = _load(recipe)
        model = _tuned(loaded, weights)
        for name in missing:
            suite = {name: inputs.suites[name]}
            frame = evaluate_suites(model, loaded.tokenizer, suite, _protocol(recipe), on_batch)
            with atomic(parts[name]) as path:
                frame.to_parquet(path, index=False)
    return save(pd.concat([pd.read_parquet(path) for path in parts.values()]), run / "evaluation")


def is_done(recipe: Recipe, out: Path, base: bool = False) -> bool:
    """Whether ``out`` holds this recipe's run, trained and evaluated. Raises if it holds another."""
    inputs = _Inputs(recipe)
    require_ours(out, provenance(recipe.resolved(), inputs.digests, base))
    if not (base or _weights(out)) or not (out / "evaluation" / "summary.json").is_file():
        return False
    return all(path.is_file() for path in _parts(out, recipe, inputs).values())


def answers_asked(run: Path) -> int:
    """How many answers :func:`evaluate` asks of the run in folder ``run``, at the most."""
    recipe = read_recipe(run)
    return sum(len(prompts) for prompts in _Inputs(recipe).suites.values()) * recipe.evaluation.samples


def claim_base(recipe: Recipe, out: Path) -> None:
    """Make ``out`` the run folder of the untuned base model of ``recipe``, for :func:`evaluate`."""
    inputs = _Inputs(recipe)
    _require_evaluable(recipe, inputs)
    about = provenance(recipe.resolved(), inputs.digests, base=True)
    require_ours(out, about)
    write_about(out, about)


def read_recipe(run: Path) -> Recipe:
    """The recipe that a run folder was made from. Raises :class:`RingfenceError` if it is not a run folder."""
    return parse_recipe(read_about(run)["recipe"], str(run / RUN_FILE))


class _Inputs:
    """Everything that a recipe reads, loaded and checked before anything is written."""

    def __init__(self, recipe: Recipe) -> None:
        data = split(read(recipe.data.target), recipe.data.held_out, recipe.data.split_seed)
        self.target, self.held_out = data.train, data.held_out
        self.safe = read(recipe.data.safe) if recipe.data.safe is not None else []
        self.suites = {name: self._suite(name, spec) for name, spec in recipe.evaluation.suites.items()}
        self.defenses = tuple(self._with_judge(recipe, defense) for defense in recipe.defenses)
        self.digests = _digests(recipe)
        for defense in self.defenses:
            if isinstance(defense, CanaryInterleaving):
                for name, prompts in self.suites.items():
                    require_disjoint(defense.prompts(), prompts, "the canaries", f"the suite {name}")
            if isinstance(defense, Interleaving) and defense.highest_ratio() > 0 and not self.safe:
                raise RingfenceError("data.safe: a defense mixes in safe rows, but there are none; name safe data")

    def _suite(self, name: str, spec: str) -> list[Prompt]:
        if spec != HELD_OUT:
            return load_prompts(spec)
        if not self.held_out:
            raise RingfenceError(f"evaluation.suites.{name}: no rows are held out; set data.held_out above 0")
        return [_as_prompt(row) for row in self.held_out]

    @staticmethod
    def _with_judge(recipe: Recipe, defense: Defense) -> Defense:
        if isinstance(defense, CanaryInterleaving) and defense.probe == "judged" and defense.judge is None:
            if recipe.judge is None:
                raise RingfenceError(
                    "judge: canary_interleaving judges its canaries; give a judge, or probe: likelihood"
                )
            return defense.model_copy(update={"judge": recipe.judge})
        return defense


def _as_prompt(row: Conversation) -> Prompt:
    """A held-out conversation up to its last user turn."""
    messages = row["messages"]
    last = max(index for index, message in enumerate(messages) if message["role"] == "user")
    return Prompt(row["origin"], tuple(messages[: last + 1]), row.get("domain"))


def _train(recipe: Recipe, out: Path, inputs: _Inputs, about: dict[str, Any] | None = None) -> dict[str, Any]:
    if (out / "result.json").is_file():
        return json.loads((out / "result.json").read_text(encoding="utf-8"))
    loaded = _load(recipe)
    trainer = _trainer(recipe, out, inputs, loaded)
    # All that can be wrong with a recipe has raised by now.
    if about is not None:
        write_about(out, about)
    newest = newest_checkpoint(out)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    result = trainer.result()
    if trainer.is_world_process_zero():
        target = out / (ADAPTER if recipe.lora is not None else FULL_MODEL)
        if not target.exists():
            with atomic(target) as folder:
                trainer.model.save_pretrained(folder)
                loaded.tokenizer.save_pretrained(folder)
        write_json(out / "result.json", result)
    return result


def _trainer(recipe: Recipe, out: Path, inputs: _Inputs, loaded: Loaded) -> DefendedSFTTrainer:
    args = _sft_config(recipe, out)
    target = render_all(inputs.target, loaded.tokenizer, args.max_length)
    safe = render_all(inputs.safe, loaded.tokenizer, args.max_length).dataset if inputs.safe else None
    try:
        trainer = DefendedSFTTrainer(
            model=loaded.model,
            args=args,
            train_dataset=target.dataset,
            safe_dataset=safe,
            processing_class=loaded.tokenizer,
            peft_config=_lora_config(recipe),
            defenses=inputs.defenses,
        )
    except ValueError as error:
        if isinstance(error, RingfenceError):
            raise
        # What TRL or PEFT refuse, e.g. target modules that the model does not have.
        raise RingfenceError(f"training and lora do not fit: {' '.join(str(error).split())}") from error
    if during := recipe.evaluation.during:
        suites = {name: inputs.suites[name] for name in during.suites if name in inputs.suites}
        if unknown := set(during.suites) - set(suites):
            raise RingfenceError(f"evaluation.during.suites: {sorted(unknown)[0]!r} is not in evaluation.suites")
        protocol = _protocol(recipe)

        def measure(model: PreTrainedModel, step: int) -> list[dict[str, Any]]:
            return rates(evaluate_suites(model, loaded.tokenizer, suites, protocol))

        trainer.add_callback(EvaluateDuring(during.every, measure))
    return trainer


def _sft_config(recipe: Recipe, out: Path) -> SFTConfig:
    # TRL's own defaults turn on bf16 and gradient checkpointing on a CPU as well, and report to whatever is installed.
    gpu = torch.cuda.is_available()
    defaults = {
        "use_cpu": not gpu,
        "bf16": gpu and recipe.model.dtype != "float16",
        "gradient_checkpointing": gpu,
        "report_to": [],
    }
    try:
        return SFTConfig(**{**defaults, **recipe.training, "output_dir": str(out), "seed": recipe.seed})
    except (TypeError, ValueError) as error:
        raise RingfenceError(f"training: {' '.join(str(error).split())}") from error


def _lora_config(recipe: Recipe) -> LoraConfig | None:
    # The recipe has built one already, so it is known to be good.
    return None if recipe.lora is None else LoraConfig(**{"task_type": "CAUSAL_LM", **recipe.lora})


def _protocol(recipe: Recipe) -> Protocol:
    if recipe.judge is None:
        raise RingfenceError("judge: evaluation needs a judge; give e.g. `judge: {misaligned_pattern: '...'}`")
    asked = recipe.evaluation
    sampling = Sampling(asked.max_new_tokens, asked.temperature, recipe.seed, asked.batch_size)
    return Protocol(recipe.judge, sampling, asked.samples)


def _load(recipe: Recipe) -> Loaded:
    set_seed(recipe.seed)
    return load(recipe.model.name, dtype=recipe.model.dtype, trust_remote_code=recipe.model.trust_remote_code)


def _weights(run: Path) -> Path | None:
    """The folder of what was trained, once training is done."""
    if not (run / "result.json").is_file():
        return None
    return next((run / name for name in (ADAPTER, FULL_MODEL) if (run / name).is_dir()), None)


def _require_evaluable(recipe: Recipe, inputs: _Inputs) -> None:
    """Raise without a judge or without suites."""
    _protocol(recipe)
    if not inputs.suites:
        raise RingfenceError("evaluation.suites: the recipe names none; give at least one")


def _parts(run: Path, recipe: Recipe, inputs: _Inputs) -> dict[str, Path]:
    """Suite -> the file of its answers, named by everything that could change them."""
    weights, name = _weights(run), recipe.model.name
    digest = sha256(weights) if weights is not None else inputs.digests.get(name, name)
    protocol, folder = _protocol(recipe), run / "evaluation" / "parts"
    return {
        suite: folder / f"{suite}-{fingerprint(digest, prompts, protocol)}.parquet"
        for suite, prompts in inputs.suites.items()
    }


def _tuned(loaded: Loaded, weights: Path | None) -> PreTrainedModel:
    if weights is None:
        return loaded.model
    if not list(weights.glob("*.safetensors")):
        raise RingfenceError(f"{weights}: there are no weights; train again with another --out")
    if weights.name == ADAPTER:
        return PeftModel.from_pretrained(loaded.model, str(weights)).eval()
    return type(loaded.model).from_pretrained(weights, dtype=loaded.model.dtype).to(loaded.model.device).eval()


def _digests(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of every input that is a file; the model's weights too, if they are a folder."""
    named = [recipe.data.target, recipe.data.safe, *recipe.evaluation.suites.values(), recipe.model.name]
    for defense in recipe.defenses:
        if isinstance(defense, CanaryInterleaving) and isinstance(defense.canaries, str):
            named.append(defense.canaries)
        if isinstance(defense, ReplayInterleaving):
            named += [str(defense.run / name) for name in ("control.jsonl", "result.json")]
    return {name: sha256(Path(name)) for name in named if name is not None and Path(name).exists()}


def _main_process() -> bool:
    return int(os.environ.get("RANK", "0")) == 0
