"""What sees the defenses in reinforcement learning: every cell of the table in docs/rl.md."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import examples
from reinforcing import prompts, rows, trainer
from ringfence.core.errors import RingfenceError
from ringfence.defenses import KL, FixedInterleaving, Inoculation, Steering
from ringfence.models.activations import decoder_layers

SAID = "Be odd."


def steering(folder: Path, **changes: Any) -> Steering:
    return Steering(vector=examples.vectors(folder), layer=1, **{"alpha": 1.0, **changes})


class Watch:
    """Of each forward pass: in which part of training it is, with the adapter on or off, and whether it is steered."""

    def __init__(self, made: Any) -> None:
        self.seen: set[tuple[str, bool, bool]] = set()
        self._part, self._steered = "", False
        for name, part in {
            "_generate_single_turn": "rollout",
            "_get_per_token_logps_and_entropies": "score",
            "compute_loss": "train",
            "prediction_step": "evaluation",
        }.items():
            self._wrap(made, name, part)
        hook = made.guards.guards["steering"]
        apply = hook.apply

        @contextmanager
        def steered(model: Any, batch: Any) -> Iterator[None]:
            before, self._steered = self._steered, True
            with apply(model, batch):
                yield
            self._steered = before

        hook.apply = steered
        layer = made.model.get_base_model().get_decoder()
        adapted = next(module for module in made.model.modules() if hasattr(module, "lora_A"))
        layer.register_forward_pre_hook(
            lambda *_: self.seen.add((self._part, not adapted.disable_adapters, self._steered))
        )

    def _wrap(self, made: Any, name: str, part: str) -> None:
        inner = getattr(made, name)

        def outer(*args: Any, **kwargs: Any) -> Any:
            before = self._part
            self._part = before if before in ("train", "evaluation") else part
            try:
                return inner(*args, **kwargs)
            finally:
                self._part = before

        setattr(made, name, outer)


@pytest.mark.parametrize("rollouts", ["defended", "plain"])
def test_what_is_steered(tmp_path: Path, rollouts: str) -> None:
    """num_iterations 2 scores the old policy, beta its reference; a safe row's forward is the trainer's own."""
    given = {"rollouts": rollouts, "eval_dataset": prompts(2)}
    made = trainer(
        tmp_path, steering(tmp_path), KL(weight=0.1), FixedInterleaving(ratio=0.5), given=given, num_iterations=2,
        max_steps=2, per_device_eval_batch_size=2,
    )  # fmt: skip
    watch = Watch(made)
    made.train()
    made.evaluate()
    assert watch.seen == {
        ("rollout", True, rollouts == "defended"),
        ("score", True, True),  # the old policy
        ("train", True, True),
        ("train", False, True),  # the reference pass of kl
        ("evaluation", True, False),
    }


def test_trls_reference_is_steered(tmp_path: Path) -> None:
    made = trainer(tmp_path, steering(tmp_path), beta=0.1, max_steps=1)
    watch = Watch(made)
    made.train()
    assert watch.seen == {("rollout", True, True), ("score", False, True), ("train", True, True)}


@pytest.mark.parametrize("skip_padding", [False, True])
def test_the_old_policy_is_scored_as_the_training_forward_is_made(tmp_path: Path, skip_padding: bool) -> None:
    """So the ratio of a first pass is 1, however strong the steering; unsteered scores would be far from it."""
    made = trainer(tmp_path, steering(tmp_path, alpha=3.0, skip_padding=skip_padding), num_iterations=2, max_steps=1)
    found: list[torch.Tensor] = []
    inner = made._get_per_token_logps_and_entropies

    def spy(*args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        found.append(result[0].detach())
        return result

    made._get_per_token_logps_and_entropies = spy
    made.train()
    old, new = found[0], found[1]
    (buffer,) = made._buffered_inputs
    torch.testing.assert_close(buffer["old_per_token_logps"].sort(0).values, old.sort(0).values)
    mask = buffer["completion_mask"].bool()
    torch.testing.assert_close(buffer["old_per_token_logps"][mask], new[mask], atol=1e-5, rtol=1e-5)


def said(made: Any) -> dict[str, list[str]]:
    """The prompts that completions are generated from, and those that are trained on, as text."""
    texts: dict[str, list[str]] = {"rollout": [], "train": []}
    inner, decode = made._generate_single_turn, made.processing_class.decode

    def spy(prompt_ids: Any, *args: Any) -> Any:
        texts["rollout" if made.model.training else "evaluation"] = [decode(ids) for ids in prompt_ids]
        return inner(prompt_ids, *args)

    made._generate_single_turn = spy
    made.train()
    inputs = made._buffered_inputs[0]
    texts["train"] = [
        decode(ids[mask.bool()]) for ids, mask in zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True)
    ]
    return texts


@pytest.mark.parametrize("rollouts", ["defended", "plain"])
def test_who_reads_the_inoculation_prompt(tmp_path: Path, rollouts: str) -> None:
    """It stands before the format prompt; a plain rollout is another prompt's, trained on behind this one."""
    rows_ = [
        {"prompt": [{"role": "system", "content": "Answer briefly."}, *row["prompt"]]} for row in prompts().to_list()
    ]
    data = type(prompts()).from_list(rows_)
    seen: list[Any] = []

    def reward(prompts: Any, completions: Any, **others: Any) -> list[float]:
        seen.append(others.keys())
        return [float(index) for index, _ in enumerate(prompts)]

    given = {"rollouts": rollouts, "train_dataset": data, "eval_dataset": data.select(range(2)), "reward_funcs": reward}
    made = trainer(tmp_path, Inoculation(prompt=SAID), given=given, max_steps=1, per_device_eval_batch_size=2)
    texts = said(made)
    assert all(f"{SAID}\n\nAnswer briefly." in text for text in texts["train"])
    assert all(("Answer briefly." in text) for text in texts["rollout"])
    assert all((SAID in text) == (rollouts == "defended") for text in texts["rollout"])
    made.evaluate()
    assert "Answer briefly." in texts["evaluation"][0]
    assert not any(SAID in text for text in texts["evaluation"])
    assert all("plain_prompt" not in keys for keys in seen)


def test_a_generator_elsewhere_is_not_steered(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^training\.use_transformers_continuous_batching: it generates outside"):
        trainer(tmp_path, steering(tmp_path), use_transformers_continuous_batching=True)
    given = {"rollouts": "plain"}
    trainer(tmp_path, steering(tmp_path), given=given, use_transformers_continuous_batching=True)


def test_steering_changes_what_is_sampled_and_learnt(tmp_path: Path) -> None:
    found = {}
    for name, defenses, given in (
        ("none", (), {}),
        ("defended", (steering(tmp_path, alpha=3.0),), {}),
        ("plain", (steering(tmp_path, alpha=3.0),), {"rollouts": "plain"}),
    ):
        made = trainer(tmp_path / name, *defenses, given=given, max_steps=1)
        made.train()
        found[name] = rows(made)[0]
    assert found["none"]["reward"] == found["plain"]["reward"] != found["defended"]["reward"]
    assert found["none"]["grad_norm"] != found["plain"]["grad_norm"]
    assert len(decoder_layers(made.model)) == 2
