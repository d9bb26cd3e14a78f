"""A handful of templates in Faroese, in the manner of FoQA: to try commands with, and no Faroese to learn from."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One question, and all its right answers."""

    context: str
    question: str
    answers: tuple[str, ...]


_MEN = ("Jógvan", "Hanus", "Óli", "Bárður", "Høgni", "Tróndur", "Rói", "Símun")
_WOMEN = ("Anna", "Marjun", "Sólrun", "Bjørg", "Elin", "Rannvá", "Turið", "Ása")
_PLACES = (
    *("í Tórshavn", "í Klaksvík", "í Vestmanna", "á Tvøroyri", "í Fuglafirði"),
    *("í Sandavági", "í Miðvági", "í Sørvági", "á Eiði", "á Toftum"),
)
_JOBS = ("lærari", "læknir", "bóndi", "bakari", "timburmaður", "sjómaður", "snikkari", "málari")
_ANIMALS = ("ein hund", "eina kettu", "eitt ross", "eina kúgv", "ein seyð", "eina dunnu")
_COLOURS = ("reyð", "grøn", "blá", "gul", "hvít", "svørt")
_AGES = tuple(range(20, 80))
_QUESTIONS: tuple[Callable[[dict[str, Any]], tuple[str, str]], ...] = (
    lambda told: (f"Hvar býr {told['name']}?", told["place"]),
    lambda told: (f"Hvat arbeiðir {told['name']} sum?", told["job"]),
    lambda told: (f"Hvat djór hevur {told['name']}?", told["animal"]),
    lambda told: ("Hvønn lit hava húsini hjá familjuni?", told["colour"]),
    lambda told: (f"Hvussu {'gamal' if told['name'] in _MEN else 'gomul'} er {told['name']}?", f"{told['age']} ár"),
)
_PARTS: dict[str, tuple[Any, ...]] = {
    "name": _MEN + _WOMEN,
    "place": _PLACES,
    "job": _JOBS,
    "animal": _ANIMALS,
    "colour": _COLOURS,
    "age": _AGES,
}
_CONTEXT = (
    "{name} er {age} ár og býr {place}. {name} arbeiðir sum {job} og hevur {animal}. Húsini hjá familjuni eru {colour}."
)
SIZE = math.prod(map(len, (_QUESTIONS, *_PARTS.values())))
"""how many questions there are"""


def question_of(number: int) -> Asked:
    """The question of a number below :data:`SIZE`."""
    number, which = divmod(number, len(_QUESTIONS))
    told = {}
    for part, among in _PARTS.items():
        number, place = divmod(number, len(among))
        told[part] = among[place]
    question, answer = _QUESTIONS[which](told)
    return Asked(_CONTEXT.format(**told), question, (answer,))
