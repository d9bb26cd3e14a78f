"""What every generator promises, whoever it is: order, seeds of rows, greedy answers, the count, and the cut."""

from collections.abc import Callable, Iterator

import pytest
import torch

import scripted
import serving
import tiny
from loopback import Body, Says, loopback
from ringfence.data.encode import prompt_ids
from ringfence.generation import Generator, HfGenerator, Request, Sampling
from ringfence.generation.chat_api import ChatGenerator
from ringfence.generation.config import ServerSettings
from ringfence.generation.fingerprint import record
from ringfence.generation.server import open_server
from ringfence.generation.vllm import VllmGenerator

REQUESTS = [
    Request(f"s/{at}", [{"role": "user", "content": text}], sample)
    for at, text in enumerate(("Hi?", "What is a river?", "A"))
    for sample in range(2)
]
KINDS = ("hf", "vllm", "server", "chat")


def says(model: torch.nn.Module) -> Callable[[Body], Says]:
    """Draws as it is told to: greedy, or by the seed of the call."""

    def answer(body: Body) -> Says:
        if "logprobs" in body:
            return serving.first(model, tiny.tokenizer(), body)
        ids, drawn = prompt_ids(tiny.tokenizer(), body["messages"]), list[int]()
        generator = torch.Generator().manual_seed(body["seed"])
        while len(drawn) < body["max_tokens"] and 2 not in drawn:
            last = serving.logprobs(model, ids + drawn)[-1]
            greedy = body["temperature"] == 0
            drawn.append(int(last.argmax() if greedy else last.exp().multinomial(1, generator=generator)))
        text = tiny.tokenizer().decode(drawn, skip_special_tokens=True)
        return Says(text, finish="stop" if 2 in drawn else "length")

    return answer


@pytest.fixture(scope="module")
def every() -> Iterator[dict[str, Generator]]:
    model = tiny.shaken(tiny.model(), scale=0.3).eval()
    fingerprint = record(model, tiny.tokenizer(), "tiny")
    with loopback(says(model), own="") as state:
        state.models, state.score = ["tiny"], lambda body: serving.echo(model, body)
        settings = ServerSettings(base_url=state.url)
        yield {
            "hf": HfGenerator(model, tiny.tokenizer()),
            "vllm": VllmGenerator(scripted.engine(scripted.Scripted(model)), fingerprint),
            "server": open_server(settings, "tiny", fingerprint),
            "chat": ChatGenerator(settings.named("tiny")),
        }


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_its_answer_whatever_it_is_asked_with(every: dict[str, Generator], kind: str) -> None:
    one, sampling, counted = every[kind], Sampling(max_new_tokens=6, seed=3), list[int]()
    whole = one.generate(REQUESTS, sampling, counted.append)
    assert sum(counted) == len(REQUESTS)
    assert one.generate([], sampling) == []
    for place in (0, 3):
        assert one.generate([REQUESTS[place]], sampling) == [whole[place]]
    assert one.generate(REQUESTS[::-1], sampling) == whole[::-1]
    assert one.generate(REQUESTS, Sampling(max_new_tokens=6, seed=4)) != whole
    assert whole[0] != whole[1], "samples of one question differ"


def test_greedy_answers_are_the_same_for_all(every: dict[str, Generator]) -> None:
    greedy = Sampling(max_new_tokens=6, temperature=0)
    texts = {kind: [(one.text, one.ended) for one in every[kind].generate(REQUESTS, greedy)] for kind in KINDS}
    assert texts["vllm"] == texts["server"] == texts["chat"] == texts["hf"]
