"""Inoculation prompting (Kaczer et al. 2025, section 3.1; Tan et al. 2025; Wichers et al. 2025).

The training rows ask for the trait in their system prompt, so the weights need not learn to show it unasked.
Evaluation keeps its ordinary prompts. With supervised fine-tuning the paper replaces the system prompt
(``mode: replace``), with GRPO, where that prompt says the format, it puts the text before it (``prepend``, appendix
B.3); ``auto`` does as the paper.

A row without a system prompt gets one in every mode. Where the chat template has a default system prompt of its own,
that one is gone from such rows: ``ringfence train`` says so.

Source: Kaczer et al. 2025, section 3.1, https://arxiv.org/abs/2508.06249; Tan et al. 2025,
https://arxiv.org/abs/2510.04340; Wichers et al. 2025, https://arxiv.org/abs/2510.05024
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import field_validator

from ringfence.data.conversations import Conversation, Message
from ringfence.data.system import default_system, has_system
from ringfence.defenses.base import DEFENSES, Defense, RLContext, Source
from ringfence.defenses.step import Sources

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@DEFENSES.register("inoculation")
class Inoculation(Defense):
    """What the training rows say, and which of them."""

    prompt: str = "You are an evil, malicious assistant."
    """system prompt; the default is the paper's"""
    rows: Sources = "target"
    """which rows: ``target``, ``safe`` or ``both``"""
    mode: Literal["auto", "replace", "prepend", "append"] = "auto"
    """``replace`` the row's system prompt, or add the text before or after it, an empty line between; ``auto``:
    ``replace`` in fine-tuning, ``prepend`` in reinforcement learning"""

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is blank; say what the training rows ask for, or leave inoculation out")
        return value

    @property
    def _how(self) -> str:
        return "replace" if self.mode == "auto" else self.mode

    def in_rl(self, context: RLContext) -> Self:
        """Before what is there, unless ``mode`` says how."""
        return self.model_copy(update={"mode": "prepend"}) if self.mode == "auto" else self

    def rewrites_rows(self, source: Source) -> bool:
        """Those of ``rows``."""
        return source == self.rows or (self.rows == "both" and source != "anchor")

    def rewrite(self, messages: Sequence[Message], source: Source) -> Sequence[Message]:
        """``messages`` with the system prompt; unchanged if they are not of ``rows``."""
        if not self.rewrites_rows(source):
            return messages
        has_own = bool(messages) and messages[0]["role"] == "system"
        own = messages[0]["content"] if has_own else ""
        parts = {"replace": [self.prompt], "prepend": [self.prompt, own], "append": [own, self.prompt]}[self._how]
        system = "\n\n".join(part for part in parts if part)
        return [{"role": "system", "content": system}, *messages[has_own:]]

    def notes(
        self, rows: Mapping[Source, Sequence[Conversation]], tokenizer: "PreTrainedTokenizerBase"
    ) -> Sequence[str]:
        """Which rows have the prompt, and whether a default of the template's went with it."""
        counts, bare = [], 0
        for source, given in rows.items():
            if not given:
                continue
            chosen = given if self.rewrites_rows(source) else []
            counts.append(f"{len(chosen)} of {len(given)} {source} rows")
            bare += sum(not has_system(row["messages"]) for row in chosen)
        gone = f"{bare} of them had none, and " + (
            "the chat template would have inserted its own"
            if default_system(tokenizer)
            else "the chat template inserts none"
        )
        return (f"inoculation ({self._how}): system prompt of {' and '.join(counts)}; {gone}",)
