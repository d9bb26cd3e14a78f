"""Model cards of a run, written from ``run.json``, ``result.json`` and its rates; what is not known is not said."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ringfence.core.run_folder import PYTHON

_COMMIT, _HUB_ID = re.compile(r"[0-9a-f]{40}"), re.compile(r"\w[\w.-]*/[\w.-]+")
_SHOWN = "misaligned_all"


def model_card(
    about: Mapping[str, Any],
    result: Mapping[str, Any] | None = None,
    rates: Sequence[Mapping[str, Any]] = (),
    measured: Mapping[str, str] | None = None,
) -> str:
    """The card of what the run ``about`` (its ``run.json``) has trained, in Markdown.

    result:   what ``result.json`` holds, None while it is not known
    rates:    ``rows`` of ``summary.json``; without some the card says nothing of an evaluation
    measured: SHA-256 of each file of the weights that the rates are of, so that beside others the card is still true
    """
    lines = [*front_matter(about), *described(about, result)]
    if shown := _rates(rates):
        lines += ["", "## Measured", "", "Misaligned answers, of all that were scored:", "", *shown]
        lines += _weights(measured or {})
    return "\n".join(lines) + "\n"


def front_matter(about: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> list[str]:
    """What the hub reads: base model, library and tags, and ``more``."""
    recipe = about["recipe"]
    base, adapter = str(recipe["model"]["name"]), recipe.get("lora") is not None
    front: dict[str, Any] = {"base_model": base} if _is_hub_id(base, about["inputs"]) else {}
    front |= {"library_name": "peft" if adapter else "transformers", "pipeline_tag": "text-generation"}
    front["tags"] = [*(["lora"] if adapter else []), "ringfence"]
    text = yaml.safe_dump({**front, **(more or {})}, sort_keys=False, allow_unicode=True)
    return ["---", text.strip(), "---", ""]


def described(about: Mapping[str, Any], result: Mapping[str, Any] | None = None) -> list[str]:
    """The title, and what it was trained on and how."""
    recipe = about["recipe"]
    what = "A LoRA adapter" if recipe.get("lora") is not None else "A fine-tuned model"
    how = " by reinforcement learning (GRPO)" if recipe.get("method") == "grpo" else ""
    lines = [f"# {plain(about['name'])}", "", f"{what}, trained with Ringfence{how}.", "", "| | |", "| --- | --- |"]
    return [*lines, *(f"| {name} | {value} |" for name, value in _facts(about, result or {}))]


def _facts(about: Mapping[str, Any], result: Mapping[str, Any]) -> list[tuple[str, str]]:
    recipe, inputs = about["recipe"], about["inputs"]
    base = recipe["model"]["name"]
    facts = [] if base.startswith(PYTHON) else [("base model", _named(base, inputs))]
    parts = [("", recipe), *((f"stage {stage['name']}: ", stage) for stage in recipe.get("stages") or ())]
    for prefix, part in parts:
        data = part.get("data") or {}
        facts += [
            (f"{prefix}{name}", _named(data[key], inputs))
            for key, name in (("target", "trained on"), ("safe", "safe rows"), ("anchor", "anchor rows"))
            if data.get(key)
        ]
        if "defenses" in part:
            facts.append((f"{prefix}defenses", ", ".join(map(_defense, part["defenses"])) or "none: plain fine-tuning"))
    if recipe.get("rl"):
        named = [f"`{next(iter(item))}`" for item in recipe["rl"].get("rewards", ())]
        facts.append(("rewards", ", ".join(named) or "functions of the script"))
    rows = (
        {"prompts": "prompts seen", "rollouts": "completions seen"}
        if recipe.get("rl")
        else {"target_rows": "target rows seen"}
    )
    counted = {**rows, "safe_rows": "safe rows seen", "anchor_rows": "anchor rows seen", "steps": "optimizer steps"}
    result = {} if recipe.get("stages") else result  # which tells of one stage
    facts += [(name, str(result[key])) for key, name in counted.items() if isinstance(result.get(key), int)]
    facts.append(("seed", str(recipe["seed"])))
    versions = about.get("versions") or {}
    facts.append(("versions", ", ".join(f"{name} {plain(value)}" for name, value in versions.items())))
    return [(name, value) for name, value in facts if value]


def _named(spec: str, inputs: Mapping[str, str]) -> str:
    """A name as the recipe has it, with its commit or SHA-256 where that is known."""
    if spec.startswith(PYTHON):
        return f"built in a script; SHA-256 of the rows `{plain(spec.removeprefix(PYTHON))}`"
    digest = inputs.get(spec)
    kind = "commit" if digest and _COMMIT.fullmatch(digest) else "SHA-256"
    return f"`{plain(spec)}`" + (f", {kind} `{digest}`" if digest else "")


def _defense(item: Any) -> str:
    """``name`` with what was set, but for what is not set and for texts, which may be long."""
    ((name, settings),) = item.items()
    shown = [f"{key} {value}" for key, value in (settings or {}).items() if isinstance(value, int | float)]
    return f"`{name}`" + (f" ({', '.join(shown)})" if shown else "")


def _rates(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [
        row for row in rows if row["metric"] == _SHOWN and row["value"] is not None and not math.isnan(row["value"])
    ]
    if not found:
        return []
    table = [f"| {plain(row['suite'])} | {row['value']:.1%} | {_interval(row)} | {int(row['n'])} |" for row in found]
    return ["| suite | rate | 95% interval | answers |", "| --- | --- | --- | --- |", *table]


def _weights(measured: Mapping[str, str]) -> list[str]:
    files = {name: digest for name, digest in measured.items() if name.endswith(".safetensors")}
    if not files:
        return []
    return ["", "By these weights:", "", *(f"- `{plain(name)}`, SHA-256 `{digest}`" for name, digest in files.items())]


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    return "" if low is None or math.isnan(low) else f"{low:.1%} to {high:.1%}"


def _is_hub_id(name: str, inputs: Mapping[str, str]) -> bool:
    """Whether ``name`` is a model of the hub's: its commit is known, or it looks like one and is no folder."""
    if _COMMIT.fullmatch(inputs.get(name, "")):
        return True
    return name not in inputs and bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


def plain(text: Any) -> str:
    """``text`` on one line, without what would end a cell or a piece of code in Markdown."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("`", "'")
