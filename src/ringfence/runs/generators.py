"""What answers in evaluations: models in this process, loaded once and tuned in turn, or a model behind a server."""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from peft import PeftModel

from ringfence.core.errors import RingfenceError, error_prefix, install
from ringfence.core.run_folder import INSPECT_LOGS
from ringfence.data.system import describe
from ringfence.generation import Generator, HfGenerator
from ringfence.generation.config import ServerSettings
from ringfence.generation.fingerprint import record
from ringfence.generation.self_check import Fingerprint
from ringfence.models import Loaded
from ringfence.recipe.run import Recipe
from ringfence.recipe.sections import ModelConfig
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.stages import Stage, load_model, on_base, tuned_model

logger = logging.getLogger(__name__)


class Generators:
    """What answers; a base model is loaded at the first need and kept for the next evaluation of it."""

    def __init__(self) -> None:
        self.config: ModelConfig | None = None
        self.loaded: Loaded | None = None

    def __enter__(self) -> "Generators":
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def answering(self, one: Evaluation) -> AbstractContextManager[Generator]:
        """Who answers for ``one``: the model behind its server, or its own here, which is loaded when it is entered."""
        if one.server is not None:
            return nullcontext(behind_server(one.server, one.run / INSPECT_LOGS))
        if isinstance(settings := one.recipe.generator, ServerSettings):
            from ringfence.runs.served import served

            return nullcontext(served(one, settings, self))
        return self.of(one.recipe, one.stages)

    @contextmanager
    def of(self, recipe: Recipe, stages: Sequence[Stage]) -> Iterator[HfGenerator]:
        """The model of ``recipe`` after ``stages``; the untuned one without any."""
        if self.loaded is None or self.config != recipe.model:
            self._drop()
            with error_prefix("model"):
                self.config, self.loaded = recipe.model, load_model(recipe.model)
            logger.info(describe(recipe.no_system, self.loaded.tokenizer))
        base = self.loaded
        model = tuned_model(base.model, stages) if stages else base.model
        try:
            yield HfGenerator.of(replace(base, model=model))
        finally:
            if isinstance(model, PeftModel) and on_base(stages) and _beside(model):
                model.unload()  # leaves the base as it was, bit by bit
            elif stages:
                self._drop()

    def fingerprint(self, one: Evaluation) -> Fingerprint:
        """That of the weights of ``one``, by PEFT in this process; the model is given back at once."""
        with self.of(one.recipe, one.stages) as generator:
            made = record(generator.model, generator.tokenizer, one.weights)
        self._drop()  # a server on this machine needs the room
        return made

    def _drop(self) -> None:
        self.config = self.loaded = None
        gc.collect()


def _beside(model: PeftModel) -> bool:
    """Whether the adapter is beside the base weights; trained biases and whole modules take their place for good."""
    config = model.active_peft_config
    return getattr(config, "bias", "none") == "none" and not config.modules_to_save


def behind_server(server: str, log_dir: Path) -> Generator:
    """The model that Inspect calls ``server``; its logs go to ``log_dir``."""
    try:
        from ringfence.generation.inspect import InspectGenerator
    except ModuleNotFoundError:
        raise RingfenceError(
            f"{server}: a server's model is asked by Inspect, which is missing; {install('inspect')}"
        ) from None
    return InspectGenerator(server, log_dir)
