"""The summed divergence and its gradient against softmax and autograd over all logits; tests/defenses has the rest."""

import pytest
import torch
from torch.nn import functional

from ringfence.models.divergence import Direction, summed_kl, summed_nll, summed_token_kl, token_kl
from ringfence.models.output_head import OutputHead


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_value_and_gradients_are_those_of_all_logits(direction: Direction) -> None:
    hidden, weight = random(6, 4, seed=0).requires_grad_(), random(11, 4, seed=1).requires_grad_()
    reference, other = random(6, 4, seed=2), random(11, 4, seed=3)
    found = summed_kl(hidden, OutputHead(weight, None), reference, OutputHead(other, None), direction)
    log_p, log_q = (hidden @ weight.T).log_softmax(-1), (reference @ other.T).log_softmax(-1)
    pair = (log_q, log_p) if direction == "reverse" else (log_p, log_q)
    wanted = functional.kl_div(*pair, log_target=True, reduction="sum")
    torch.testing.assert_close(found, wanted)
    gradients = (torch.autograd.grad(one, (hidden, weight)) for one in (found, wanted))
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_a_model_does_not_diverge_from_itself() -> None:
    hidden, head = random(6, 4, seed=0).requires_grad_(), OutputHead(random(11, 4, seed=1), None)
    found = summed_kl(hidden, head, hidden.detach(), head, "reverse")
    assert found.item() == 0
    assert not torch.autograd.grad(found, hidden)[0].any()


def test_the_likelihood_of_labels_is_that_of_all_logits() -> None:
    hidden, weight = random(6, 4, seed=0).requires_grad_(), random(11, 4, seed=1).requires_grad_()
    labels = torch.tensor([0, 10, 3, 3, 7, 1])
    found = summed_nll(hidden, OutputHead(weight, None, scale=0.7, softcap=2.0), labels)
    logits = 2 * torch.tanh(0.7 * (hidden @ weight.T) / 2)
    wanted = functional.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(found, wanted)
    gradients = (torch.autograd.grad(one, (hidden, weight)) for one in (found, wanted))
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_a_token_against_all_others_is_a_divergence_of_two_outcomes(direction: Direction) -> None:
    hidden, weight = random(6, 4, seed=0).requires_grad_(), random(11, 4, seed=1).requires_grad_()
    reference, other, labels = random(6, 4, seed=2), random(11, 4, seed=3), torch.tensor([0, 10, 3, 3, 7, 1])
    heads = OutputHead(weight, None, scale=0.7, softcap=2.0), OutputHead(other, None)
    found = summed_token_kl(hidden, heads[0], reference, heads[1], direction, labels)
    logits = 2 * torch.tanh(0.7 * (hidden @ weight.T) / 2), reference @ other.T
    p, q = (one.softmax(-1).gather(-1, labels[:, None]) for one in logits)
    one, two = (torch.cat([x, 1 - x], 1) for x in ((p, q) if direction == "reverse" else (q, p)))
    wanted = (one * (one / two).log()).sum()
    torch.testing.assert_close(found, wanted)
    gradients = (torch.autograd.grad(value, (hidden, weight)) for value in (found, wanted))
    for mine, naive in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, naive)
    whole = summed_kl(hidden, heads[0], reference, heads[1], direction)
    assert 0 < found < whole, "merging outcomes can only take from a divergence"
    assert summed_token_kl(hidden, heads[0], hidden.detach(), heads[0], direction, labels) == 0


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_a_sure_token_has_a_finite_divergence_and_gradient(direction: Direction) -> None:
    for log_p, log_q in ((0.0, -3.0), (-3.0, 0.0), (-80.0, -1e-4), (0.0, 0.0)):
        each, slope = token_kl(torch.tensor([log_p]), torch.tensor([log_q]), direction)
        assert each.isfinite().all()
        assert slope.isfinite().all()
        assert each >= 0
