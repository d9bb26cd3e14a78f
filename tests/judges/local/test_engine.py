"""The probabilities of all numbers by an engine, against the judge in this process on the same weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

import tiny
from numbering import DIGITS, SOME, WHOLE
from ringfence.core.errors import RingfenceError
from ringfence.judges import JudgeInput
from ringfence.judges.local import engine as module
from ringfence.judges.local import local as local_module
from ringfence.judges.local.distribution import score_distribution
from ringfence.judges.local.engine import engine_distribution
from ringfence.judges.local.local import LocalJudge
from ringfence.models.engine import Engine
from ringfence.models.load import load
from scripted import Scripted, instead_of_vllm

START = "Rate what follows from zero to a hundred.\n"
PROMPTS = [f"{START}Short.\n", f"{START}This one is much longer, 12 words or so.\n", f"{START}A bit more.\n"]
VALUES = torch.arange(101, dtype=torch.float64)


def llama(vocabulary: Any) -> Any:
    """Says digits, and what depends on the whole text."""
    model = tiny.model()
    model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    return tiny.shaken(model, seed=3, scale=0.4).eval()


def engine(vocabulary: Any = DIGITS, **settings: Any) -> Engine:
    return Engine(Scripted(llama(vocabulary)), "tiny", vocabulary, **settings)


@pytest.mark.parametrize(("vocabulary", "labels"), [(DIGITS, 128), (WHOLE, 128), (SOME, 40)])
def test_it_equals_the_judge_in_this_process(vocabulary: Any, labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1e-3 of a score from 0 to 100, however many tokens a call tells of."""
    monkeypatch.setattr(module, "LABELS", labels)
    batches: list[list[int]] = []
    found = engine_distribution(engine(vocabulary), PROMPTS, 2, lambda indices, _: batches.append([*indices]))
    expected = score_distribution(llama(vocabulary), vocabulary, PROMPTS)
    torch.testing.assert_close(found.probabilities, expected.probabilities, atol=1e-6, rtol=1e-4)
    means = [one.probabilities @ VALUES / one.probabilities.sum(-1) for one in (found, expected)]
    assert (means[0] - means[1]).abs().max() < 1e-3
    assert found.first == expected.first
    assert batches == [[0, 1], [2]]


def test_what_is_hardly_reached_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """102 nodes, of which only those are asked that matter; what is left out moves no mean by more than it may."""
    every, few = engine(), engine()
    monkeypatch.setattr(module, "NEGLIGIBLE", 0)
    exact = engine_distribution(every, PROMPTS[:1]).probabilities
    monkeypatch.setattr(module, "NEGLIGIBLE", 1e-3)
    rough = engine_distribution(few, PROMPTS[:1]).probabilities
    asked = [sum(count for _, count in one._backend.asked) for one in (every, few)]  # type: ignore[attr-defined]
    assert asked[0] == 102
    assert asked[1] < 80
    assert (exact - rough).abs().max() < 1e-3


def test_a_prompt_without_room_is_not_read() -> None:
    """The longest number is three tokens, and one more is drawn behind it."""
    length = len(DIGITS(PROMPTS[0])["input_ids"])
    found = engine_distribution(engine(max_length=length + 4), PROMPTS[:2])
    assert found.unread.keys() == {1}
    assert found.unread[1].endswith(f"and it reads {length}")
    assert found.probabilities[0].sum() > 0
    assert found.probabilities[1].sum() == 0
    assert engine_distribution(engine(), []).first == []


ROWS = [JudgeInput("Why?", f"{'x' * number}!") for number in range(5)]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a judge in a folder, with a short rubric and a cache."""
    tiny.shaken(tiny.model(), scale=0.4).save_pretrained(tmp_path / "judge")
    tiny.tokenizer().save_pretrained(tmp_path / "judge")
    (tmp_path / "short.txt").write_text("Rate this answer.\nQ: {question}\nA: {answer}\nA number only.")
    monkeypatch.setattr(local_module, "_load", local_module._load.__wrapped__)  # not kept for other tests
    rubrics = {"short": str(tmp_path / "short.txt")}
    return {"model": str(tmp_path / "judge"), "rubrics": rubrics, "cache": str(tmp_path / "cache"), "min_mass": 0}


def test_a_judge_by_vllm_scores_as_the_one_here_and_a_kill_loses_one_batch(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five rows in batches of 2, each asked level by level; killed in the second batch. What is kept is its own."""
    started = instead_of_vllm(monkeypatch)
    judge = LocalJudge(**settings, engine="vllm", batch_size=2)
    judge.require_key()
    whole = Scripted.generate

    def killed(self: Scripted, *args: Any) -> Any:
        if len(self.asked) == 6:
            raise KeyboardInterrupt
        return whole(self, *args)

    monkeypatch.setattr(Scripted, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        judge.score("short", ROWS)
    monkeypatch.setattr(Scripted, "generate", whole)
    found = judge.score("short", ROWS)
    assert [one.asked[0][1] for one in started] == [2, 2], "the first level of a batch; of the second time the next two"
    assert sum(count for _, count in started[1].asked) <= 3 * 102, "two rows were kept"
    here = LocalJudge(**settings).score("short", ROWS)
    assert [one.value for one in found] == pytest.approx([one.value for one in here], abs=1e-3)
    assert [one.mass for one in found] == pytest.approx([one.mass for one in here], abs=1e-5)
    monkeypatch.setattr(local_module, "_load", lambda *_: pytest.fail("it is all known"))
    assert judge.score("short", ROWS) == found


def test_what_a_judge_cannot_be_computed_by_is_named(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(RingfenceError, match="vLLM is missing"):
        LocalJudge(**settings, engine="vllm").require_key()
    with pytest.raises(ValidationError, match="a local judge has hf or vllm"):
        LocalJudge(**settings, engine="http://localhost:8000/v1")
    with pytest.raises(ValidationError, match="unknown generator 'vlm'"):
        LocalJudge(**settings, engine="vlm")


def test_a_judge_in_memory_is_computed_here(settings: dict[str, Any]) -> None:
    judge = LocalJudge(**settings, engine={"kind": "vllm", "memory": 0.4})
    assert LocalJudge.model_validate(judge.model_dump(mode="json")) == judge
    scores = judge.bind(load(settings["model"])).score("short", ROWS[:1])
    assert scores[0].value is not None
