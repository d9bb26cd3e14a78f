"""A step of 4 rows is the same step as one batch, as 2 x 2 by accumulation, and on two ranks, DDP or FSDP2."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import examples
import splitting
from ringfence.core.run_folder import CANARIES_FILE, CURVE_FILE
from training import losses, trainer, weights

UNEQUAL = ("probe_seconds", "entropy", "mean_token_accuracy", "num_tokens")
COUNTS = (
    "steps",
    "rows",
    "mean_ratio",
    *(f"{a}_{b}" for a in ("target", "safe") for b in ("rows", "tokens", "labels")),
)


def alone(folder: Path, **changes: Any) -> Any:
    """One process, 18 rows in steps of 4: the last step of an epoch is short."""
    made = trainer(folder, *examples.together("canary"), given={"model": examples.model()}, **changes)
    made.train()
    return made


def test_accumulation_does_not_change_a_step(tmp_path: Path) -> None:
    whole = alone(tmp_path / "a")
    split = alone(tmp_path / "b", per_device_train_batch_size=2, gradient_accumulation_steps=2)
    single = alone(tmp_path / "c", per_device_train_batch_size=1, gradient_accumulation_steps=4)
    for other in (split, single):
        assert [loss for _, loss, _ in losses(other)] == pytest.approx([loss for _, loss, _ in losses(whole)], rel=1e-5)
        assert other.result()["safe_rows"] == whole.result()["safe_rows"]
        for name, value in weights(other).items():
            torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Where one process has trained every case, and what each ended with."""
    folder = tmp_path_factory.mktemp("one")
    splitting.prepare(folder, several=False)
    return folder, {case: splitting.trained(folder, case, splitting.DefendedSFTTrainer) for case in splitting.CASES}


@pytest.mark.parametrize("split", [False, True], ids=["ddp", "fsdp2"])
def test_two_ranks_train_every_defense_as_one_does_and_resume_bitwise(
    tmp_path: Path, one: tuple[Path, dict[str, Any]], split: bool
) -> None:
    """Losses, gradients, penalties, risk and weights to 1e-6, over accumulated micro-batches, and what is drawn."""
    splitting.prepare(tmp_path, several=True)
    first, second = splitting.on_two_ranks(splitting.all_cases, tmp_path, split)
    folder, whole = one
    for case in splitting.CASES:
        assert_same_log(logged(first[case]), logged(whole[case]), rel=1e-6)
        results = [found.get("result", found) for found in (first[case], second[case], whole[case])]
        assert [*({key: result[key] for key in COUNTS} for result in results[:2])] == [
            {key: results[2][key] for key in COUNTS}
        ] * 2
        ran = [(result["ranks"], result["backend"]) for result in results]
        assert ran == [(2, "FSDP2" if split else "DDP")] * 2 + [(1, "one process")]
        assert_same_weights(splitting.weights(tmp_path, case), splitting.weights(folder, case))
    assert logged(first["guards"]) == logged(second["guards"])
    assert max(row.get("kl", 0) for row in logged(first["guards"])) > 1e-3
    assert [found["likelihood"]["calls"] > 0 for found in (first, second)] == [True, split]
    assert [layer["projected"] for layer in first["projected"]["result"]["safe_lora"]].count(True) == 3
    for name in (CANARIES_FILE, CURVE_FILE):
        assert rows(tmp_path, name) == rows(folder, name) != []

    assert logged(first["resumed"]) == logged(first["guards"])
    again = splitting.weights(tmp_path, "guards")
    before = splitting.weights(tmp_path, "uninterrupted")
    assert all(torch.equal(again[name], before[name]) for name in before)
    checkpoints = [*(tmp_path / "guards").glob("checkpoint-*")]
    parts = [*(tmp_path / "guards").glob("checkpoint-*/pytorch_model_fsdp_0/*.distcp")]
    assert len(parts) == (2 * len(checkpoints) if split else 0), "each rank writes its part of each checkpoint"


def test_a_lost_rank_ends_the_other_with_what_to_look_at(tmp_path: Path) -> None:
    """At once where the connection closes, and after ``ddp_timeout`` where it does not."""
    hows = {"ends": "another rank has ended.", "waits": f"another rank did not answer within {splitting.TIMEOUT} s"}
    for how in hows:
        (tmp_path / how).mkdir()
    started = {how: splitting.start_ranks(splitting.lose_one, tmp_path / how, how) for how in hows}
    for how, ranks in started.items():
        ranks[0].join(200)
        ranks[1].kill()
        assert ranks[0].exitcode == 0
        seconds, message = (tmp_path / how / "said").read_text().split(" ", 1)
        assert message.startswith(f"rank 0 of 2: {hows[how]}")
        assert "then the same command goes on from the last checkpoint" in message
        assert int(seconds) < 100


def test_ranks_refuse_a_folder_that_not_all_nodes_see_and_a_model_that_is_split_already(tmp_path: Path) -> None:
    for rank, (of_folder, of_model) in enumerate(splitting.on_two_ranks(splitting.refused, tmp_path)):
        assert of_folder.startswith(f"{tmp_path / str(rank)}: is not one folder for all nodes, and checkpoints hold")
        assert of_model.startswith("model: its weights are split over ranks already")


def logged(found: dict[str, Any]) -> list[dict[str, float]]:
    """What is logged, but for times and for what TRL takes by micro-batch; the last row is of the whole run."""
    rows = [row for row in found.get("log", []) if "train_runtime" not in row]
    return [{key: value for key, value in row.items() if key not in UNEQUAL} for row in rows]


def assert_same_log(found: list[dict[str, float]], wanted: list[dict[str, float]], rel: float) -> None:
    assert len(found) == len(wanted)
    for row, other in zip(found, wanted, strict=True):
        assert row == pytest.approx(other, rel=rel, abs=1e-8)


def assert_same_weights(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "recipe" / "run" / name).read_text().splitlines()]
