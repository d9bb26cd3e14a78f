"""A run's weights behind a server: the fingerprint that is kept of them, and what the self-check has found.

The fingerprint is computed by PEFT in this process at the first need: of a run in ``RUN/fingerprint.json``, of an
untuned model in the user's cache. What a check found stands beside the answers, and goes into the results.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.core.files import write_json
from ringfence.core.plain import read_json
from ringfence.core.run_folder import ANSWERED_BY, FINGERPRINT_FILE
from ringfence.generation.config import ServerSettings
from ringfence.generation.kept import in_cache, kept, mark
from ringfence.generation.self_check import Check, Fingerprint, say
from ringfence.generation.server import ServedGenerator, open_server
from ringfence.runs.evaluation import Evaluation

if TYPE_CHECKING:
    from ringfence.runs.generators import Generators


def served(one: Evaluation, settings: ServerSettings, generators: "Generators") -> ServedGenerator:
    """Who answers ``one`` behind the server of ``settings``, its weights checked.

    Raises :class:`RingfenceError` for a server that cannot be reached, has no such model, or has other weights.
    """
    named = settings.base_model or one.recipe.model.name if one.is_base else settings.model or one.own.recipe.name
    fingerprint = fingerprint_of(one, generators)
    generators.drop()
    generator = open_server(settings, named, fingerprint)
    keep_check(one, generator.name, generator.check)
    return generator


def fingerprint_of(one: Evaluation, generators: "Generators") -> Fingerprint:
    """That of the weights which are to answer ``one``; a model is loaded if it is not on disk."""
    path = in_cache(one.weights) if one.is_base else one.run / FINGERPRINT_FILE
    return kept(path, one.weights, lambda: generators.fingerprint(one))


def keep_check(one: Evaluation, who: str, check: Check) -> None:
    """Say what the check of ``who`` found, and keep it for the results."""
    say(who, check)
    write_json(_check_file(one), {"kind": one.recipe.generator.identity()["kind"], "who": who, **check.to_json()})


def answered_by(one: Evaluation) -> dict[str, Any]:
    """Who has answered ``one``, and what the self-check found of it; empty for the model in this process."""
    path = _check_file(one)
    return {ANSWERED_BY: read_json(path)} if path.is_file() else {}


def _check_file(one: Evaluation) -> Path:
    return one.answers_folder / f"check-{mark(one.model_digest)}.json"
