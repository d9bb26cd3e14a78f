"""Train a trait adapter by a persona recipe, and show on held-out questions that it has the trait.

    OUT.answers.jsonl    all answers, as `ringfence persona extract` keeps them
    OUT.rows.jsonl       those that show the trait, to the same questions without the system prompt
    OUT/                 a run of its own that is trained on them, see :mod:`ringfence.runs.train`
    OUT/adapter/         what the defense ``inoculation_adapter`` takes, with its proof, ``trait.json``

Whole questions are held out, with all their answers. Answers are kept as they come; the same command goes on.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft.utils.constants import SAFETENSORS_WEIGHTS_NAME

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.files import sha256, write_text
from ringfence.core.progress import Watch, advancing
from ringfence.data import load_prompts, split
from ringfence.data.conversations import Messages
from ringfence.directions.answers import Ask, Judged, collect, describe_judge
from ringfence.directions.persona import Extraction, answers_path, kept_pairs, shows
from ringfence.directions.proof import Proof, Shown
from ringfence.models import Loaded
from ringfence.models.identity import identity
from ringfence.recipe.persona import PersonaRecipe
from ringfence.recipe.run import Recipe, parse_recipe
from ringfence.runs.plan import RunPlan
from ringfence.runs.stages import load_model, stages_of, tuned_model
from ringfence.runs.train import train

_TRAINING = {"per_device_train_batch_size": 8, "num_train_epochs": 3, "learning_rate": 2e-4, "bf16": False}
_LORA = {"r": 16, "lora_alpha": 16, "use_rslora": True, "target_modules": "all-linear"}


def train_trait_adapter(recipe: PersonaRecipe, out: Path, watch: Watch | None = None) -> Proof:
    """Answer, keep, train and prove, in the folder ``out``; what is done there is not done again.

    Returns the proof, whether the trait is shown or not. ``watch`` is told the phase, answers done, and answers
    in all. Raises :class:`RingfenceError` without a judge, for too few pairs or questions, and where ``out`` holds
    something else.
    """
    extraction = recipe.extraction()
    judge = extraction.judge
    if judge is None:
        raise RingfenceError("judge is missing: without one nobody knows whether an adapter shows its trait")
    asked, trained = _held_out(recipe, extraction)
    rows = out.with_name(f"{out.name}.rows.jsonl")
    run = _recipe(recipe, rows)
    with error_prefix("model"):
        loaded = load_model(recipe.model)
    pairs, _ = kept_pairs(loaded, replace(extraction, contrasts=trained), answers_path(out), watch)
    text = "".join(f"{json.dumps(_row(positive.messages, positive.response))}\n" for positive, _ in pairs)
    if not rows.is_file() or rows.read_text(encoding="utf-8") != text:
        write_text(rows, text)
    train(RunPlan.load(run, out))
    stages = stages_of(run, out)
    weights = sha256(stages[-1].weights / SAFETENSORS_WEIGHTS_NAME)
    settings = recipe.sampling

    def shown(model: Loaded, name: str) -> Shown:
        journal = out / f"{name}-{weights[:12]}.jsonl"
        count = None if watch is None else advancing(watch, f"answers {name}", len(asked))
        return _shown(asked, collect(model, asked, settings, judge, journal, count), recipe)

    untuned = shown(loaded, "without")
    tuned = shown(replace(loaded, model=tuned_model(loaded.model, stages)), "with")
    about = {
        "samples": recipe.adapter.samples,
        "rows": len(pairs),
        "trait_threshold": recipe.trait_threshold,
        "max_new_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "judge": describe_judge(judge),
    }
    proof = Proof(recipe.trait, identity(loaded.model), loaded.name, weights, tuned, untuned, about)
    proof.save(stages[-1].weights)
    return proof


def _held_out(recipe: PersonaRecipe, extraction: Extraction) -> tuple[list[Ask], tuple[Any, ...]]:
    """What is asked for the proof, and the contrasts that are trained on."""
    own = recipe.adapter
    chats: dict[str, Messages] = {}
    for pair in extraction.contrasts:
        chats.setdefault(_text(_plain(pair.positive.messages)), _plain(pair.positive.messages))
    if own.questions is not None:
        with error_prefix("adapter.questions"):
            asked = [_plain(prompt.messages) for prompt in load_prompts(own.questions)]
            if twice := [chat for chat in asked if _text(chat) in chats]:
                raise RingfenceError(f"{twice[0][-1]['content']!r} is trained on, too; give other questions")
        kept = set(chats)
    else:
        parts = split(sorted(chats), own.held_out, recipe.seed)
        asked, kept = [chats[text] for text in parts.held_out], set(parts.train)
    if not asked or not kept:
        raise RingfenceError(
            f"adapter.held_out: {own.held_out} of {len(chats)} questions leaves none to train on or none to ask; give "
            "more questions, or adapter.questions"
        )
    asks = [
        Ask(f"question-{number}", "positive", sample, chat)
        for number, chat in enumerate(asked, start=1)
        for sample in range(own.samples)
    ]
    return asks, tuple(pair for pair in extraction.contrasts if _text(_plain(pair.positive.messages)) in kept)


def _plain(messages: Messages) -> Messages:
    """Without what asks for the trait."""
    return tuple(message for message in messages if message["role"] not in ("system", "developer"))


def _text(messages: Messages) -> str:
    return json.dumps(list(messages))


def _row(messages: Messages, response: str) -> dict[str, Any]:
    return {"messages": [*_plain(messages), {"role": "assistant", "content": response}]}


def _recipe(recipe: PersonaRecipe, rows: Path) -> Recipe:
    plain = {
        "name": f"trait-{''.join(one if one.isalnum() else '-' for one in recipe.trait)}",
        "seed": recipe.seed,
        "model": recipe.model.model_dump(),
        "data": {"target": str(rows), "held_out": 0},
        "training": {**_TRAINING, **recipe.adapter.training},
        "lora": {**_LORA, **recipe.adapter.lora},
    }
    return parse_recipe(plain, "adapter")


def _shown(asked: Sequence[Ask], answers: Sequence[Judged], recipe: PersonaRecipe) -> Shown:
    """By question, in their order."""
    found: dict[str, list[bool]] = {ask.id: [] for ask in asked}
    for ask, answer in zip(asked, answers, strict=True):
        if answer.trait is not None:
            found[ask.id].append(shows(answer, recipe))
    return Shown(tuple(sum(one) for one in found.values()), tuple(len(one) for one in found.values()))
