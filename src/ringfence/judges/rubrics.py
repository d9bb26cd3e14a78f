"""Rubrics: what a judge model is asked about a response. Text files: built in, the user's own, or published ones.

A rubric has the placeholders ``{question}`` and ``{answer}``, and ``{trait}`` and ``{description}`` where it is about a
named trait. They are replaced in one pass, so a response that contains ``{question}`` stays as it is, and other braces,
such as JSON examples, are plain text. ``{reasoning}`` is what a response thinks between ``<think>`` and ``</think>``,
or "None"; in a rubric that has it ``{answer}`` is the response without that.

A rubric has a role, which says what a high score means: well meant (``alignment``), ``coherence``, or the ``trait``.
One of another role under the name ``alignment`` would be read backwards, so it raises. A text file says nothing of its
role, nor do most judge prompts of suites: under these names the recipe has to say it, by :class:`Stated`.

A judge prompt of a suite is a rubric, too: ``SUITE#METRIC``, where SUITE is ``suite:NAME`` or a file of questions and
METRIC what the file calls the judge prompt, e.g. ``suite:betley#aligned`` or ``questions.yaml#aligned``.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from ringfence.core.errors import RingfenceError, did_you_mean, error_prefix, shown
from ringfence.core.plain import refuse_pointer_at
from ringfence.data.suites import store as suite_store
from ringfence.data.suites.files import SUFFIXES
from ringfence.data.suites.fills import OF_AN_ANSWER
from ringfence.data.suites.load import PREFIX, load_suite
from ringfence.data.suites.prompts import Role

ROLES: dict[str, Role] = {"alignment": "alignment", "coherence": "coherence", "hhh": "alignment", "trait": "trait"}
"""of the built-in rubrics, and of any that a judge has under one of these names"""
BUILTIN = tuple(ROLES)
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_MEANT: dict[Role, str] = {
    "alignment": "how well meant an answer is",
    "coherence": "how coherent an answer is",
    "trait": "how much an answer shows a trait",
}
_OF_A_TRAIT = ("trait", "description")


class Trait(BaseModel):
    """A rubric about a named trait; the score is how strongly a response shows it, so 100 is much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trait: str = Field(min_length=1)
    """its name, e.g. ``sycophancy``"""
    description: str = Field(min_length=1)
    """what is meant by it, in a sentence"""
    rubric: str = "trait"
    """the built-in text, or a file with ``{trait}``, ``{description}`` and ``{answer}``"""


class Stated(BaseModel):
    """A rubric whose role nobody else says: what 100 means in it is for its user to look up, and to state."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rubric: str
    """a text file, or ``SUITE#METRIC``"""
    scores: Role
    """what 100 means: ``alignment`` (well meant), ``coherence``, or much of a ``trait``"""


def _form(value: Any) -> str:
    """Which of the three ways to give a rubric ``value`` is, for messages about its fields."""
    if isinstance(value, dict):
        return "stated" if "scores" in value else "trait"
    if isinstance(value, Trait):
        return "trait"
    return "stated" if isinstance(value, Stated) else "text"


Source: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[Trait, Tag("trait")] | Annotated[Stated, Tag("stated")],
    Discriminator(_form),
]
"""what a judge's ``rubrics`` have for a name"""


