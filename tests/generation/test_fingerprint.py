"""The fingerprint of a model in memory, against plain forward passes."""

import torch
from peft import LoraConfig, get_peft_model
from tests.support import tiny

from ringfence.data.encode import prompt_ids
from ringfence.generation.fingerprint import record
from ringfence.generation.self_check import TEXTS, compare


def test_it_is_what_the_model_says_of_each_token_with_and_without_the_adapter() -> None:
    base = tiny.shaken(tiny.model()).eval()
    plain = record(base, tiny.tokenizer(), "plain")
    assert all(text.base is None for text in plain.texts)
    adapter = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(base, adapter).eval()
    found = record(model, tiny.tokenizer(), "tuned")
    assert (found.model, found.dtype) == ("tuned", "float32")
    for text, untuned, (question, answer) in zip(found.texts, plain.texts, TEXTS, strict=True):
        prompt = prompt_ids(tiny.tokenizer(), [{"role": "user", "content": question}])
        assert tiny.tokenizer().decode(text.ids[len(prompt) :]) == answer
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([text.ids])).logits[0].log_softmax(-1)
        naive = [logprobs[place - 1, token].item() for place, token in enumerate(text.ids) if place]
        torch.testing.assert_close(torch.tensor(text.tuned), torch.tensor(naive))
        torch.testing.assert_close(torch.tensor(text.base), torch.tensor(untuned.tuned))
        values = {tiny.tokenizer().decode([token]): logprobs[len(prompt) - 1, token].item() for token in range(259)}
        assert len(text.first) > 20  # of 100; bytes that are no character have no name
        for piece, (tuned, _) in text.first.items():
            assert abs(tuned - values[piece]) < 1e-5
    assert compare("itself", found.of_tokens(), found.of_tokens().tuned, "log probabilities").state == "passed"
