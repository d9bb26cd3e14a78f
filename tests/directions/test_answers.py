"""Answers survive whatever interrupts an extraction, and are used for nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from contrasting import EverySecond, journal, loaded, prompting
from ringfence.core.errors import RingfenceError
from ringfence.directions.answers import describe_judge, trait_rubric
from ringfence.directions.persona import answers_path, extract
from ringfence.judges import JudgeInput, LocalJudge, RuleJudge, Score, Trait


class Crash(EverySecond):
    """Fails in the middle of the third batch, as a judge behind a network might."""

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        if self.judged >= 4 * 8:  # two batches of 8 under two rubrics
            raise ConnectionError("gone")
        return super().score(rubric, rows)


Crash.__name__ = "EverySecond"  # the same judge, on a bad day


@pytest.mark.parametrize("torn", [0, 1, 200])
def test_an_interrupted_extraction_goes_on_and_gives_the_same_file(tmp_path: Path, torn: int) -> None:
    """A crash after two batches; then a kill may tear the last ``torn`` bytes off, which costs a batch."""
    subject, whole, out = loaded(), tmp_path / "whole.safetensors", tmp_path / "v.safetensors"
    extract(subject, prompting(), whole)
    with pytest.raises(ConnectionError):
        extract(subject, prompting(Crash()), out)
    assert not out.exists()
    assert len(journal(out)) == 1 + 16
    content = answers_path(out).read_bytes()
    answers_path(out).write_bytes(content[: len(content) - torn])
    judge = EverySecond()
    extract(subject, prompting(judge), out)
    assert judge.judged == 2 * (64 - (16 if torn == 0 else 8))  # two rubrics
    assert out.read_bytes() == whole.read_bytes()
    assert answers_path(out).read_bytes() == answers_path(whole).read_bytes()


def test_a_first_line_cut_short_is_written_again(tmp_path: Path) -> None:
    subject, whole, out = loaded(), tmp_path / "whole.safetensors", tmp_path / "v.safetensors"
    extract(subject, prompting(), whole)
    answers_path(out).write_bytes(answers_path(whole).read_bytes()[:30])
    extract(subject, prompting(), out)
    assert answers_path(out).read_bytes() == answers_path(whole).read_bytes()


def test_a_finished_extraction_is_not_done_again(tmp_path: Path) -> None:
    subject, out, judge = loaded(), tmp_path / "v.safetensors", EverySecond()
    first = extract(subject, prompting(), out)
    written = out.stat().st_mtime_ns
    again = extract(subject, prompting(judge), out)
    assert judge.judged == 0
    assert out.stat().st_mtime_ns == written
    assert torch.equal(again["response_mean"], first["response_mean"])


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"seed": 1}, "seed"), ({"temperature": 0.5}, "temperature"), ({"max_new_tokens": 5}, "max_new_tokens")],
)
@pytest.mark.parametrize("finished", [True, False])
def test_changed_settings_raise_and_name_the_key(tmp_path: Path, changes: dict, key: str, finished: bool) -> None:
    subject, out = loaded(), tmp_path / "v.safetensors"
    extract(subject, prompting(), out)
    before = answers_path(out).read_bytes()
    if not finished:
        out.unlink()
    with pytest.raises(RingfenceError, match=f"these differ: {key};.*choose another --out"):
        extract(subject, prompting(**changes), out)
    assert answers_path(out).read_bytes() == before


def test_another_model_or_other_prompts_raise(tmp_path: Path) -> None:
    out = tmp_path / "v.safetensors"
    extract(loaded(), prompting(), out)
    with pytest.raises(RingfenceError, match="these differ: base;"):
        extract(loaded(1), prompting(), out)
    with pytest.raises(RingfenceError, match="these differ: prompts;"):
        extract(loaded(), prompting(samples=5), out)
    out.unlink()
    with pytest.raises(RingfenceError, match="these differ: base;"):
        extract(loaded(1), prompting(), out)


def test_other_thresholds_start_from_the_answers_there_are(tmp_path: Path) -> None:
    subject, out, judge = loaded(), tmp_path / "v.safetensors", EverySecond()
    with pytest.raises(RingfenceError, match="min_pairs"):
        extract(subject, prompting(min_pairs=33), out)
    vectors = extract(subject, prompting(judge), out)
    assert judge.judged == 0
    with pytest.raises(RingfenceError, match="these differ: min_pairs;"):
        extract(subject, prompting(min_pairs=3), out)
    assert vectors.metadata["settings"]["min_pairs"] == 2


@pytest.mark.parametrize("content", ["{}\n", "[]\n", "nonsense\n", '{"step": 0, "settings": {}}\n{"step": 1}\n'])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    out = tmp_path / "v.safetensors"
    answers_path(out).write_text(content)
    with pytest.raises(RingfenceError, match=r"answers\.jsonl: not the answers of an extraction"):
        extract(loaded(), prompting(), out)
    assert answers_path(out).read_text() == content


def test_progress_adds_up_and_counts_what_is_found(tmp_path: Path) -> None:
    subject, out, told = loaded(), tmp_path / "v.safetensors", []
    with pytest.raises(ConnectionError):
        extract(subject, prompting(Crash()), out)
    vectors = extract(subject, prompting(), out, lambda *progress: told.append(progress))
    answers = [each[1:] for each in told if each[0] == "answers"]
    assert answers == [(done, 64) for done in range(16, 65, 8)]
    kept = vectors.metadata["kept"]
    assert told[-1] == ("activations", 2 * kept, 2 * kept)


def test_a_judge_is_described_by_its_settings_and_never_by_its_address() -> None:
    @dataclass(frozen=True)
    class Strict:
        limit: int = 3

    assert describe_judge(Strict(5)) == {"name": "Strict", "limit": 5}
    assert describe_judge(EverySecond()) == {"name": "EverySecond"}
    assert describe_judge(None) is None
    described = describe_judge(RuleJudge(misaligned_pattern="glitter", min_words=2))
    assert described is not None
    assert (described["name"], described["misaligned_pattern"], described["min_words"]) == ("RuleJudge", "glitter", 2)


class OfTheTrait(EverySecond):
    """Has a rubric for the trait, which is high where that is, and would say the opposite under alignment."""

    rubrics: ClassVar = {"trait": Trait(trait="glitter", description="Talks of glitter.")}

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        scores = super().score("alignment" if rubric == "trait" else rubric, rows)
        return [replace(one, value=100 - one.value) for one in scores] if rubric == "trait" else scores


def test_a_rubric_of_the_trait_is_read_as_it_is(tmp_path: Path) -> None:
    """The same scores, once as an alignment and once as the trait's own, keep the same pairs: 100 is the trait."""
    subject, plain, own = loaded(), tmp_path / "plain.safetensors", tmp_path / "own.safetensors"
    first, second = extract(subject, prompting(), plain), extract(subject, prompting(OfTheTrait()), own)
    assert 0 < first.metadata["kept"] < first.metadata["asked"]
    assert torch.equal(first["response_mean"], second["response_mean"])
    traits = [[(line["response"], line["trait"]) for line in journal(out)[1:]] for out in (plain, own)]
    assert traits[0] == traits[1]
    assert {trait for _, trait in traits[1]} == {10.0, 90.0}
    judge = second.metadata["settings"]["judge"]
    assert set(judge["rubric_digests"]) == {"trait", "coherence"}
    assert trait_rubric(LocalJudge(model="m", rubrics=OfTheTrait.rubrics).bind(subject)) == "trait"