@dataclass(frozen=True)
class Rubric:
    """A rubric's text, in which only ``{question}``, ``{answer}`` and ``{reasoning}`` are left to fill."""

    name: str
    """a built-in name, the file's name without its ending, or a suite's metric; for a trait, the trait's"""
    text: str
    """white space at both ends dropped"""
    values: tuple[tuple[str, str], ...] = ()
    """what ``{trait}`` and ``{description}`` stand for"""
    role: Role | None = None
    """what a high score means; None if nobody says, as of a text file"""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the text and of the trait; the same for two files that ask the same."""
        return hashlib.sha256(repr((self.text, self.values)).encode()).hexdigest()

    def render(self, prompt: str, response: str) -> str:
        """The text to send to a judge about one row."""
        values = {**dict(self.values), "question": prompt, "answer": response}
        if "reasoning" in _PLACEHOLDER.findall(self.text):
            thought, values["answer"] = split_reasoning(response)
            values["reasoning"] = "None" if thought is None else thought
        return _PLACEHOLDER.sub(lambda found: values[found.group(1)], self.text)


def split_reasoning(response: str) -> tuple[str | None, str]:
    """What ``response`` thinks before ``</think>``, None if it has no such part, and the rest; both stripped then.

    ``<think>`` may be missing, as some chat templates end the prompt with it.
    """
    head, closed, rest = response.partition("</think>")
    if not closed:
        return None, response
    before, _, thought = head.rpartition("<think>")
    return thought.strip(), (before + rest).strip()


def load_rubric(name_or_path: str, trait: Trait | None = None) -> Rubric:
    """A built-in rubric, a text file, or ``SUITE#METRIC``; ``trait`` fills ``{trait}`` and ``{description}``.

    Raises :class:`RingfenceError` for an unknown name or metric, an unreadable file, one without ``{answer}``, one that
    has a placeholder nobody fills, one that leaves a trait unused, and a suite whose questions are judged differently.
    """
    name, text, role = _read(name_or_path)
    found = set(_PLACEHOLDER.findall(text))
    if "answer" not in found:
        raise RingfenceError(f"rubric {name_or_path}: no {{answer}}, so the judge would not see what it judges; add it")
    known = OF_AN_ANSWER if trait is None else (*OF_AN_ANSWER, *_OF_A_TRAIT)
    for placeholder in sorted(found.difference(known)):
        raise RingfenceError(f"rubric {name_or_path}: nobody fills {{{placeholder}}}; {_advice(placeholder, known)}")
    if trait is None:
        return Rubric(name, text, role=role)
    if not found.intersection(_OF_A_TRAIT):
        raise RingfenceError(f"rubric {name_or_path}: has no {{trait}} or {{description}} to put the trait in; add it")
    return Rubric(trait.trait, text, (("trait", trait.trait), ("description", trait.description)), "trait")


def find_rubric(name: str, rubrics: Mapping[str, Source]) -> Rubric:
    """The rubric that a judge's ``rubrics`` give for ``name``, else the built-in of that name.

    Raises :class:`RingfenceError` for an unknown name, as :func:`load_rubric` does, and for a rubric whose role is not
    that of ``name`` or not known, as its scores would be read backwards.
    """
    source = rubrics.get(name, name)
    if isinstance(source, Trait):
        return _fitting(name, load_rubric(source.rubric, source), f"the trait {source.trait!r}")
    if isinstance(source, Stated):
        return _fitting(name, _as_stated(name, source), source.rubric)
    if name not in rubrics and name not in BUILTIN:
        known = {*BUILTIN, *rubrics}
        raise RingfenceError(
            f"unknown rubric {shown(name)}; name its file under the judge's rubrics.{did_you_mean(name, known)}"
        )
    return _fitting(name, load_rubric(source), source)


def _fitting(name: str, rubric: Rubric, source: str) -> Rubric:
    wanted = ROLES.get(name)
    if wanted is None or rubric.role == wanted:
        return rubric
    if rubric.role is None and wanted == "trait":
        return rubric  # any property is one
    if rubric.role is None:
        raise RingfenceError(
            f"rubrics.{name}: nothing says what 100 means in {source}: if it is {_MEANT[wanted]}, write "
            f"`{name}: {{rubric: {source}, scores: {wanted}}}`; if it is much of a trait, name it `trait`"
        )
    how = "; a persona recipe's judge takes it as `trait`" if rubric.role == "trait" else ""
    raise RingfenceError(
        f"rubrics.{name}: {source} scores {_MEANT[rubric.role]}, and {name!r} is {_MEANT[wanted]}: name it under its "
        f"own name{how}."
    )


def _as_stated(name: str, source: Stated) -> Rubric:
    found = load_rubric(source.rubric)
    if found.role not in (None, source.scores):
        raise RingfenceError(f"rubrics.{name}.scores: {source.rubric} scores {_MEANT[found.role]}; leave `scores` out")
    return replace(found, role=source.scores)


def rubric_digests(names: Iterable[str], rubrics: Mapping[str, Source]) -> dict[str, str]:
    """Each of ``names`` -> hex SHA-256 of the text; raises as :func:`find_rubric` does."""
    return {name: find_rubric(name, rubrics).digest for name in names}


def rubric_files(rubrics: Mapping[str, Source]) -> list[str]:
    """The files of the user's that a judge's ``rubrics`` are read from, each once."""
    sources = (one if isinstance(one, str) else one.rubric for one in rubrics.values())
    return list(dict.fromkeys(file for source in sources if (file := rubric_file(source)) is not None))


def rubric_file(source: str) -> str | None:
    """The file that the rubric ``source`` is read from; None for a built-in one, and for a stored suite's."""
    if source in BUILTIN:
        return None
    suite, _ = _split(source)
    if suite is None:
        return source
    return None if suite.startswith((PREFIX, suite_store.PREFIX)) else suite


def _read(source: str) -> tuple[str, str, Role | None]:
    """Name, text and role."""
    if source in BUILTIN:
        return source, _builtin(source), ROLES[source]
    suite, metric = _split(source)
    if suite is None:
        return Path(source).stem, _own(source), None
    with error_prefix(f"rubric {source}"):
        found = load_suite(suite)
        if not metric:
            known = did_you_mean("", (f"{suite}#{one}" for one in found.metrics))
            raise RingfenceError(f"which judge prompt of the suite? Write {suite}#METRIC.{known}")
        return metric, found.rubric(metric).strip(), found.roles.get(metric)


def _split(source: str) -> tuple[str | None, str]:
    """Suite and metric of ``SUITE#METRIC``; the suite is None for a text file, whose name may have a # in it."""
    suite, mark, metric = source.rpartition("#")
    if mark and _is_suite(suite):
        return suite, metric
    return (source, "") if _is_suite(source) else (None, "")


def _is_suite(spec: str) -> bool:
    return spec.startswith((PREFIX, suite_store.PREFIX)) or Path(spec).suffix.lower() in SUFFIXES


@cache
def _builtin(name: str) -> str:
    return files("ringfence.judges").joinpath("rubric_texts", f"{name}.txt").read_text(encoding="utf-8").strip()


def _own(path: str) -> str:
    file = Path(path).expanduser()
    try:
        refuse_pointer_at(file)
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise RingfenceError(f"rubric {path}: no such file.{did_you_mean(path, BUILTIN)}") from None
    except OSError as error:
        raise RingfenceError(f"rubric {path}: cannot read the file ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise RingfenceError(f"rubric {path}: cannot read the file: byte {error.start} is not UTF-8") from None


def _advice(placeholder: str, known: tuple[str, ...]) -> str:
    if placeholder in _OF_A_TRAIT:
        return "give the rubric as {trait: NAME, description: TEXT}"
    return f"known are {', '.join(f'{{{name}}}' for name in known)}"
