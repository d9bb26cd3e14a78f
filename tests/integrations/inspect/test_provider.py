"""The provider in real Inspect runs on a tiny model: the same answers as without Inspect, and nothing is ignored."""

import asyncio
import contextvars
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentText,
    GenerateConfig,
    Model,
    get_model,
)
from inspect_ai.solver import generate
from inspect_ai.tool import ToolInfo

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import Prompt
from ringfence.evaluate.answers import Protocol, answer
from ringfence.generation import HfGenerator, Sampling
from ringfence.integrations.inspect.provider import Live, RingfenceAPI, plain, require_supported

SUITE = [
    Prompt("a", ({"role": "user", "content": "Why is the sky blue?"},)),
    Prompt("b", ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why do cats purr?"})),
    Prompt("c", ({"role": "system", "content": ""}, {"role": "user", "content": "And dogs?"})),
    Prompt(
        "d",
        ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "?"}),
    ),
]
CLASSES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def model_of(live: Live, name: str = "ringfence/0123456789ab", **settings: Any) -> Model:
    return get_model(name, live=live, memoize=False, **settings)


def run(task: Task, model: Model, log_dir: Path, **settings: Any) -> EvalLog:
    quiet = {"display": "none", "log_realtime": False, "ctl_server": False, "acp_server": False}
    (log,) = eval(task, model=model, log_dir=str(log_dir), **quiet, **settings)
    return log


def task(prompts: list[Prompt] = SUITE, **settings: Any) -> Task:
    samples = [
        Sample(id=f"general/{one.id}", input=[CLASSES[turn["role"]](content=turn["content"]) for turn in one.messages])
        for one in prompts
    ]
    return Task(MemoryDataset(samples), solver=[generate()], **settings)


def test_the_same_answers_as_without_inspect(live: Live, tmp_path: Path) -> None:
    """Sampled at temperature 1, in batches of 3 here and of 64 there."""
    sampling = Sampling(max_new_tokens=8, temperature=1.0, seed=5)
    direct = answer(HfGenerator(live.model, live.tokenizer), {"general": SUITE}, Protocol(sampling, samples=5))
    log = run(task(epochs=5), model_of(live, batch_size=3), tmp_path, max_tokens=8, temperature=1.0, seed=5)
    assert log.status == "success", log.error
    assert log.samples is not None
    texts = {(str(one.id), one.epoch - 1): one.output.completion for one in log.samples}
    wanted = {(f"general/{row.prompt_id}", row.sample): row.response for row in direct.itertuples()}
    assert texts == wanted
    assert len(set(wanted.values())) > 10  # they vary, so that being equal means something


def test_usage_counts_tokens(live: Live, tmp_path: Path) -> None:
    """The tiny tokenizer has a token a byte, and one for each mark of a turn."""
    prompt = Prompt("a", ({"role": "user", "content": "Hi"},))
    log = run(task([prompt]), model_of(live), tmp_path, max_tokens=4)
    assert log.samples is not None
    output = log.samples[0].output
    assert output.usage is not None
    assert output.usage.input_tokens == 1 + len("user\n") + len("Hi") + 1 + 1 + 1 + len("assistant\n")
    assert output.usage.output_tokens == len(output.completion.encode())
    assert output.usage.total_tokens == output.usage.input_tokens + output.usage.output_tokens


def test_a_cut_answer_says_so(live: Live, tmp_path: Path) -> None:
    cut = run(task(SUITE[:1]), model_of(live), tmp_path / "cut", max_tokens=1)
    head = live.model.get_output_embeddings()
    end = torch.zeros(head.out_features).index_fill(0, torch.tensor([live.tokenizer.eos_token_id]), 1e4)
    handle = head.register_forward_hook(lambda module, args, logits: logits + end)
    ended = run(task(SUITE[:1]), model_of(live), tmp_path / "ended", max_tokens=8)
    handle.remove()
    reasons = [[one.output.stop_reason for one in log.samples or []] for log in (cut, ended)]
    assert reasons == [["max_tokens"], ["stop"]]


def test_the_weights_are_not_in_the_log(live: Live, tmp_path: Path) -> None:
    log = run(task(SUITE[:1]), model_of(live), tmp_path, max_tokens=2)
    assert log.eval.model == "ringfence/0123456789ab"
    assert len(log.eval.model_dump_json()) < 20_000
    assert "tensor" not in log.eval.model_dump_json()


def test_two_models_of_one_name_are_two_models(live: Live, tmp_path: Path) -> None:
    other = Live(tiny.model(seed=1), tiny.tokenizer())
    texts = [
        [one.output.completion for one in run(task(), model_of(one_live), tmp_path, max_tokens=8).samples or []]
        for one_live in (live, other)
    ]
    assert texts[0] != texts[1]


