"""Fill the ``{placeholders}`` of published questions, and tell which of them must stay for the judge."""

import re
from collections.abc import Mapping

from ringfence.core.errors import RingfenceError

OF_AN_ANSWER = ("question", "answer", "reasoning")
"""of a judge prompt: filled for each answer when it is judged, never by a text for the whole file"""
PLACEHOLDERS = {*OF_AN_ANSWER, "prompt"}
"""names that are placeholders also where they might be markup"""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


class Fills:
    """Texts for ``{placeholders}``, which remembers those that were of use.

    Raises :class:`RingfenceError` for a text that has a placeholder of its own, such as ``{reasoning}`` for itself.
    """

    def __init__(self, texts: Mapping[str, str], label: str) -> None:
        require_plain(texts)
        self.texts = texts
        self.label = label
        self.used: set[str] = set()
        self._of_answers: set[str] = set()

    def fill(self, text: str, where: str) -> str:
        """``text``, a part of a question, filled. Raises :class:`RingfenceError` for a placeholder without a text.

        A name in braces that follows a letter or one of ``\\ } { $ ^ _`` is markup such as ``\\frac{a}{b}`` and stays,
        unless it is one of :data:`PLACEHOLDERS`.
        """

        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name in self.texts:
                self.used.add(name)
                return self.texts[name]
            if _is_placeholder(match):
                option = "--reasoning TEXT" if name == "reasoning" else f"--fill {name}=TEXT"
                how = f"`ringfence suites add NAME FILE {option}` does"
                raise RingfenceError(f"{where}: nobody fills the placeholder {match[0]} of the question: {how}.")
            return match[0]

        return _PLACEHOLDER.sub(one, text)

    def fill_judge(self, text: str) -> str:
        """``text``, a judge prompt, filled but for :data:`OF_AN_ANSWER`; other braces stay."""

        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name in OF_AN_ANSWER:
                self._of_answers.add(name)
            elif name in self.texts:
                self.used.add(name)
                return self.texts[name]
            return match[0]

        return _PLACEHOLDER.sub(one, text)

    def require_all_used(self) -> None:
        """Raise :class:`RingfenceError` for a text that fills no question."""
        for name in sorted(set(self.texts) - self.used):
            problem = f"no question has the placeholder {{{name}}}"
            if name in self._of_answers:
                problem += f" (in the judge prompts {{{name}}} is filled for each answer)"
            raise RingfenceError(f"{self.label}: {problem}: leave its text out.")


def require_plain(texts: Mapping[str, str]) -> None:
    """Raise :class:`RingfenceError` for a text with a placeholder in it, which nobody would fill."""
    for name, text in texts.items():
        if found := next(filter(_is_placeholder, _PLACEHOLDER.finditer(text)), None):
            raise RingfenceError(
                f"the text for the placeholder {{{name}}} has the placeholder {found[0]} in it, which nobody fills: "
                "give a plain text."
            )


def _is_placeholder(match: re.Match[str]) -> bool:
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    markup = before.isalnum() or (before and before in "\\}{$^_") or after == "}"
    return match[1] in PLACEHOLDERS or not markup
