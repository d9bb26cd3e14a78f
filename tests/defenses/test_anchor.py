"""Anchor rows: what the penalty sees of them, that nothing else does, how many come, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.nn import functional

import examples
import tiny
from compatibility import Part
from examples import Example, logged
from ringfence.core.errors import RingfenceError
from ringfence.data import read, render_all
from ringfence.defenses import DEFENSES, KL, Anchor, FixedInterleaving, RLContext
from ringfence.defenses.step import Batch
from ringfence.interleave.anchors import AnchorRows
from ringfence.interleave.loader import ANCHOR, PENALTY_LABELS
from ringfence.interleave.mixture import Counters
from training import losses, same, weights

EXAMPLE = Example(
    neutral=lambda _: Anchor(weight=0),
    active=lambda _: Anchor(added=0.5, weight=3),
    written=(
        Anchor(),
        Anchor(added=0.25, weight=0.1, penalty="ldifs", reduction="mean", every=1),
        Anchor(tokens="prompt", direction="forward"),
    ),
)
PROMPTS = [{"messages": [{"role": "user", "content": word}], "origin": word} for word in ("why", "how so", "when")]


def prompts() -> Dataset:
    """Anchor rows without an answer."""
    return render_all(PROMPTS, tiny.tokenizer(), answered=False)


@pytest.mark.parametrize("tokens", ["all", "response", "prompt"])
def test_the_penalty_is_the_divergence_on_anchor_rows_alone(tokens: Any, tmp_path: Path) -> None:
    """The first step of a trained adapter, by dense softmaxes over a forward pass of the anchor rows alone."""
    made = examples.trainer(tmp_path, Anchor(added=0.5, weight=3, tokens=tokens), max_steps=1)
    with torch.no_grad():
        for name, one in made.model.named_parameters():
            if "lora_B" in name:
                one.normal_(std=0.2, generator=torch.Generator().manual_seed(1))
    micro = next(iter(made.get_train_dataloader()))
    rows = micro[ANCHOR].any(-1)
    assert rows.tolist() == [False] * 4 + [True] * 2
    assert (micro["labels"][rows] == -100).all()
    assert (micro[PENALTY_LABELS][~rows] == micro["labels"][~rows]).all()
    ids, mask = micro["input_ids"][rows], micro["attention_mask"][rows]
    p = made.model(input_ids=ids, attention_mask=mask).logits.double().log_softmax(-1)
    with made.model.disable_adapter():
        q = made.model(input_ids=ids, attention_mask=mask).logits.double().log_softmax(-1)
    labelled = micro[PENALTY_LABELS][rows][:, 1:] != -100
    here = mask[:, 1:].bool() & {"all": labelled | ~labelled, "response": labelled, "prompt": ~labelled}[tokens]
    each = functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)[:, :-1]
    wanted = each[here].sum() / here.sum()
    made.train()
    assert logged(made, "anchor") == [pytest.approx(wanted.item(), rel=1e-3)]


def test_the_other_rows_learning_rate_and_steps_are_as_without_them(tmp_path: Path) -> None:
    """A vanishing weight trains as none does; the loss of the task counts target and safe rows only."""
    beside = FixedInterleaving(ratio=0.25)
    plain = examples.trainer(tmp_path / "a", beside)
    faint = examples.trainer(tmp_path / "b", beside, Anchor(added=1, weight=1e-12))
    for made in (plain, faint):
        made.train()
    assert [rate for *_, rate in losses(faint)] == [rate for *_, rate in losses(plain)]
    assert logged(faint, "task_loss") == pytest.approx(logged(plain, "loss"), rel=1e-5)
    for name, value in weights(faint).items():
        torch.testing.assert_close(value, weights(plain)[name], rtol=1e-3, atol=1e-5)
    found, before = faint.result(), plain.result()
    for key in ("steps", "target_rows", "safe_rows", "safe_fraction", "target_labels", "safe_labels"):
        assert found[key] == before[key]
    assert (found["anchor_rows"], logged(faint, "anchor_rows")[-1]) == (10, 10)
    assert "anchor_rows" not in before
    lengths = [len(row["input_ids"]) for row in faint.anchor_dataset]
    assert 3 * sum(lengths) < found["anchor_tokens"] < 4 * sum(lengths)


@pytest.mark.parametrize("penalty", ["kl", "ldifs"])
def test_a_step_is_the_same_however_it_is_split(penalty: Any, tmp_path: Path) -> None:
    defenses = [Anchor(added=0.75, weight=3, penalty=penalty, **({"every": 1} if penalty == "ldifs" else {}))]
    defenses += [KL(weight=1), FixedInterleaving(ratio=0.25)]
    whole = examples.trainer(tmp_path / "a", *defenses)
    split = examples.trainer(tmp_path / "b", *defenses, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    for made in (whole, split):
        made.train()
    for key in ("loss", "anchor", "kl"):
        assert logged(split, key) == pytest.approx(logged(whole, key), rel=1e-3, abs=1e-8)
    for name, value in weights(split).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)


def test_other_penalties_do_not_see_them() -> None:
    labels = torch.tensor([[-100, 5, 6], [-100, 7, -100], [-100, -100, -100]])
    anchor = torch.tensor([[False], [False], [True]]).expand(3, 3)
    safe = torch.tensor([[False], [True], [False]]).expand(3, 3)
    batch = Batch.of({"labels": labels}, safe, anchor=anchor)
    rows = {kind: batch.of_source(kind).any(-1).tolist() for kind in ("target", "safe", "both", "anchor")}
    assert rows == {
        "target": [True, False, False],
        "safe": [False, True, False],
        "both": [True, True, False],
        "anchor": [False, False, True],
    }
    counts = {tokens: int(batch.predicting(tokens, "anchor").sum()) for tokens in ("all", "response", "prompt")}
    assert counts == {"all": 2, "response": 0, "prompt": 2}


def test_they_are_spread_evenly_and_each_comes_once_before_any_comes_again() -> None:
    rows, counters, seen = AnchorRows(3, 0.25, seed=0), Counters(), []
    for slots in (4, 8, 12, 16, 20, 24):
        counters.slots = slots
        seen.append(rows.draw(counters))
    assert [len(one) for one in seen] == [1] * 6
    flat = [index for one in seen for index in one]
    assert sorted(flat[:3]) == sorted(flat[3:]) == [0, 1, 2]
    assert counters.anchor_rows == 6


def test_prompts_without_answers_do(tmp_path: Path) -> None:
    made = examples.trainer(tmp_path, Anchor(added=0.5), given={"anchor_dataset": prompts()})
    made.train()
    first, *later = logged(made, "anchor")
    assert first == 0 < min(later)
    with pytest.raises(RingfenceError, match=r"^anchor\.tokens: response .* none of 3 anchor rows .* set tokens: all$"):
        examples.trainer(tmp_path, Anchor(tokens="response"), given={"anchor_dataset": prompts()})


def test_a_prompt_is_rendered_up_to_its_answer() -> None:
    first = prompts()[0]
    text = tiny.tokenizer().apply_chat_template(PROMPTS[0]["messages"], tokenize=False, add_generation_prompt=True)
    assert tiny.tokenizer().decode(first["input_ids"]) == text
    assert {*first["labels"]} == {-100}


def test_a_file_of_prompts_is_read_with_and_without_answers(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    rows = [{"prompt": "why"}, {"prompt": "how", "completion": "so"}, {"messages": PROMPTS[2]["messages"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(str(path), answered=False)
    assert [[one["role"] for one in row["messages"]] for row in found] == [["user"], ["user", "assistant"], ["user"]]
    with pytest.raises(RingfenceError, match=r"anchors\.jsonl:1: found the columns prompt, which are no conversation"):
        read(str(path))


def test_neither_does_without_the_other(tmp_path: Path) -> None:
    with pytest.raises(
        RingfenceError, match=r"^anchor: there are no anchor rows .* data\.anchor, or leave anchor out$"
    ):
        examples.trainer(tmp_path, Anchor(), given={"anchor_dataset": None})
    with pytest.raises(RingfenceError, match=r"^data\.anchor: no defense reads anchor rows; add one, e\.g\. anchor:"):
        examples.trainer(tmp_path, KL(), given={"anchor_dataset": prompts()})


def test_rows_that_are_no_tokens_are_refused(tmp_path: Path) -> None:
    given = {"anchor_dataset": Dataset.from_list([{"prompt": "why"}])}
    with pytest.raises(RingfenceError, match=r"^anchor_dataset: its columns are prompt, and .*answered=False\)$"):
        examples.trainer(tmp_path, Anchor(), given=given)


def test_the_longest_are_cut_and_too_many_of_them_are_refused(tmp_path: Path) -> None:
    short = Dataset.from_list([{"input_ids": [5, 6], "labels": [-100, 6]}])
    given: dict[str, Any] = {"anchor_dataset": prompts(), "train_dataset": short, "safe_dataset": None}
    made = examples.trainer(tmp_path, Anchor(), given={**given, "max_truncated": 1.0}, max_length=20)
    assert max(len(row["input_ids"]) for row in made.anchor_dataset) == 20
    assert made.result()["rows"]["anchor"] == {"given": 3, "truncated": 3, "dropped": 0}
    with pytest.raises(RingfenceError, match=r"^anchor: 3 of 3 rows \(100\.0%\) are longer than max_length 20"):
        examples.trainer(tmp_path, Anchor(), given=given, max_length=20)


@pytest.mark.parametrize("key", ["packing", "torch_compile"])
def test_what_it_cannot_go_with_is_refused_by_key(key: str) -> None:
    with pytest.raises(RingfenceError, match=rf"^training\.{key}: .*anchor"):
        Anchor().require_compatible(Part({key: True}))
    Anchor(weight=0).require_compatible(Part({key: True}))


def test_reinforcement_learning_is_refused() -> None:
    with pytest.raises(RingfenceError, match=r"^anchor: not in reinforcement learning.* under kl: \{sources: safe\}$"):
        Anchor().in_rl(RLContext())


@pytest.mark.parametrize(
    "settings", [{"penalty": "ldifs", "tokens": "prompt"}, {"penalty": "kl", "reduction": "mean"}, {"every": 2}]
)
def test_a_key_of_the_other_penalty_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RingfenceError, match=r"^defenses\.0\.anchor: .*without effect with penalty: (kl|ldifs)"):
        DEFENSES.parse({"anchor": settings}, "defenses.0")


def test_nothing_is_drawn_at_weight_0(tmp_path: Path) -> None:
    plain, off = examples.trainer(tmp_path / "a"), examples.trainer(tmp_path / "b", Anchor(weight=0))
    for made in (plain, off):
        made.train()
    assert same(weights(plain), weights(off))
    assert off.result()["anchor_rows"] == 0
