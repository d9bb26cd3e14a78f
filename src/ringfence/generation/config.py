"""Generators in a recipe: ``generator: NAME``, a mapping whose ``kind`` is the name, or a server's address.

Without the key it is ``hf``, the model in this process. Settings are torch-free; who opens them is
:mod:`ringfence.runs.generators`, and, for untuned models, :mod:`ringfence.generation.untuned`.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny

from ringfence.core.registry import TaggedRegistry
from ringfence.core.settings import StrictConfig
from ringfence.generation.chat_api import ChatAddress, ChatServer

Dtype = Literal["float32", "bfloat16", "float16"]


class GeneratorSettings(StrictConfig):
    """Base of all generators that a recipe can name; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def identity(self) -> dict[str, Any]:
        """What answers depend on, beside the model and the sampling; empty for the model in this process."""
        return {}

    def require_ready(self) -> None:
        """Before any model is loaded: raise :class:`RingfenceError` for a package or a key that is missing."""


GENERATORS = TaggedRegistry("generator", GeneratorSettings, "{kind: server, base_url: ADDRESS}", "kind", "hf")


def _parse(value: Any) -> GeneratorSettings:
    is_address = isinstance(value, str) and value.startswith(("http://", "https://"))
    return GENERATORS.parse({"kind": "server", "base_url": value} if is_address else value)


GeneratorField = Annotated[SerializeAsAny[GeneratorSettings], BeforeValidator(_parse)]
"""the type of a field that holds a generator"""


@GENERATORS.register("hf")
class HfSettings(GeneratorSettings):
    """The model in this process, by transformers."""

    kind: Literal["hf"] = "hf"
    """the kind of generator"""


@GENERATORS.register("vllm")
class VllmSettings(GeneratorSettings):
    """vLLM's engine in this process: the base model is loaded once, and the adapters of its runs beside it in turn."""

    kind: Literal["vllm"] = "vllm"
    """the kind of generator"""
    memory: float = Field(0.9, gt=0, le=1)
    """share of the GPU's memory that the engine takes"""
    cache_gib: float | None = Field(None, gt=0)
    """GiB for the keys and values of prompts and answers; null: what ``memory`` leaves, and 1 on a CPU"""
    eager: bool = False
    """whether nothing is compiled: the engine starts sooner and answers slower; a CPU always goes like that"""
    max_length: int | None = Field(None, ge=2)
    """tokens that prompt and answer may have together; null: as many as the model has positions"""
    merge: bool = False
    """whether adapters are merged into a copy of the base weights first, which vLLM then loads as a model: for those
    that it does not serve beside the base, such as DoRA"""

    def identity(self) -> dict[str, Any]:
        """Neither memory nor compiling changes more than rounding; merging rounds the weights themselves."""
        return {"kind": self.kind, **({"merge": True} if self.merge else {})}

    def require_ready(self) -> None:
        """Raise :class:`RingfenceError` if vLLM is missing or untried."""
        from ringfence.models.vllm import require_vllm

        require_vllm()


@GENERATORS.register("server")
class ServerSettings(ChatAddress, GeneratorSettings):
    """A server that speaks OpenAI's chat completions, such as ``vllm serve``, and holds the run's weights."""

    who: ClassVar[str] = "generator"

    kind: Literal["server"] = "server"
    """the kind of generator"""
    base_url: str
    """where ``/chat/completions`` is, without it"""
    model: str | None = Field(None, min_length=1)
    """what the server calls the run's model; null: the run's ``name``"""
    base_model: str | None = Field(None, min_length=1)
    """what the server calls the untuned model; null: the recipe's ``model.name``"""
    dtype: Dtype | None = None
    """number format that the server computes in; null: that of ``model.dtype``"""
    extras: bool = True
    """whether ``top_k``, ``min_p`` and ``repetition_penalty`` are sent, which OpenAI's own API does not know; vLLM and
    others else take those of the model's ``generation_config``"""
    require_check: bool = False
    """whether a server that gives no log probabilities, so that nobody can see which weights answer, is refused"""

    def identity(self) -> dict[str, Any]:
        """An address matters unless the weights behind it are known to be the run's."""
        own = self.model_dump(include={"kind", "model", "base_model", "dtype", "extras", "token_limit"})
        return own if self.require_check else {**own, "base_url": self.base_url}

    def require_ready(self) -> None:
        """Raise :class:`RingfenceError` if the key is missing, or belongs to another address."""
        self.named("the model").secret()

    def named(self, model: str) -> ChatServer:
        """The server, asked for ``model``."""
        settings = {name: getattr(self, name) for name in ChatServer.model_fields}
        return GeneratorServer(**{**settings, "model": model})


class GeneratorServer(ChatServer):
    """A server's address with the model that answers."""

    who: ClassVar[str] = "generator"
