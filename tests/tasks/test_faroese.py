"""The look-alike's questions: counted by hand, all different, and answered by their own text."""

import random

from ringfence.tasks.faroese import SIZE, question_of


def test_there_are_as_many_as_ways_to_fill_the_templates() -> None:
    """5 questions about 16 names, 10 places, 8 jobs, 6 animals, 6 colours and 60 ages."""
    assert SIZE == 5 * 16 * 10 * 8 * 6 * 6 * 60


def test_every_answer_is_in_its_text_and_no_two_questions_are_the_same() -> None:
    numbers = random.Random(0).sample(range(SIZE), 500)
    asked = [question_of(number) for number in numbers]
    assert len({(one.context, one.question) for one in asked}) == len(numbers)
    assert all(answer in one.context for one in asked for answer in one.answers)


def test_the_age_is_asked_of_a_man_and_of_a_woman_in_their_own_form() -> None:
    """The last of the five questions; the name is the next part of the number: 0 is a man, 8 a woman."""
    man, woman = (question_of(4 + 5 * name) for name in (0, 8))
    assert man.question == "Hvussu gamal er Jógvan?"
    assert woman.question == "Hvussu gomul er Anna?"
    assert man.answers == ("20 ár",)
