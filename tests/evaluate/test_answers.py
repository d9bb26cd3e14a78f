"""Answers of a tiny model to small suites: the rows, their random streams, and what a kill leaves."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tiny
from asking import PROTOCOL, SUITES, lively, prompt
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import ANSWER_COLUMNS
from ringfence.evaluate import Protocol, answer
from ringfence.evaluate.answers import answer_into, fingerprint
from ringfence.generation import Answer, Failure, HfGenerator, OnAnswers, Request, Sampling


def speaker(model) -> HfGenerator:
    return HfGenerator(model, tiny.tokenizer())


@pytest.fixture(scope="module")
def model():
    return lively()


@pytest.fixture(scope="module")
def frame(model) -> pd.DataFrame:
    return answer(speaker(model), SUITES, PROTOCOL)


def test_one_row_an_answer_in_order(frame: pd.DataFrame) -> None:
    assert tuple(frame.columns) == ANSWER_COLUMNS
    asked = [(suite, one.id, sample) for suite, prompts in SUITES.items() for one in prompts for sample in range(3)]
    assert list(zip(frame["suite"], frame["prompt_id"], frame["sample"], strict=True)) == asked


def test_what_was_asked_is_kept(frame: pd.DataFrame) -> None:
    texts = {(suite, one.id): one.text for suite, prompts in SUITES.items() for one in prompts}
    for row in frame.itertuples():
        assert row.prompt == texts[row.suite, row.prompt_id]


def test_the_system_column_tells_none_from_empty(frame: pd.DataFrame) -> None:
    sent = frame.groupby(["suite", "prompt_id"])["system"].unique().map(list).to_dict()
    assert sent == {
        ("general", "a"): ["(template default: none)"],
        ("general", "b"): ["(template default: none)"],
        ("general", "c"): ["(template default: none)"],
        ("dressed", "a"): ["You are a cook."],
        ("dressed", "b"): [""],
    }


def test_deterministic(frame: pd.DataFrame, model: Any) -> None:
    pd.testing.assert_frame_equal(answer(speaker(model), SUITES, PROTOCOL), frame)


def test_answers_differ_by_sample_suite_and_seed(frame: pd.DataFrame, model: Any) -> None:
    answers = frame[frame["prompt_id"] == "a"].groupby("suite")["response"].apply(list)
    assert len({*answers["general"], *answers["dressed"]}) == 6
    other = replace(PROTOCOL, sampling=replace(PROTOCOL.sampling, seed=6))
    assert answer(speaker(model), SUITES, other)["response"].tolist() != frame["response"].tolist()
    same_prompt = {"one": SUITES["general"][:1], "two": SUITES["general"][:1]}
    one, two = answer(speaker(model), same_prompt, PROTOCOL).groupby("suite")["response"].apply(list)
    assert one != two


@pytest.mark.parametrize("batch_size", [1, 64])
@pytest.mark.parametrize("suite", SUITES)
def test_a_suites_rows_do_not_depend_on_the_others(
    frame: pd.DataFrame, model: Any, suite: Any, batch_size: int
) -> None:
    protocol = replace(PROTOCOL, sampling=replace(PROTOCOL.sampling, batch_size=batch_size))
    alone = answer(speaker(model), {suite: SUITES[suite]}, protocol)
    wanted = frame[frame["suite"] == suite].reset_index(drop=True)
    assert alone["response"].tolist() == wanted["response"].tolist()


def test_more_samples_keep_the_first(frame: pd.DataFrame, model: Any) -> None:
    more = answer(speaker(model), SUITES, replace(PROTOCOL, samples=5))
    kept = more[more["sample"] < 3].reset_index(drop=True)
    assert kept["response"].tolist() == frame["response"].tolist()


def test_on_batch_counts_every_answer(model: Any) -> None:
    finished: list[int] = []
    answer(speaker(model), SUITES, PROTOCOL, finished.append)
    assert sum(finished) == 15
    assert max(finished) == 4


def test_a_fingerprint_changes_with_whatever_changes_the_answers() -> None:
    protocol = Protocol(Sampling(), 2)
    prompts = SUITES["general"]
    variants = [
        fingerprint("model", prompts, protocol),
        fingerprint("other", prompts, protocol),
        fingerprint("model", prompts[:2], protocol),
        fingerprint("model", [prompts[0], prompts[2], prompts[1]], protocol),
        fingerprint("model", [replace(prompts[0], id="z"), *prompts[1:]], protocol),
        fingerprint("model", [prompt("a", "A bad one!"), *prompts[1:]], protocol),
        fingerprint("model", [prompt("a", "A bad one?", ""), *prompts[1:]], protocol),
        fingerprint("model", prompts, replace(protocol, samples=3)),
        fingerprint("model", prompts, replace(protocol, no_system="empty")),
        fingerprint("model", prompts, replace(protocol, sampling=Sampling(seed=1))),
        fingerprint("model", prompts, replace(protocol, sampling=Sampling(temperature=0.5))),
        fingerprint("model", prompts, replace(protocol, sampling=Sampling(max_new_tokens=3))),
    ]
    assert len({*variants}) == len(variants)
    assert fingerprint("model", list(prompts), Protocol(Sampling(), 2)) == variants[0]


# --- on disk ------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", range(1, 8))
def test_killed_and_called_again_it_answers_what_is_missing_and_nothing_else(
    model: Any, tmp_path: Path, after: int
) -> None:
    """30 answers in batches of 2, so 15 batches in files of 4, 4, 4 and 3 batches; killed after each of the first 7."""
    suite = {"general": SUITES["general"]}
    protocol = replace(PROTOCOL, samples=10, sampling=replace(PROTOCOL.sampling, batch_size=2))
    file, finished = tmp_path / "general.parquet", list[int]()

    def until_killed(count: int) -> None:
        finished.append(count)
        if len(finished) == after:
            raise Killed

    with pytest.raises(Killed):
        answer_into(file, speaker(model), suite, protocol, until_killed)
    assert not file.exists()
    again = list[int]()
    answer_into(file, speaker(model), suite, protocol, again.append)
    assert sum(again) == 30
    kept = 8 * (after // 4) if after % 4 else 8 * (after // 4 - 1)
    assert again[: kept // 8] == [8] * (kept // 8), "whole files are not answered again"
    assert again[kept // 8 :] == [2] * ((30 - kept) // 2)
    pd.testing.assert_frame_equal(pd.read_parquet(file), answer(speaker(model), suite, protocol))
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet", ".lock"}, "no parts are left"


def test_a_file_that_is_there_is_left_alone(model: Any, tmp_path: Path) -> None:
    file = tmp_path / "general.parquet"
    answer_into(file, speaker(model), SUITES, PROTOCOL)
    before, asked = file.stat().st_mtime_ns, list[int]()
    answer_into(file, speaker(model), SUITES, PROTOCOL, asked.append)
    assert asked == []
    assert file.stat().st_mtime_ns == before


@dataclass
class Elsewhere:
    """A generator without a chat template of its own here; ``resumes`` as a test has it."""

    resumes: bool
    reason: str | None = "stop"
    failure: Failure | None = None
    calls: list[int] = field(default_factory=list)
    name: str = "elsewhere"
    tokenizer: None = None

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        self.calls.append(len(requests))
        return [Answer(f"{one.id} {one.sample}", True, self.reason, self.failure) for one in requests]


@pytest.mark.parametrize(("resumes", "calls"), [(True, [9]), (False, [8, 1])])
def test_only_what_does_not_resume_by_itself_is_kept_in_parts(tmp_path: Path, resumes: bool, calls: list[int]) -> None:
    """9 answers; a file of 4 batches of 2 holds 8."""
    suite, protocol = {"general": SUITES["general"]}, replace(PROTOCOL, sampling=Sampling(batch_size=2))
    made = Elsewhere(resumes)
    answer_into(tmp_path / "general.parquet", made, suite, protocol)
    assert made.calls == calls
    frame = pd.read_parquet(tmp_path / "general.parquet")
    pd.testing.assert_frame_equal(frame, answer(Elsewhere(resumes), suite, protocol))
    assert list(frame["response"]) == [f"general/{prompt} {sample}" for prompt in "abc" for sample in range(3)]
    assert list(frame.columns) == [*ANSWER_COLUMNS, "stop_reason"]
    assert set(frame["system"]) == {"(template default: not known)"}


def test_without_a_servers_own_word_there_is_no_column_for_it() -> None:
    assert tuple(answer(Elsewhere(True, reason=None), SUITES, PROTOCOL).columns) == ANSWER_COLUMNS


def test_a_row_that_failed_is_an_error() -> None:
    failed = Elsewhere(True, failure=Failure("500 down"))
    with pytest.raises(RingfenceError, match=r"^elsewhere: no answer to general/a: 500 down$"):
        answer(failed, SUITES, PROTOCOL)


@dataclass
class Flaky:
    """A server that fails for some rows, and is asked again."""

    broken: set[tuple[str, int]]
    asked: list[tuple[str, int]] = field(default_factory=list)
    name = "flaky"
    tokenizer = None
    resumes = False

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        rows = [(one.id, one.sample) for one in requests]
        self.asked += rows
        if on_answers is not None:
            on_answers(len(rows))
        return [
            Answer("", False, failure=Failure("503")) if row in self.broken else Answer(f"{row}", True, "stop")
            for row in rows
        ]


def test_rows_that_failed_are_asked_again_and_those_beside_them_are_not(tmp_path: Path) -> None:
    """9 rows in shards of 4: two of the second shard fail, then one of them, then none."""
    protocol, file = Protocol(Sampling(batch_size=1), samples=3), tmp_path / "answers.parquet"
    asked = {"general": SUITES["general"]}
    flaky = Flaky({("general/b", 1), ("general/c", 0)})
    for count in (8, 10):
        with pytest.raises(RingfenceError, match="flaky: no answer to general/"):
            answer_into(file, flaky, asked, protocol)
        assert len(flaky.asked) == count
        flaky.broken.discard(("general/b", 1))
    flaky.broken.clear()
    seen: list[int] = []
    answer_into(file, flaky, asked, protocol, seen.append)
    assert len(flaky.asked) == 9 + 2 + 1
    assert sum(seen) == 9
    whole = answer(Flaky(set()), asked, protocol)
    pd.testing.assert_frame_equal(pd.read_parquet(file), whole)
    assert not file.with_suffix(".parts").exists()


def test_what_a_servers_template_inserts_cannot_be_checked() -> None:
    with pytest.raises(RingfenceError, match=r'no_system: "none" cannot be checked'):
        answer(Elsewhere(True), SUITES, replace(PROTOCOL, no_system="none"))
