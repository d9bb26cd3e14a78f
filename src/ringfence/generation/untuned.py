"""Who writes for selections and persona vectors: a model as it was published, by the recipe's ``generator``."""

import hashlib
import importlib.metadata
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.core.errors import RingfenceError
from ringfence.core.files import cache_folder, sha256, write_json
from ringfence.core.plain import read_json
from ringfence.generation.base import Generator
from ringfence.generation.config import GENERATORS, GeneratorSettings, HfSettings, VllmSettings
from ringfence.generation.self_check import Fingerprint

if TYPE_CHECKING:
    from ringfence.models import Loaded

logger = logging.getLogger(__name__)


def untuned(
    settings: GeneratorSettings, name: str, *, dtype: str = "float32", trust_remote_code: bool = False
) -> Generator:
    """The model ``name``, as :func:`ringfence.models.load` has it, by ``settings``.

    Raises :class:`RingfenceError` as loading does, and for a generator that answers for runs only.
    """
    from ringfence.generation.hf import HfGenerator
    from ringfence.models import load
    from ringfence.models.inference import give_back

    settings.require_ready()
    if isinstance(settings, HfSettings):
        return HfGenerator.of(load(name, dtype=dtype, trust_remote_code=trust_remote_code))
    weights = _weights(name, dtype)
    path = cache_folder() / "fingerprints" / f"{hashlib.sha256(weights.encode()).hexdigest()[:16]}.json"
    if path.is_file():
        fingerprint = Fingerprint.from_json(read_json(path), str(path))
    else:
        fingerprint = recorded(load(name, dtype=dtype, trust_remote_code=trust_remote_code), weights)
        write_json(path, fingerprint.to_json())
        give_back()  # the engine needs the room
    return _by_engine(settings, fingerprint, name, dtype, trust_remote_code)


def beside(settings: GeneratorSettings, loaded: "Loaded") -> Generator:
    """As :func:`untuned`, for a model that is in this process already and stays there."""
    from ringfence.generation.hf import HfGenerator

    settings.require_ready()
    if isinstance(settings, HfSettings):
        return HfGenerator.of(loaded)
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    own_code = type(loaded.model).__module__.startswith("transformers_modules")
    return _by_engine(settings, recorded(loaded, loaded.source), loaded.source, dtype, own_code)


def recorded(loaded: "Loaded", weights: str) -> Fingerprint:
    """The fingerprint of a model in this process; ``weights`` says what it is of."""
    from ringfence.generation.fingerprint import record

    return record(loaded.model, loaded.tokenizer, weights)


def _by_engine(
    settings: GeneratorSettings, fingerprint: Fingerprint, name: str, dtype: str, trust_remote_code: bool
) -> Generator:
    if not isinstance(settings, VllmSettings):
        raise RingfenceError(f"generator: {GENERATORS.name_of(type(settings))} answers for runs only; use hf or vllm")
    from ringfence.generation.vllm import VllmGenerator, room_of
    from ringfence.models.vllm import start

    engine = start(name, dtype=dtype, trust_remote_code=trust_remote_code, room=room_of(settings))
    made = VllmGenerator(engine, fingerprint)
    logger.info("%s", made.check.sentence(made.name))
    return made


def _weights(name: str, dtype: str) -> str:
    """What tells the weights, and what computes them, from others."""
    from ringfence.models.load import revision

    folder = Path(name).expanduser()
    digest = sha256(folder) if folder.is_dir() else revision(name)
    libraries = {package: importlib.metadata.version(package) for package in ("torch", "transformers")}
    return json.dumps([name, digest, dtype, libraries], sort_keys=True)
