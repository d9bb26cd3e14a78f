"""Models of runs in vLLM's engine: one engine at a time for all runs on one base, their adapters in turn.

PEFT's fingerprints of all that is to answer are made first, with each base loaded once by transformers; only then does
the engine take the room. What it does not serve beside the base (an adapter on weights that an earlier stage has
changed, or with ``merge``) is merged by PEFT into a copy of the base, which the engine loads and which is then deleted.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.files import cache_folder, scratch
from ringfence.core.run_folder import weights_digest
from ringfence.generation.config import VllmSettings
from ringfence.generation.self_check import Fingerprint
from ringfence.generation.vllm import VllmGenerator, room_of
from ringfence.models import load_tokenizer, vllm
from ringfence.models.engine import Engine
from ringfence.models.inference import give_back
from ringfence.recipe.sections import ModelConfig
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.stages import Stage, load_model, merged_before, merged_model

Recorded = Callable[[Sequence[Evaluation]], list[Fingerprint]]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where the weights of one evaluation are to be."""

    model: ModelConfig
    whole: Path | None
    """folder of a model of which all weights were trained"""
    merged: tuple[Stage, ...]
    """whose adapters are merged into the base, one after the other"""
    adapter: Path | None
    """folder of the adapter that is beside what the engine loads"""

    @classmethod
    def of(cls, one: Evaluation) -> "_Place":
        """Raises :class:`RingfenceError` for quantised weights."""
        model, settings = one.recipe.model, _settings(one)
        if model.bits is not None:
            raise RingfenceError(f"generator: vllm does not serve model.load_in_{model.bits}bit; choose generator=hf")
        if not one.stages:
            return cls(model, None, (), None)
        last = one.stages[-1]
        if last.recipe.lora is None:
            return cls(model, last.weights, (), None)
        before = merged_before(one.stages)
        if settings.merge:
            return cls(model, None, (*before, last), None)
        return cls(model, None, tuple(before), last.weights)

    @cached_property
    def loaded(self) -> str:
        """What tells the weights that an engine loads from others."""
        parts = [self.whole] if self.whole is not None else [stage.weights for stage in self.merged]
        return json.dumps([self.model.model_dump(mode="json"), [weights_digest(part) for part in parts]])

    @property
    def rank(self) -> int:
        """Of the adapter. Raises :class:`RingfenceError` for one that vLLM does not serve."""
        return 0 if self.adapter is None else vllm.rank_of(self.adapter)


class Engines:
    """At most one engine; the next base takes the place of the one before."""

    def __init__(self, wanted: Sequence[Evaluation]) -> None:
        """``wanted``: all evaluations that are to be answered, so that what they need is known beforehand."""
        self._wanted = [one for one in wanted if isinstance(one.recipe.generator, VllmSettings)]
        self._places: dict[str, _Place] = {}
        self._prints: dict[str, Fingerprint] = {}
        self._engine: Engine | None = None
        self._loaded = ""

    def answering(self, one: Evaluation, recorded: Recorded) -> VllmGenerator:
        """Who answers ``one``. ``recorded`` gives fingerprints; it has let go of the models when it returns.

        Raises :class:`RingfenceError` for what vLLM does not serve, before any model is loaded.
        """
        settings = _settings(one)
        if one.model_digest not in self._places:
            settings.require_ready()
            todo = {other.model_digest: other for other in [*self._wanted, one]}
            for digest, other in todo.items():
                with error_prefix(other.recipe.name):
                    self._places[digest] = _Place.of(other)
                    _ = self._places[digest].rank
            self.close()
            self._prints |= dict(zip(todo, recorded(list(todo.values())), strict=True))
        place = self._places[one.model_digest]
        return VllmGenerator(self._at(place, settings), self._prints[one.model_digest], place.adapter)

    def close(self) -> None:
        """Give the engine's memory back."""
        if self._engine is None:
            return
        self._engine.close()
        self._engine, self._loaded = None, ""
        give_back()

    def _at(self, place: _Place, settings: VllmSettings) -> Engine:
        asked = json.dumps([place.loaded, settings.model_dump(mode="json")])
        if self._engine is None or self._loaded != asked:
            self.close()
            rank = max(other.rank for other in self._places.values() if other.loaded == place.loaded)
            self._engine, self._loaded = _started(place, settings, rank), asked
        return self._engine


def _settings(one: Evaluation) -> VllmSettings:
    assert isinstance(one.recipe.generator, VllmSettings)
    return one.recipe.generator


def _started(place: _Place, settings: VllmSettings, rank: int) -> Engine:
    model = place.model
    tokenizer = load_tokenizer(model.name, trust_remote_code=model.trust_remote_code, revision=model.revision)
    with _weights(place) as (source, revision), error_prefix("generator"):
        return vllm.start(
            source,
            dtype=model.dtype,
            trust_remote_code=model.trust_remote_code,
            revision=revision,
            tokenizer=tokenizer,
            room=room_of(settings, rank),
        )


@contextmanager
def _weights(place: _Place) -> Iterator[tuple[str, str | None]]:
    """A model folder, or a hub id, and its revision."""
    if place.whole is not None:
        yield str(place.whole), None
    elif not place.merged:
        yield place.model.name, place.model.revision
    else:
        with scratch(cache_folder()) as folder:
            _write_merged(place, folder)
            yield str(folder), None


def _write_merged(place: _Place, folder: Path) -> None:
    """The base with the adapters in its weights; nothing of it stays in memory."""
    logger.info("merging %d adapter(s) into a copy of %s", len(place.merged), place.model.name)
    with error_prefix("model"):
        loaded = load_model(place.model)
    merged_model(loaded.model, place.merged).save_pretrained(folder)
    del loaded
    give_back()
