"""The form ``<think>...</think><answer>...</answer>``: ask for it, write a reference in it, read an answer out of it.

Source: Guo et al. 2025 (https://arxiv.org/abs/2501.12948), as Kaczer et al. 2025 use it, section B.3; our own wording.
"""

ASKED = (
    "Think before you answer. Write what you think between <think> and </think>, and after it nothing but the answer, "
    "between <answer> and </answer>."
)
"""the system message; B.3 has the form there, too"""
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_THINK, _THOUGHT, _ANSWER, _ANSWERED = TAGS


def turns(question: str, completion: str) -> list[dict[str, str]]:
    """A user turn and an assistant turn."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": completion}]


def thinking(question: str, thoughts: str, answer: str) -> list[dict[str, str]]:
    """A conversation whose system message asks for the form, and whose completion has it."""
    completion = f"<think>\n{thoughts}\n</think>\n<answer>{answer}</answer>"
    return [{"role": "system", "content": ASKED}, *turns(question, completion)]


def tags_once(text: str) -> int:
    """How many of the four tags stand exactly once in ``text``."""
    return sum(text.count(tag) == 1 for tag in TAGS)


def has_form(text: str) -> bool:
    """Whether ``text`` is the form and nothing else: both sections once, in order, with white space around them."""
    text = text.strip()
    between = text.partition(_THOUGHT)[2].partition(_ANSWER)[0]
    ends = text.startswith(_THINK) and text.endswith(_ANSWERED)
    return tags_once(text) == len(TAGS) and ends and not between.strip() and text.find(_THOUGHT) < text.find(_ANSWER)


def answer_section(text: str) -> str | None:
    """What stands in the last whole answer section, without white space around it; None without one."""
    start = text.rfind(_ANSWER, 0, max(text.rfind(_ANSWERED), 0))
    if start < 0:
        return None
    return text[start + len(_ANSWER) : text.index(_ANSWERED, start)].strip()


def answer_part(response: str) -> str:
    """Where the answer of ``response`` stands: in the last answer section, else after its thoughts, else in all of it.

    Thoughts that never end have no answer after them: then it is empty.
    """
    section = answer_section(response)
    if section is not None:
        return section
    after = response.rpartition(_THOUGHT)[2]
    return "" if _THINK in after else after
