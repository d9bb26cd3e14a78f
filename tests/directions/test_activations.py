"""Mean activations against a naive loop: one answer at a time, no padding, no hooks."""

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.directions.activations import Answered, mean_activations

SYSTEM = {"role": "system", "content": "Be brief."}


def chat(question: str, *before: dict[str, str]) -> list[dict[str, str]]:
    return [*before, {"role": "user", "content": question}]


ROWS = [
    Answered(chat("Hi"), "Yes."),
    Answered(chat("How do I boil an egg, and for how long if it comes from the fridge?"), "N"),
    Answered(chat("A", SYSTEM), "A long answer that goes on for quite a while longer than the others do."),
    Answered(chat("Où?"), "À Zürich – 5 €"),
    Answered(chat("Go on"), "a b c d"),
]


def lively_model(seed: int = 0, layers: int = 3) -> LlamaForCausalLM:
    """A tiny model with weights large enough that activations depend on all that comes before."""
    return tiny.shaken(tiny.model(seed, layers=layers), seed).eval()


def residual_stream(model: LlamaForCausalLM, ids: list[int]) -> Tensor:
    """(layers + 1, tokens, hidden): Hugging Face's own, with the final norm taken out so that the last is raw, too."""
    norm, model.model.norm = model.model.norm, torch.nn.Identity()
    try:
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True).hidden_states
    finally:
        model.model.norm = norm
    return torch.stack([state[0] for state in states]).double()


def naive(model: LlamaForCausalLM, rows: list[Answered]) -> dict[str, Tensor]:
    """The means as they are defined, one row after the other."""
    found: dict[str, list[Tensor]] = {"response_mean": [], "prompt_mean": [], "prompt_last": []}
    for row in rows:
        prompt = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in row.messages)
        before = tiny.tokenizer()(prompt + "<|im_start|>assistant\n")["input_ids"]
        answer = tiny.tokenizer()(row.response)["input_ids"]
        stream = residual_stream(model, before + answer)
        found["response_mean"].append(sum(stream[:, t] for t in range(len(before), stream.shape[1])) / len(answer))
        found["prompt_mean"].append(sum(stream[:, t] for t in range(len(before))) / len(before))
        found["prompt_last"].append(stream[:, len(before) - 1])
    return {position: sum(each) / len(rows) for position, each in found.items()}


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_equals_a_naive_loop_at_any_batch_size(batch_size: int) -> None:
    model = lively_model()
    means, wanted = mean_activations(model, tiny.tokenizer(), ROWS, batch_size), naive(model, ROWS)
    assert means.keys() == wanted.keys()
    for position, mean in means.items():
        assert mean.shape == (4, 16)
        torch.testing.assert_close(mean, wanted[position], rtol=1e-5, atol=1e-5)


def test_row_zero_is_the_embeddings() -> None:
    """ "ab" has two tokens, one a byte: its mean embedding is the mean of two rows of the embedding matrix."""
    model = lively_model()
    mean = mean_activations(model, tiny.tokenizer(), [Answered(chat("Hi"), "ab")], 1)["response_mean"]
    rows = tiny.tokenizer().convert_tokens_to_ids(["a", "b"])
    torch.testing.assert_close(mean[0], model.get_input_embeddings().weight[rows].mean(0).detach().double())


def test_the_last_row_is_before_the_final_norm() -> None:
    """A final norm of zeros makes Hugging Face's last hidden state 0; ours does not see it."""
    model = lively_model()
    before = mean_activations(model, tiny.tokenizer(), ROWS, 2)["response_mean"]
    with torch.no_grad():
        model.model.norm.weight.zero_()
    after = mean_activations(model, tiny.tokenizer(), ROWS, 2)["response_mean"]
    assert torch.equal(before, after)
    assert before[-1].norm() > 1


def test_leaves_the_model_as_it_was() -> None:
    model = lively_model().train()
    model.model.layers[0].eval()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    mean_activations(model, tiny.tokenizer(), ROWS, 2)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_hooks_are_gone_after_an_error() -> None:
    model = lively_model()
    model.model.layers[1].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        mean_activations(model, tiny.tokenizer(), ROWS, 2)
    assert not any(module._forward_hooks for module in model.modules())


def test_on_batch_is_told_the_rows_of_each_batch() -> None:
    finished: list[int] = []
    mean_activations(lively_model(), tiny.tokenizer(), ROWS, 2, finished.append)
    assert finished == [2, 2, 1]


def test_an_empty_answer_raises_and_names_the_question() -> None:
    with pytest.raises(RingfenceError, match="empty answer to 'What now"):
        mean_activations(lively_model(), tiny.tokenizer(), [*ROWS, Answered(chat("What now?"), "")], 2)


def test_no_rows_raise() -> None:
    with pytest.raises(RingfenceError, match="no answers"):
        mean_activations(lively_model(), tiny.tokenizer(), [], 2)
