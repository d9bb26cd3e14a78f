"""The micro-batches of GRPO: TRL's prompts in TRL's order on every rank, and safe rows between or beside them."""

from typing import Any

import pytest
import torch
from datasets import Dataset
from trl.trainer.utils import RepeatSampler

from ringfence.interleave import InterleavingStream, Mixture, MixtureConfig, MixtureSizes, RankLayout, Schedule
from ringfence.interleave.loader import SAFE
from ringfence.rl.loader import BESIDE, PROMPTS, PromptOrder, RLLoader
from ringfence.rl.sizes import GenerationSizes

PROMPT_ROWS, CHUNK, GENERATIONS, REUSE = 7, 2, 2, 2
MICRO = 2  # rows a rank


def loader(rank: int, world: int, ratio: float, granularity: str = "step", epochs: int = 2) -> RLLoader:
    """Two prompts a generation, twice each; it lasts for two micro-batches, which are an optimizer step."""
    chunk = CHUNK * world
    layout = RankLayout(MICRO, 2, rank, world)
    sizes = GenerationSizes(layout, PROMPT_ROWS, chunk, GENERATIONS, REUSE)
    mixing = MixtureConfig(granularity, "add", "exact")  # type: ignore[arg-type]
    mixture = Mixture(MixtureSizes(sizes.epoch_rows, 9, layout.step_rows, epochs * sizes.epoch_rows), mixing)
    prompts = Dataset.from_dict({"prompt": [str(index) for index in range(PROMPT_ROWS)]})
    safe = Dataset.from_dict({"input_ids": [[index] for index in range(9)]})

    def collate(rows: Any) -> dict[str, Any]:
        return {"input_ids": torch.tensor([row["input_ids"] for row in rows])}

    order = PromptOrder(lambda: RepeatSampler(prompts, GENERATIONS, chunk, seed=5), sizes.generation_rows)
    return RLLoader(prompts, safe, InterleavingStream(mixture, Schedule(ratio, "exact")), sizes, order, collate)


@pytest.mark.parametrize("world", [1, 2])
def test_prompts_are_those_of_trls_sampler_split_over_the_ranks(world: int) -> None:
    """TRL's data loader gives each micro-batch its whole generation; ours gives it to the first, and nothing after."""
    chunk, rows = CHUNK * world, CHUNK * world * GENERATIONS
    sampler = RepeatSampler(range(PROMPT_ROWS), GENERATIONS, chunk, repeat_count=REUSE, seed=5)
    expected = [index for _ in range(2) for index in sampler]  # two epochs
    for rank in range(world):
        own = rows // world
        found = [[int(row["prompt"]) for row in micro] for micro in loader(rank, world, 0.0)]
        assert len(found) == len(expected) // rows
        for k, prompts in enumerate(found):
            generation = expected[k * rows : (k + 1) * rows]
            assert prompts == ([] if k % REUSE else generation[rank * own : (rank + 1) * own])


def test_an_epoch_draws_once_from_the_global_generator_as_a_data_loader_does() -> None:
    torch.manual_seed(0)
    list(loader(0, 1, 0.0))
    after = torch.rand(1)
    torch.manual_seed(0)
    for _ in range(2):
        torch.empty((), dtype=torch.int64).random_()
    assert torch.equal(torch.rand(1), after)


def test_safe_steps_stand_between_and_take_no_prompt() -> None:
    """Six steps of RL and three safe ones; on two ranks they hold the same rows as on one."""
    whole = list(loader(0, 1, 1 / 3))
    assert [SAFE in micro for micro in whole[::2]].count(True) == 3
    prompts = [micro for micro in whole if SAFE not in micro]
    assert prompts == list(loader(0, 1, 0.0))
    safe = torch.cat([micro["input_ids"] for micro in whole if SAFE in micro]).flatten()
    assert len(safe) == 12
    assert sorted(safe[:9].tolist()) == list(range(9)), "each row once before any comes again"
    assert all(micro[SAFE].all() for micro in whole if SAFE in micro)


def test_beside_every_step_stand_as_many_safe_rows() -> None:
    for micro in loader(0, 1, 0.1, "beside"):
        assert micro.keys() == {PROMPTS, BESIDE}
        assert len(micro[BESIDE]["input_ids"]) == MICRO


def test_it_goes_on_where_the_stream_stands() -> None:
    whole = list(loader(0, 1, 1 / 3))
    first, again = loader(0, 1, 1 / 3), loader(0, 1, 1 / 3)
    taken = iter(first)
    for _ in range(8):
        next(taken)
    again.stream.load_state_dict(first.stream.state_dict())
    rest = list(again)
    assert len(rest) == len(whole) - 8
    for micro, expected in zip(rest, whole[8:], strict=True):
        if SAFE in expected:
            assert torch.equal(micro["input_ids"], expected["input_ids"])
        else:
            assert micro == expected
