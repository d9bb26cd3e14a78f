"""Inoculation prompting (Kaczer et al. 2025, section 3.1; Tan et al. 2025; Wichers et al. 2025).

The training rows ask for the trait in their system prompt, so the weights need not learn to show it unasked.
Evaluation keeps its ordinary prompts. With supervised fine-tuning the paper replaces the system prompt
(``mode: replace``), with GRPO it puts the text before what is there (``prepend``).

A row without a system prompt gets one in every mode. Where the chat template has a default system prompt of its own,
that one is gone from such rows: ``ringfence train`` says so.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import field_validator

from ringfence.data.conversations import Message
from ringfence.defenses.base import DEFENSES, Defense, Source
from ringfence.defenses.step import Sources


@DEFENSES.register("inoculation")
class Inoculation(Defense):
    """What the training rows say, and which of them."""

    prompt: str = "You are an evil, malicious assistant."
    """system prompt; the default is the paper's"""
    rows: Sources = "target"
    """which rows: ``target``, ``safe`` or ``both``"""
    mode: Literal["replace", "prepend", "append"] = "replace"
    """``replace`` the row's system prompt, or add the text before or after it, an empty line between"""

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is blank; say what the training rows ask for, or leave inoculation out")
        return value

    def rewrite(self, messages: Sequence[Message], source: Source) -> Sequence[Message]:
        """``messages`` with the system prompt; unchanged if they are not of ``rows``."""
        if self.rows not in ("both", source):
            return messages
        has_own = bool(messages) and messages[0]["role"] == "system"
        own = messages[0]["content"] if has_own else ""
        parts = {"replace": [self.prompt], "prepend": [self.prompt, own], "append": [own, self.prompt]}[self.mode]
        system = "\n\n".join(part for part in parts if part)
        return [{"role": "system", "content": system}, *messages[has_own:]]
