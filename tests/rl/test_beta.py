"""What ``kl`` and TRL's ``beta`` have in common: the value in expectation, a gradient each, and the reference."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import examples
import reinforcing
import tiny
from reinforcing import prompts, trainer
from ringfence.core.errors import RingfenceError
from ringfence.defenses import KL, TrainerContext
from ringfence.rl.inputs import completions, model_inputs
from ringfence.train.guards import DefenseStack

VOCABULARY = 7


def shaken(folder: Path, **changes: Any) -> Any:
    """A trainer whose adapter does something."""
    made = reinforcing.shaken(trainer(folder, beta=1.0, loss_type="grpo", **changes))
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    return made


def every_token(made: Any) -> dict[str, torch.Tensor]:
    """One prompt before each token of the vocabulary: all completions of one token that there are."""
    prompt = torch.tensor([[1, 3, 5, 2]])
    tokens = torch.arange(VOCABULARY)[:, None]
    count = len(tokens)
    inputs = {
        "prompt_ids": prompt.expand(count, -1),
        "prompt_mask": torch.ones(count, prompt.shape[1], dtype=torch.long),
        "completion_ids": tokens,
        "completion_mask": torch.ones_like(tokens),
        "advantages": torch.zeros(count),
    }
    text = model_inputs(inputs)
    with torch.no_grad(), made.model.disable_adapter():
        inputs["ref_per_token_logps"] = made._get_per_token_logps_and_entropies(
            made.model, text["input_ids"], text["attention_mask"], 1
        )[0]
    return inputs


def gradients(made: Any) -> torch.Tensor:
    found = torch.cat([value.grad.flatten() for value in made.model.parameters() if value.grad is not None])
    made.model.zero_grad()
    return found


@pytest.mark.parametrize(("corrected", "direction"), [(False, "forward"), (True, "reverse")])
def test_in_expectation_the_value_is_ours_and_so_is_a_gradient(
    tmp_path: Path, corrected: bool, direction: Literal["forward", "reverse"]
) -> None:
    """Summed over every token v: p(v) k3(v) = KL(p || q); its gradient is that of KL(q || p), corrected of KL(p || q).

    k3 = q/p - log(q/p) - 1, so E_p[k3] = 1 + KL(p || q) - 1; with p fixed as the weight, sum p grad k3 = sum (p - q)
    grad log p = grad KL(q || p).
    """
    model = examples.model()
    model.resize_token_embeddings(VOCABULARY)
    made = shaken(tmp_path, given={"model": model}, use_bias_correction_kl=corrected)
    inputs = every_token(made)
    text = model_inputs(inputs)
    with torch.no_grad():
        p = made._get_per_token_logps_and_entropies(made.model, text["input_ids"], text["attention_mask"], 1)[0].exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    expected = torch.zeros(())
    for row in range(len(p)):  # TRL's own loss of one completion of one token: k3
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        expected = expected + p[row, 0] * made._compute_loss(made.model, one)
    expected.backward()
    theirs = gradients(made)

    def ours(way: Literal["forward", "reverse"]) -> tuple[torch.Tensor, torch.Tensor]:
        stack = DefenseStack([KL(weight=1, direction=way)], TrainerContext(tiny.tokenizer(), 0, made.model))
        one = model_inputs({name: value[:1] for name, value in inputs.items()})
        _, (penalty,) = stack.loss(completions(one), one, lambda: made.model(**one, use_cache=False))
        penalty.sum.backward()
        return penalty.sum.detach(), gradients(made)

    assert expected.item() == pytest.approx(ours("reverse")[0].item(), rel=1e-4)
    assert expected.item() > 1e-2
    torch.testing.assert_close(theirs, ours(direction)[1], rtol=1e-3, atol=1e-6)


def test_the_reference_is_the_same(tmp_path: Path) -> None:
    """Log probabilities of the sampled tokens: TRL's, for beta, and those of our reference pass."""
    made = shaken(tmp_path)
    batch = [row for row in prompts(2).to_list() for _ in range(2)]
    inputs = made._prepare_inputs(batch)
    text = model_inputs(inputs)
    stack = DefenseStack([KL(weight=1)], TrainerContext(tiny.tokenizer(), 0, made.model))
    seen: list[Any] = []
    hook = stack.penalising["kl"]
    hook.penalty = lambda step: (seen.append(step.reference), torch.zeros(()))[1]  # type: ignore[method-assign]
    stack.loss(completions(text), text, lambda: made.model(**text, use_cache=False))
    reference = seen[0]
    logits = reference.head.logits(reference.last.flatten(0, 1)).view(*reference.last.shape[:2], -1)
    ids = text["input_ids"]
    found = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    mask = inputs["completion_mask"].bool()
    width = mask.shape[1]
    torch.testing.assert_close(found[:, -width:][mask], inputs["ref_per_token_logps"][mask], rtol=1e-4, atol=1e-5)


def test_both_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^training\.beta: 0\.04 is TRL's own KL penalty, and kl is one as well"):
        trainer(tmp_path, KL(weight=0.1), beta=0.04)
    trainer(tmp_path, KL(weight=0), beta=0.04)
