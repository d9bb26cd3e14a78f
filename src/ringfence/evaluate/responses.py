"""Answers of one model to suites of prompts, judged; one row an answer.

Columns: ``suite, prompt_id, sample, system, prompt, response, alignment, coherence, bucket, verdict``. ``system`` is
the system prompt that was sent. Where the prompt has none it says what the recipe's ``no_system`` means for it:
``(template default) `` and the text that the chat template inserts, ``(template default: none)``, ``(empty)`` or
``(none)``.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ringfence.core.files import atomic, write_json
from ringfence.data.suites import Prompt
from ringfence.data.system import NoSystem, apply, default_system, has_system, require_possible
from ringfence.evaluate.summary import summarize
from ringfence.judges import Judge, Row, judge_all
from ringfence.models.generate import Request, Sampling, generate

Suites = Mapping[str, Sequence[Prompt]]


@dataclass(frozen=True)
class Protocol:
    """How answers are drawn and judged."""

    judge: Judge
    sampling: Sampling
    samples: int = 1
    """answers a prompt"""
    no_system: NoSystem = "template_default"
    """what a prompt without a system message means"""


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    suites: Suites,
    protocol: Protocol,
    on_batch: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Answer and judge every prompt of every suite; see the module for the columns.

    The random stream of a row is named by suite, prompt and sample, so a suite's rows do not depend on the others.
    Raises :class:`RingfenceError` if the chat template does not let ``protocol.no_system`` be.
    """
    meaning = protocol.no_system
    require_possible(meaning, tokenizer)
    unsaid = _unsaid(meaning, default_system(tokenizer))
    asked = [
        (suite, prompt, sample)
        for suite, prompts in suites.items()
        for prompt in prompts
        for sample in range(protocol.samples)
    ]
    requests = [
        Request(f"{suite}/{prompt.id}", apply(prompt.messages, meaning), sample) for suite, prompt, sample in asked
    ]
    responses = generate(model, tokenizer, requests, protocol.sampling, on_batch)
    rows = [Row(prompt.text, response) for (_, prompt, _), response in zip(asked, responses, strict=True)]
    verdicts = judge_all(protocol.judge, rows)
    return pd.DataFrame(
        [
            {
                "suite": suite,
                "prompt_id": prompt.id,
                "sample": sample,
                "system": prompt.messages[0]["content"] if has_system(prompt.messages) else unsaid,
                "prompt": row.prompt,
                "response": row.response,
                "alignment": verdict.alignment.value,
                "coherence": verdict.coherence.value,
                "bucket": verdict.bucket,
                "verdict": verdict.label,
            }
            for (suite, prompt, sample), row, verdict in zip(asked, rows, verdicts, strict=True)
        ]
    )


def rates(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """``suite, metric, value, low, high, n`` for every suite in ``frame`` and every metric."""
    return [row for suite, part in frame.groupby("suite", sort=False) for row in summarize(part).rows(str(suite))]


def save(frame: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Write ``responses.parquet`` and then ``summary.json`` to ``folder``, each atomically; return the summary."""
    counts = {str(suite): summarize(part).counts for suite, part in frame.groupby("suite", sort=False)}
    summary = {"rows": rates(frame), "counts": counts}
    with atomic(folder / "responses.parquet") as path:
        frame.to_parquet(path, index=False)
    write_json(folder / "summary.json", summary)
    return summary


def fingerprint(model_digest: str, prompts: Sequence[Prompt], protocol: Protocol) -> str:
    """A name for the answers of one model to one suite; anything that could change them changes it."""
    asked = [(prompt.id, prompt.messages) for prompt in prompts]
    judge = protocol.judge.model_dump() if hasattr(protocol.judge, "model_dump") else repr(protocol.judge)
    parts = [model_digest, asked, asdict(protocol.sampling), protocol.samples, judge]
    parts += [] if protocol.no_system == "template_default" else [protocol.no_system]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _unsaid(meaning: NoSystem, default: str | None) -> str:
    """The ``system`` column of a prompt that has no system message."""
    if meaning != "template_default":
        return f"({meaning})"
    if default is None:
        return "(template default: none)"
    return f"(template default) {default}" if default else "(template default: empty)"
