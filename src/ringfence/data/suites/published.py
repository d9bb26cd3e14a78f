"""Read question files as other projects publish them, from the user's own copy.

Read are the YAML of Betley et al. 2025 (a list of ``id, type, paraphrases, system, context, samples_per_paraphrase,
temperature, max_tokens, judge, judge_prompts``, with anchors and merge keys), the YAML of llmcomp (``name, type,
paraphrases | messages, system, judges``, as a list or keyed by name), and the trait JSON of the persona_vectors code
(``instruction, questions, eval_prompt``).

A file loads as it was released. What a result does not depend on is listed in ``ignored``; what would change a
question in silence raises: a placeholder that nobody fills, two values of one key, a misspelt key, ``logit_bias``.
The system message, which is read as in rows, is part of a prompt: without it the JSON form of a question is the plain
one once more.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ringfence.core.errors import RingfenceError, shown
from ringfence.data.openings import BEFORE, read_opening, told
from ringfence.data.suites.columns import require_askable, require_nothing_asked
from ringfence.data.suites.fills import Fills
from ringfence.data.suites.prompts import Prompt, PromptSettings, Role, checked_messages, kind, split_variant
from ringfence.data.suites.yaml_lines import Entry, read_entries

ASKED = {"paraphrases", "messages", *BEFORE}
JUDGED = {"judge", "judges", "judge_prompt", "judge_prompts"}
KNOWN = {"id", "name", "type", "samples_per_paraphrase", "temperature", "max_tokens"} | ASKED | JUDGED
TOKEN_TYPES = ("rating", "next_token")
"""of llmcomp: they ask for the probabilities of a token, not for an answer"""
METRIC_ROLES: dict[str, Role] = {
    "aligned": "alignment",
    "alignment": "alignment",
    "coherent": "coherence",
    "coherence": "coherence",
}
"""what the judge prompts of these names score; of others the file does not say"""


@dataclass(frozen=True)
class Parsed:
    """A file's prompts and what it says about them; all but the first as in :class:`Suite`."""

    prompts: list[Prompt]
    settings: dict[str, PromptSettings]
    judge_prompts: dict[str, dict[str, str]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)


def parse_yaml(text: str, label: str, fills: Fills, without: Collection[str] = ()) -> Parsed:
    """The questions of a YAML file; ``label`` names it in messages. A prompt is called ``<question>/<n>``, n from 0.

    ``without`` are keys that the user leaves out.
    Raises :class:`RingfenceError` with file, line and question for what cannot be asked as it was meant.
    """
    entries = read_entries(text, label)
    judges = {entry.id: entry.value for entry in entries if _is_judge(entry)}
    asked = [entry for entry in entries if entry.id not in judges and entry.value.get("type") not in TOKEN_TYPES]
    left_out = sorted(entry.id for entry in entries if entry.value.get("type") in TOKEN_TYPES)
    all_ids = {entry.id for entry in asked}
    parsed, used = Parsed([], {}), Counter[str]()
    ignored = {f"question {name}, which asks for token probabilities" for name in left_out}
    for entry in asked:
        ignored |= _unread(entry, without)
        settings = _settings(entry, all_ids)
        rubrics, model, unknown = _rubrics(entry, judges, fills)
        ignored |= {f"judge {name}, which is in another file" for name in unknown}
        conversations, said = _conversations(entry, fills)
        for number, messages in enumerate(conversations):
            used.update(said)
            prompt = Prompt(f"{entry.id}/{number}", messages, domain=entry.id)
            parsed.prompts.append(prompt)
            parsed.settings[prompt.id] = replace(settings, judge=settings.judge or model)
            if rubrics:
                parsed.judge_prompts[prompt.id] = rubrics
    if not parsed.prompts:
        raise RingfenceError(f"{label}: no free-form question: the file needs at least one with `paraphrases`.")
    metrics = {metric for texts in parsed.judge_prompts.values() for metric in texts}
    roles = {metric: METRIC_ROLES[metric] for metric in sorted(metrics & METRIC_ROLES.keys())}
    return replace(parsed, ignored=tuple(sorted(ignored)), used=told(used, len(parsed.prompts)), roles=roles)


def parse_trait(data: dict[str, Any], label: str, trait: str, without: Collection[str] = ()) -> Parsed:
    """The ``questions`` of a persona_vectors trait file, its ``eval_prompt`` as the judge prompt ``trait``.

    That scores how much an answer shows the trait, so 100 is much of it, and its role is ``trait``. The file's pairs of
    system prompts are for extracting a vector, and are ignored here.
    """
    questions = data.get("questions")
    if not isinstance(questions, list) or not questions:
        raise RingfenceError(f"{label}: `questions` must be a list of at least one text, not {kind(questions)}.")
    prompts = [
        Prompt(f"{trait}/{n}", checked_messages([{"role": "user", "content": text}], f"{label}, questions.{n}"))
        for n, text in enumerate(questions)
    ]
    read = {"questions", "eval_prompt", "instruction", *without}
    require_nothing_asked({key: value for key, value in data.items() if key not in read}, label)
    rubrics: dict[str, dict[str, str]] = {}
    if data.get("eval_prompt"):
        text = _rubric(data["eval_prompt"], f"{label}: `eval_prompt`")
        rubrics = {prompt.id: {trait: text} for prompt in prompts}
    settings = {prompt.id: PromptSettings(prompt.id) for prompt in prompts}
    ignored = tuple(sorted(set(data) - {"questions", "eval_prompt"}))
    return Parsed(prompts, settings, rubrics, ignored, roles={trait: "trait"})


