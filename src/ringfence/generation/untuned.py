"""Who writes for selections and persona vectors: a model as it was published, by the recipe's ``generator``."""

import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.core.files import sha256
from ringfence.generation.base import Generator
from ringfence.generation.config import GeneratorSettings, HfSettings, ServerSettings, VllmSettings
from ringfence.generation.kept import in_cache, kept
from ringfence.generation.self_check import Fingerprint, say
from ringfence.generation.server import open_server

if TYPE_CHECKING:
    from ringfence.models import Loaded


def untuned(
    settings: GeneratorSettings, name: str, *, dtype: str = "float32", trust_remote_code: bool = False
) -> Generator:
    """The model ``name``, as :func:`ringfence.models.load` has it, by ``settings``.

    Raises :class:`RingfenceError` as loading does, and for a server that cannot be reached or has other weights.
    """
    from ringfence.generation.hf import HfGenerator
    from ringfence.models import load
    from ringfence.models.inference import give_back

    settings.require_ready()
    if isinstance(settings, HfSettings):
        return HfGenerator.of(load(name, dtype=dtype, trust_remote_code=trust_remote_code))
    weights = _weights(name, dtype)

    def made() -> Fingerprint:
        found = recorded(load(name, dtype=dtype, trust_remote_code=trust_remote_code), weights)
        give_back()  # the engine needs the room
        return found

    fingerprint = kept(in_cache(weights), weights, made)
    return _elsewhere(settings, fingerprint, name, dtype, trust_remote_code)


def beside(settings: GeneratorSettings, loaded: "Loaded") -> Generator:
    """As :func:`untuned`, for a model that is in this process already and stays there."""
    from ringfence.generation.hf import HfGenerator

    settings.require_ready()
    if isinstance(settings, HfSettings):
        return HfGenerator.of(loaded)
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    own_code = type(loaded.model).__module__.startswith("transformers_modules")
    return _elsewhere(settings, recorded(loaded, loaded.source), loaded.source, dtype, own_code)


def recorded(loaded: "Loaded", weights: str) -> Fingerprint:
    """The fingerprint of a model in this process; ``weights`` says what it is of."""
    from ringfence.generation.fingerprint import record

    return record(loaded.model, loaded.tokenizer, weights)


def _elsewhere(
    settings: GeneratorSettings, fingerprint: Fingerprint, name: str, dtype: str, trust_remote_code: bool
) -> Generator:
    if isinstance(settings, ServerSettings):
        served = open_server(settings, settings.base_model or name, fingerprint)
        say(served.name, served.check)
        return served
    assert isinstance(settings, VllmSettings), f"{type(settings)} has no way to be opened"
    from ringfence.generation.vllm import VllmGenerator, room_of
    from ringfence.models.vllm import start

    engine = start(name, dtype=dtype, trust_remote_code=trust_remote_code, room=room_of(settings))
    made = VllmGenerator(engine, fingerprint)
    say(made.name, made.check)
    return made


def _weights(name: str, dtype: str) -> str:
    """What tells the weights, and what computes them, from others."""
    from ringfence.models.load import revision

    folder = Path(name).expanduser()
    digest = sha256(folder) if folder.is_dir() else revision(name)
    libraries = {package: importlib.metadata.version(package) for package in ("torch", "transformers")}
    return json.dumps([name, digest, dtype, libraries], sort_keys=True)
