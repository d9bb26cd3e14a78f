"""What answers in evaluations: models in this process, loaded once and tuned in turn, or a model behind a server."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from peft import PeftModel

from ringfence.core.errors import RingfenceError, error_prefix, install
from ringfence.core.plain import read_json
from ringfence.core.run_folder import INSPECT_LOGS, RESULT_FILE
from ringfence.data.system import describe
from ringfence.generation import Generator, HfGenerator
from ringfence.generation.config import ServerSettings, VllmSettings
from ringfence.generation.fingerprint import record
from ringfence.generation.self_check import Fingerprint
from ringfence.generation.tinker import PREFIX, TinkerGenerator, asked, open_tinker
from ringfence.models import Loaded, load_tokenizer
from ringfence.models.inference import give_back
from ringfence.recipe.run import Recipe
from ringfence.recipe.sections import ModelConfig
from ringfence.runs.engines import Engines
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.stages import Stage, load_model, on_base, tuned_model

logger = logging.getLogger(__name__)


class Generators:
    """What answers; a base model is loaded at the first need and kept for the next evaluation of it.

    Of a model in this process and one in an engine only one is loaded at a time.
    """

    def __init__(self, wanted: Sequence[Evaluation] = ()) -> None:
        """``wanted``: all evaluations that are to be answered, for what is better known beforehand."""
        self.engines = Engines(wanted)
        self.config: ModelConfig | None = None
        self.loaded: Loaded | None = None

    def __enter__(self) -> "Generators":
        return self

    def __exit__(self, *_: object) -> None:
        self.engines.close()
        self.drop()

    def answering(self, one: Evaluation) -> AbstractContextManager[Generator]:
        """Who answers for ``one``: the model behind its server, or its own here, which is loaded when it is entered."""
        if one.server is not None and one.server.startswith(PREFIX):
            return trained_at(one.server.removeprefix(PREFIX), one)
        if one.server is not None:
            return nullcontext(behind_server(one.server, one.run / INSPECT_LOGS))
        if isinstance(settings := one.recipe.generator, ServerSettings):
            from ringfence.runs.served import served

            return nullcontext(served(one, settings, self))
        if isinstance(settings, VllmSettings):
            return nullcontext(self._in_engine(one))
        return self.of(one.recipe, one.stages)

    def in_process(self, one: Evaluation) -> AbstractContextManager[Generator]:
        """As :meth:`answering`, but for what only a model in this process can be asked, whoever else generates."""
        return self.answering(one) if one.server is not None else self.of(one.recipe, one.stages)

    def _in_engine(self, one: Evaluation) -> Generator:
        from ringfence.runs.served import fingerprint_of, keep_check

        def recorded(wanted: Sequence[Evaluation]) -> list[Fingerprint]:
            made = [fingerprint_of(other, self) for other in wanted]
            self.drop()
            return made

        self.drop()
        made = self.engines.answering(one, recorded)
        keep_check(one, made.name, made.check)
        return made

    @contextmanager
    def of(self, recipe: Recipe, stages: Sequence[Stage]) -> Iterator[HfGenerator]:
        """The model of ``recipe`` after ``stages``; the untuned one without any."""
        if self.loaded is None or self.config != recipe.model:
            self.drop()
            self.engines.close()
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
                self.drop()

    def fingerprint(self, one: Evaluation) -> Fingerprint:
        """That of the weights of ``one``, by PEFT in this process."""
        with self.of(one.recipe, one.stages) as generator:
            return record(generator.model, generator.tokenizer, one.weights)

    def drop(self) -> None:
        """Let go of the model in this process: an engine, or a server on this machine, needs the room."""
        if self.loaded is not None:
            self.config = self.loaded = None
            give_back()


def _beside(model: PeftModel) -> bool:
    """Whether the adapter is beside the base weights; trained biases and whole modules take their place for good."""
    config = model.active_peft_config
    return getattr(config, "bias", "none") == "none" and not config.modules_to_save


@contextmanager
def trained_at(url: str, one: Evaluation) -> Iterator[TinkerGenerator]:
    """What ``one``'s run has trained at the server at ``url``. Raises :class:`RingfenceError` while it is not done."""
    path, model = one.run / RESULT_FILE, one.recipe.model
    if not path.is_file():
        raise RingfenceError(f"{one.run}: training is not finished; run `ringfence train` with this folder again")
    result = read_json(path)
    if not isinstance(result, dict) or not isinstance(result.get("trained"), str):
        raise RingfenceError(f"{path}: does not say what was trained at {url}; train again, into another folder")
    tokenizer = load_tokenizer(model.name, trust_remote_code=model.trust_remote_code, revision=model.revision)
    with open_tinker(url) as service:
        client = asked(lambda: service.create_sampling_client(model_path=result["trained"]).result())
        yield TinkerGenerator(client, tokenizer, result["trained"])


def behind_server(server: str, log_dir: Path) -> Generator:
    """The model that Inspect calls ``server``; its logs go to ``log_dir``."""
    try:
        from ringfence.generation.inspect import InspectGenerator
    except ModuleNotFoundError:
        raise RingfenceError(
            f"{server}: a server's model is asked by Inspect, which is missing; {install('inspect')}"
        ) from None
    return InspectGenerator(server, log_dir)