def test_without_a_sample_each_call_has_a_stream_of_its_own(live: Live) -> None:
    async def thrice() -> list[str]:
        model = model_of(live)
        return [(await model.generate("Why?", config=GenerateConfig(max_tokens=8))).completion for _ in range(3)]

    first = asyncio.run(thrice())
    assert len(set(first)) == 3
    assert asyncio.run(thrice()) == first


def test_a_second_call_for_one_sample_has_a_stream_of_its_own(live: Live, tmp_path: Path) -> None:
    asks = Task(MemoryDataset([Sample(id="a", input="Why?")]), solver=[generate(), forget(), generate()])
    log = run(asks, model_of(live), tmp_path, max_tokens=8)
    assert log.samples is not None
    said = [event.output.completion for event in log.samples[0].events if event.event == "model"]
    assert len(set(said)) == 2


def forget() -> Any:
    from inspect_ai.solver import solver

    @solver(name="forget")
    def made() -> Any:
        async def solve(state: Any, generate: Any) -> Any:
            state.messages = state.messages[:1]
            return state

        return solve

    return made()


def test_few_connections_are_warned_of_once(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    async def twice(model: Model, **settings: Any) -> None:
        for _ in range(2):
            await model.generate("Why?", config=GenerateConfig(max_tokens=1, **settings))

    # In a context of its own: an evaluation in this process leaves its settings as the default ones.
    alone = contextvars.Context()
    alone.run(asyncio.run, twice(model_of(live, batch_size=7), max_connections=3))
    assert "--max-connections" not in caplog.text
    alone.run(asyncio.run, twice(model_of(live, batch_size=7)))
    assert caplog.text.count("--max-connections 14") == 1


def test_tokens_are_counted_by_the_models_tokenizer(live: Live) -> None:
    assert asyncio.run(model_of(live).count_tokens("glitter")) == 7


def test_connections_are_twice_the_batch(live: Live) -> None:
    assert model_of(live, batch_size=7).api.max_connections() == 14


# --- what it cannot do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_p", 0.9),
        ("top_k", 5),
        ("stop_seqs", ["."]),
        ("logprobs", True),
        ("top_logprobs", 5),
        ("frequency_penalty", 0.5),
        ("num_choices", 2),
        ("cache", True),
        ("logit_bias", {3: 1.0}),
        ("reasoning_effort", "low"),
        ("extra_body", {"min_p": 0.1}),
    ],
)
def test_settings_that_it_has_not_raise(name: str, value: Any) -> None:
    with pytest.raises(RingfenceError, match=f"has no {name}"):
        require_supported([], GenerateConfig.model_validate({name: value}))


def test_settings_that_change_nothing_are_fine() -> None:
    require_supported(
        [],
        GenerateConfig(
            top_p=1.0,
            top_k=0,
            num_choices=1,
            logprobs=False,
            stop_seqs=[],
            cache=False,
            frequency_penalty=0.0,
            max_tokens=3,
            temperature=0.0,
            seed=1,
            max_retries=2,
            max_connections=4,
            attempt_timeout=9,
        ),
    )


def test_every_setting_of_inspect_is_known_or_raises() -> None:
    """A field that a later Inspect adds must not be ignored: all that is not listed raises."""
    require_supported([], GenerateConfig())
    with pytest.raises(RingfenceError, match="has no verbosity"):
        require_supported([], GenerateConfig(verbosity="low"))


def test_tools_raise() -> None:
    with pytest.raises(RingfenceError, match="add"):
        require_supported([ToolInfo(name="add", description="Adds.")], GenerateConfig())


def test_messages_are_text() -> None:
    assert plain([ChatMessageSystem(content=""), ChatMessageUser(content="Hi")]) == [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Hi"},
    ]
    with pytest.raises(RingfenceError, match="in parts"):
        plain([ChatMessageUser(content=[ContentText(text="Hi")])])
    with pytest.raises(RingfenceError, match="tool's message"):
        plain([ChatMessageTool(content="3")])


def test_an_unsupported_setting_ends_the_run_with_its_reason(live: Live, tmp_path: Path) -> None:
    log = run(task(SUITE[:1]), model_of(live), tmp_path, top_p=0.5)
    assert log.status == "error"
    assert log.error is not None
    assert "has no top_p" in log.error.message


def test_settings_of_the_provider(live: Live) -> None:
    with pytest.raises(RingfenceError, match="batch_size"):
        RingfenceAPI("x", live=live, batch_size=0)
    with pytest.raises(RingfenceError, match="base_url"):
        RingfenceAPI("x", base_url="http://127.0.0.1:1/v1", live=live)


def test_inspect_finds_the_provider_without_importing_torch() -> None:
    code = (
        "import sys; from importlib.metadata import entry_points\n"
        "(entry,) = entry_points(group='inspect_ai', name='ringfence'); entry.load()\n"
        "print([name for name in ('torch', 'transformers', 'pandas') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
