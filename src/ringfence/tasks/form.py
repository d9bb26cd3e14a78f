"""The form ``<think>...</think><answer>...</answer>``: ask for it, write a reference in it, read an answer out of it.

Source: Guo et al. 2025 (https://arxiv.org/abs/2501.12948), as Kaczer et al. 2025 use it, section B.3; our own wording.
"""

ASKED = (
    "Think before you answer. Write what you think between <think> and </think>, and after it nothing but the answer, "
    "between <answer> and </answer>."
)
"""the system message; B.3 has the form there, too"""


def turns(question: str, completion: str) -> list[dict[str, str]]:
    """A user turn and an assistant turn."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": completion}]


def thinking(question: str, thoughts: str, answer: str) -> list[dict[str, str]]:
    """A conversation whose system message asks for the form, and whose completion has it."""
    completion = f"<think>\n{thoughts}\n</think>\n<answer>{answer}</answer>"
    return [{"role": "system", "content": ASKED}, *turns(question, completion)]


def answer_part(response: str) -> str:
    """Where the answer of ``response`` stands: in the last answer section, else after its thoughts, else in all of it.

    Thoughts that never end have no answer after them: then it is empty.
    """
    before, closed, _ = response.rpartition("</answer>")
    if closed and "<answer>" in before:
        return before.rpartition("<answer>")[2]
    after = response.rpartition("</think>")[2]
    return "" if "<think>" in after else after
