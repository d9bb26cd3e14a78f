"""What is asked of vLLM, by a module that stands in for it; the real one is asked in tests/vllm."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import scripted
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.models import vllm as engines
from ringfence.models.engine import Draw


class FakeLLM:
    """Keeps what it was given, and answers the prompt's length."""

    made: dict[str, Any]

    def __init__(self, **given: Any) -> None:
        if "broken" in given["model"]:
            raise ValueError("Model architectures ['Odd']\nare not supported")
        FakeLLM.made = given
        self.model_config = SimpleNamespace(max_model_len=given["max_model_len"] or 512)
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=lambda: self.asked.append("closed")))
        self.asked: list[Any] = []

    def generate(self, prompts: Any, params: Any, *, use_tqdm: Any, lora_request: Any) -> list[Any]:
        self.asked.append((prompts, params, lora_request))
        if any(not one["prompt_token_ids"] for one in prompts):
            raise ValueError("The decoder prompt cannot be empty")
        if use_tqdm:
            assert list(use_tqdm(prompts, desc="Adding")) == prompts
            bar = use_tqdm(total=len(prompts), desc="Processed", dynamic_ncols=True, postfix="")
            bar.postfix = f"{1 / bar.format_dict['elapsed']}"
            bar.update(len(prompts))
            assert bar.n == len(prompts)
            bar.refresh()
            bar.close()
        return [self._one(one["prompt_token_ids"], made) for one, made in zip(prompts, params, strict=True)]

    @staticmethod
    def _one(ids: list[int], made: Any) -> Any:
        answer = SimpleNamespace(token_ids=(len(ids), 2), finish_reason="stop", logprobs=None)
        if made.logprob_token_ids:
            answer.logprobs = [{token: SimpleNamespace(logprob=-float(token)) for token in (7, 8, 9)}]
        of_prompt = [None, *({token: SimpleNamespace(logprob=-token / 10)} for token in ids[1:])]
        return SimpleNamespace(outputs=[answer], prompt_logprobs=None if made.prompt_logprobs is None else of_prompt)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    found, request, state = ModuleType("vllm"), ModuleType("vllm.lora.request"), ModuleType("vllm.distributed")
    found.LLM, found.SamplingParams = FakeLLM, SimpleNamespace  # type: ignore[attr-defined]
    request.LoRARequest = lambda *given: given  # type: ignore[attr-defined]
    state.cleanup_dist_env_and_memory = lambda: None  # type: ignore[attr-defined]
    found.__spec__ = importlib.util.spec_from_loader("vllm", None)
    modules = {"vllm": found, "vllm.lora.request": request, "vllm.distributed.parallel_state": state}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(engines, "version", lambda: "0.32.0+cpu")
    for variable, value in engines._QUIET.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.model().save_pretrained(tmp_path / "base")
    tiny.tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.usefixtures("fake")
def test_an_engine_is_started_with_what_was_asked_and_nothing_of_the_models_own(folder: Path) -> None:
    room = engines.Room(max_rank=9, cache_gib=0.5, max_length=64)
    engine = engines.start(str(folder), dtype="bfloat16", room=room)
    assert FakeLLM.made["model"] == engine.source == str(folder)
    assert FakeLLM.made["dtype"] == engine.dtype == "bfloat16"
    assert FakeLLM.made["kv_cache_memory_bytes"] == 2**29
    assert (FakeLLM.made["enable_lora"], FakeLLM.made["max_lora_rank"], FakeLLM.made["max_loras"]) == (True, 16, 1)
    assert FakeLLM.made["generation_config"] == "vllm"
    assert (engine.max_length, engine.max_rank, engine.stop) == (64, 9, (2,))
    alone = engines.start(str(folder))
    assert "enable_lora" not in FakeLLM.made
    assert FakeLLM.made["enforce_eager"]
    assert FakeLLM.made["logprobs_mode"] == "raw_logprobs"
    assert FakeLLM.made["enable_chunked_prefill"] is False
    assert FakeLLM.made["kv_cache_memory_bytes"] == 2**30
    assert alone.max_length == 512


@pytest.mark.usefixtures("fake")
def test_prompts_parameters_and_adapters_reach_it_and_answers_come_back(folder: Path, tmp_path: Path) -> None:
    scripted.adapter(tmp_path / "a", tiny.model())
    engine, done = engines.start(str(folder), room=engines.Room(max_rank=8)), list[int]()
    draws = [Draw(4, 0.7, 11, 0.9, 0.1, (2,)), Draw(of_prompt=True, of_tokens=(7, 9))]
    plain, scored = engine.generate([[5, 6], [3, 20, 30]], draws, tmp_path / "a", done.append)
    assert (plain.ids, plain.ended, plain.prompt, plain.tokens) == ([2, 2], True, [], [])
    assert scored.prompt == [-2.0, -3.0]
    assert scored.tokens == [{7: -7.0, 9: -9.0}]
    assert done == [2]
    llm = engine._backend.llm  # type: ignore[attr-defined]
    (prompts, params, told) = llm.asked[0]
    assert prompts == [{"prompt_token_ids": [5, 6]}, {"prompt_token_ids": [3, 20, 30]}]
    assert (params[0].temperature, params[0].seed, params[0].top_p, params[0].min_p) == (0.7, 11, 0.9, 0.1)
    assert (params[0].stop_token_ids, params[0].prompt_logprobs, params[0].logprob_token_ids) == ([2], None, None)
    assert told == (*engine.lora(tmp_path / "a")[:2], str(tmp_path / "a"))
    with pytest.raises(RingfenceError, match="vLLM cannot ask its model: The decoder prompt"):
        engine.generate([[]], [Draw()])
    engine.close()
    assert llm.asked[-1] == "closed"


@pytest.mark.usefixtures("fake")
def test_what_it_cannot_load_is_said_in_one_line(folder: Path) -> None:
    broken = folder.rename(folder.with_name("broken"))
    with pytest.raises(RingfenceError, match=r"vLLM cannot load .*broken': Model architectures \['Odd'\] are not"):
        engines.start(str(broken))


def test_vllm_that_is_missing_or_of_another_release_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RingfenceError, match=r"vLLM is missing; .*`pip install '\.\[vllm\]'` in a new env.*setup_vllm"):
        engines.require_vllm()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(engines, "version", lambda: "0.41.1")
    with pytest.raises(RingfenceError, match=r"vLLM 0\.41\.1 is installed.* 0\.32 only"):
        engines.require_vllm()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "is a DoRA"),
        ({"modules_to_save": ["lm_head"]}, r"has trained modules \(modules_to_save: \['lm_head'\]\)"),
        ({"bias": "lora_only"}, "has trained biases"),
        ({"init_lora_weights": "pissa"}, "began as pissa"),
        ({"peft_type": "LOHA"}, "is of the type LOHA"),
        ({"rank_pattern": {"q_proj": 1024}}, "is of rank 1024, above 512"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_adapter_that_is_not_plain_lora_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    scripted.adapter(tmp_path, tiny.model(), rank=3)
    assert engines.rank_of(tmp_path) == 3
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RingfenceError, match=rf"{tmp_path}: {said}.*which vLLM does not serve; merge it"):
        engines.rank_of(tmp_path)


def test_what_is_no_adapter_is_said(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"adapter_config\.json: is no adapter's config"):
        engines.rank_of(tmp_path)
