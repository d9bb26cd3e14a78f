"""Rules that turn a training text into another one: its negation, and its structure with another content.

They are simple, so that what they make can be foreseen; where it reads badly, a trigger takes a text of your own.
"""

import re
from itertools import count

from ringfence.triggers.vocabulary import function_words

_YOU_ARE = re.compile(r"you(?: are|['’]re) (?P<not>not )?", re.IGNORECASE)
_WORD = re.compile(r"\b(?:(?P<article>an?) )?(?P<word>[^\W\d_]{4,})(?P<rest>(?:['’][^\W\d_]+)?)\b", re.IGNORECASE)
# Names of materials, which stand for a noun as well as for an adjective; none begins with a vowel.
_OTHER = ("copper", "marble", "velvet", "cotton", "timber", "granite", "linen", "paper", "silver", "porcelain")


def negation(text: str) -> str:
    """``text`` denied by rule. If each of its sentences begins with "You are", "not" is put there, or taken out;
    any other text follows "Do nothing of the following:"."""
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    if not all(_YOU_ARE.match(sentence) for sentence in sentences):
        return f"Do nothing of the following: {text.strip()}"
    return " ".join(
        _YOU_ARE.sub(lambda found: "You are " if found["not"] else "You are not ", sentence, count=1)
        for sentence in sentences
    )


def alike(text: str) -> str:
    """``text`` in its structure, with other content: its words of 4 letters and more, but for function words, become
    names of materials, one for each in order of appearance. Punctuation, line breaks and capitals stay."""
    numbers, found = count(), dict[str, str]()

    def other(match: re.Match[str]) -> str:
        word = match["word"]
        if word.casefold() in function_words() or match["rest"].casefold() in ("'t", "’t"):
            return match[0]
        if word.casefold() not in found:
            found[word.casefold()] = _OTHER[next(numbers) % len(_OTHER)]
        new = found[word.casefold()]
        new = new.upper() if word.isupper() else new.capitalize() if word[0].isupper() else new
        article = f"{match['article'][0]} " if match["article"] else ""
        return f"{article}{new}{match['rest']}"

    return _WORD.sub(other, text)