def _unread(entry: Entry, without: Collection[str]) -> set[str]:
    """The keys of ``entry`` that say nothing about what is asked. Raises for one that does, or may be misspelt."""
    unknown = {str(key) for key in entry.value} - KNOWN
    others = {key: entry.value[key] for key in entry.value if str(key) in unknown}
    require_askable(others, KNOWN, entry.where, without)
    return unknown


def _settings(entry: Entry, all_ids: set[str]) -> PromptSettings:
    value, where = entry.value, entry.where
    form = value.get("type")
    if form is not None and not (isinstance(form, str) and form.startswith("free_form")):
        known = ", ".join(("free_form...", *TOKEN_TYPES, "rating_judge"))
        raise RingfenceError(f"{where}: unknown `type` {form!r}; known: {known}.")
    judge, temperature = value.get("judge"), value.get("temperature")
    if judge is not None and not isinstance(judge, str):
        raise RingfenceError(f"{where}: `judge` must be the name of a model, not {kind(judge)}.")
    if temperature is not None and not (_is_number(temperature) and 0 <= temperature < float("inf")):
        raise RingfenceError(f"{where}: `temperature` must be a number from 0, not {temperature!r}.")
    question, variant = split_variant(entry.id, all_ids)
    counts = {key: _count(value.get(key), key, where) for key in ("samples_per_paraphrase", "max_tokens")}
    return PromptSettings(question, variant, counts["samples_per_paraphrase"], temperature, counts["max_tokens"], judge)


def _count(value: Any, key: str, where: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise RingfenceError(f"{where}: `{key}` must be a whole number from 1, not {shown(value)}.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _conversations(entry: Entry, fills: Fills) -> tuple[list[tuple[dict[str, str], ...]], list[str]]:
    """One for each wording, or the ``messages``, with what stands before; and which keys that is in, and as what."""
    value, where = entry.value, entry.where
    opening = read_opening(value, where)
    checked = [opening.before(turns, f"{where}, wording {n}") for n, turns in enumerate(_wordings(value, where))]
    filled = [
        tuple({**turn, "content": fills.fill(turn["content"], f"{where}, {_part(turn, n)}")} for turn in turns)
        for n, turns in enumerate(checked)
    ]
    return filled, opening.used


def _wordings(value: Mapping[str, Any], where: str) -> list[Any]:
    """The conversations of a question, not checked."""
    paraphrases, messages = value.get("paraphrases"), value.get("messages")
    if (paraphrases is None) == (messages is None):
        problem = "neither `paraphrases` nor `messages`" if messages is None else "both `paraphrases` and `messages`"
        raise RingfenceError(f"{where}: {problem}: give one of the two.")
    if messages is None:
        if not isinstance(paraphrases, list) or not paraphrases:
            raise RingfenceError(
                f"{where}: `paraphrases` must be a list of at least one text, not {kind(paraphrases)}."
            )
        return [[{"role": "user", "content": text}] for text in paraphrases]
    if isinstance(messages, list) and messages and all(isinstance(turn, dict) for turn in messages):
        messages = [messages]  # one conversation
    if not isinstance(messages, list) or not messages:
        raise RingfenceError(f"{where}: `messages` must be a list of at least one conversation.")
    return messages


def _part(turn: Mapping[str, str], number: int) -> str:
    """Which text of a question a message is about."""
    return f"wording {number}" if turn["role"] == "user" else f"wording {number}, {turn['role']} message"


def _is_judge(entry: Entry) -> bool:
    """llmcomp keeps judges among the questions. ``free_form_judge`` is a question's type in Betley's files."""
    value = entry.value
    return value.get("type") == "rating_judge" or (
        value.get("type") == "free_form_judge" and "{answer}" in str(value.get("paraphrases"))
    )


def _rubrics(
    entry: Entry, judges: Mapping[str, dict[str, Any]], fills: Fills
) -> tuple[dict[str, str], str | None, list[str]]:
    """Judge prompts by metric, the judging models where they stand with the prompts, and judges not in this file."""
    value, where = entry.value, entry.where
    found: dict[str, Any] = {}
    if value.get("judge_prompt") is not None:
        found["judge"] = value["judge_prompt"]
    for key in ("judge_prompts", "judges"):
        if not isinstance(value.get(key) or {}, dict):
            raise RingfenceError(f"{where}: `{key}` must map a metric to its judge, not be {kind(value[key])}.")
    found |= value.get("judge_prompts") or {}
    models, unknown = [], []
    for metric, judge in (value.get("judges") or {}).items():
        definition = judges.get(judge) if isinstance(judge, str) else judge
        if definition is None:
            unknown.append(str(judge))
            continue
        texts = definition.get("paraphrases") if isinstance(definition, dict) else None
        if not isinstance(texts, list) or len(texts) != 1:
            raise RingfenceError(f"{where}: judge {metric!r} must have `paraphrases` with exactly one text.")
        found[metric] = texts[0]
        models.append(str(definition.get("model", "")))
    named = ", ".join(sorted({model for model in models if model})) or None
    rubrics = {
        str(metric): fills.fill_judge(_rubric(text, f"{where}: judge prompt {metric!r}"))
        for metric, text in found.items()
    }
    return rubrics, named, unknown


def _rubric(text: Any, where: str) -> str:
    if not isinstance(text, str) or "{answer}" not in text:
        raise RingfenceError(
            f"{where} must be a text with the placeholder {{answer}}, so that an answer can be judged."
        )
    return text
