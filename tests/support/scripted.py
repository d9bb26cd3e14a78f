"""An engine like vLLM's, made of transformers and PEFT: slow, plain, and wrong on demand."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel

import tiny
from ringfence.models import load, vllm
from ringfence.models.engine import Draw, Drawn, Engine, Ids, Lora, OnDone
from ringfence.models.vllm import Room


@dataclass
class Scripted:
    """See :class:`ringfence.models.engine.Backend`."""

    model: PreTrainedModel
    leaves_out: bool = False
    """whether adapters are read and not applied, as where their modules have other names"""
    noise: float = 0.0
    """added to every log probability"""
    asked: list[tuple[Lora | None, int]] = field(default_factory=list)
    """adapter and prompts of each call"""
    tuned: dict[str, torch.nn.Module] = field(default_factory=dict)
    """by the name of the adapter, as real engines keep what they have read"""
    closed: bool = False
    room: Room | None = None
    """that it was started with"""

    def generate(
        self, prompts: Sequence[Ids], draws: Sequence[Draw], adapter: Lora | None, on_done: OnDone | None
    ) -> list[Drawn]:
        assert not self.closed
        self.asked.append((adapter, len(prompts)))
        model: torch.nn.Module = self.model
        if adapter is not None and not self.leaves_out:
            if adapter.name not in self.tuned:
                made = PeftModel.from_pretrained(copy.deepcopy(self.model), str(adapter.folder))
                self.tuned[adapter.name] = made.merge_and_unload().eval()
            model = self.tuned[adapter.name]
        made = []
        for ids, draw in zip(prompts, draws, strict=True):
            made.append(self._draw(model, list(ids), draw))
            if on_done is not None:
                on_done(1)
        return made

    @torch.no_grad()
    def _draw(self, model: torch.nn.Module, ids: list[int], draw: Draw) -> Drawn:
        prompt, tokens, answer = list[float](), list[dict[int, float]](), list[int]()
        if draw.of_prompt:
            found = self._logits(model, ids).log_softmax(-1)
            prompt = [found[at, token].item() + self.noise for at, token in enumerate(ids[1:])]
        generator = torch.Generator().manual_seed(draw.seed or 0)
        while len(answer) < draw.max_tokens and not set(answer) & set(draw.stop):
            last = self._logits(model, ids + answer)[-1].log_softmax(-1)
            tokens += [{token: last[token].item() for token in draw.of_tokens}] if draw.of_tokens else []
            heated = last if draw.temperature == 0 else last / draw.temperature
            one = heated.argmax() if draw.temperature == 0 else heated.exp().multinomial(1, generator=generator)
            answer.append(int(one))
        return Drawn(answer, bool(set(answer) & set(draw.stop)), prompt, list(tokens))

    @staticmethod
    def _logits(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()

    def close(self) -> None:
        self.closed = True


def instead_of_vllm(monkeypatch: pytest.MonkeyPatch, **wrong: Any) -> list[Scripted]:
    """Engines are scripted ones from now on, with what is ``wrong`` about them; those that were started."""
    started: list[Scripted] = []

    def start(name: str, *, room: Room = Room(), tokenizer: Any = None, **given: Any) -> Engine:  # noqa: B008 - frozen
        given.pop("revision", None)
        loaded = load(name, **given) if tokenizer is None else None
        model = loaded.model if loaded else AutoModelForCausalLM.from_pretrained(name)
        started.append(Scripted(model.eval(), room=room, **wrong))
        tokenizer, stop = tokenizer or loaded.tokenizer, [model.config.eos_token_id]
        longest = room.max_length or 512
        return Engine(started[-1], name, tokenizer, stop=stop, max_length=longest, max_rank=room.max_rank)

    monkeypatch.setattr(vllm, "require_vllm", lambda: None)
    monkeypatch.setattr(vllm, "start", start)
    return started


def engine(backend: Scripted, **room: int) -> Engine:
    """The engine around it, with the tiny tokenizer."""
    return Engine(backend, "tiny", tiny.tokenizer(), stop=[2], **room)  # type: ignore[arg-type]


def adapter(folder: Path, model: PreTrainedModel, seed: int = 0, scale: float = 1.0, rank: int = 2) -> PeftModel:
    """A LoRA of random weights on a copy of ``model``, saved to ``folder``; it is also returned."""
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    made = get_peft_model(copy.deepcopy(model), config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, scale)
    made.eval().save_pretrained(str(folder))
    return made
