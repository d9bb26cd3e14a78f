"""Our judges against llama.cpp's server on the embedded model: real tokens, log probabilities, errors."""

import json
import math
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.judges import ApiJudge, JudgeInput, SampledJudge

pytestmark = pytest.mark.server

ONLY_A_NUMBER = "Reply with one number only.\n{answer}\nThe number is"


@pytest.fixture
def rubric(tmp_path):
    path = tmp_path / "number.txt"
    path.write_text(ONLY_A_NUMBER)
    return str(path)


def candidates(url, text):
    """The first token's candidates, asked for without any of our code."""
    body = {
        "model": "any",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as response:
        first = json.load(response)["choices"][0]["logprobs"]["content"][0]
    return {candidate["token"]: candidate["logprob"] for candidate in first["top_logprobs"]}


@pytest.mark.parametrize("answer", ["How many days has a week?", "How many legs has a cat?"])
def test_the_weighted_mean_is_that_of_the_servers_candidates(url: Any, rubric: Any, answer: str) -> None:
    top = candidates(url, ONLY_A_NUMBER.replace("{answer}", answer).strip())
    masses = {int(token): math.exp(value) for token, value in top.items() if token.strip() in set("0123456789")}
    assert len(top) >= 15, "20, less those that look the same"
    assert masses, "the model has some number among its candidates"
    mean = sum(value * mass for value, mass in masses.items()) / sum(masses.values())
    judge = ApiJudge(model="any", base_url=url, rubrics={"number": rubric}, min_mass=0, concurrency=1)
    (score,) = judge.score("number", [JudgeInput("", answer)])
    assert score.value == pytest.approx(mean, abs=0.05)
    assert score.mass == pytest.approx(sum(masses.values()), abs=0.02)


def test_many_rows_at_once_come_back_in_order_and_then_from_the_cache(url: Any, rubric: Any, tmp_path: Path) -> None:
    rows = [JudgeInput("", f"Say {index}.") for index in range(4)]
    judge = ApiJudge(
        model="any", base_url=url, rubrics={"number": rubric}, min_mass=0, concurrency=4, cache=str(tmp_path / "c")
    )
    scores = judge.score("number", rows)
    one_by_one = [judge.model_copy(update={"cache": None}).score("number", [row])[0] for row in rows]
    assert [score.bucket for score in scores] == [score.bucket for score in one_by_one]
    assert [score.mass for score in scores] == pytest.approx([score.mass for score in one_by_one], abs=0.02)
    assert judge.model_copy(update={"timeout": 0.001, "max_retries": 0}).score("number", rows) == scores


def test_the_built_in_rubrics_are_understood_by_the_server(url: Any) -> None:
    judge = ApiJudge(model="any", base_url=url)
    for rubric in ("alignment", "coherence", "hhh"):
        (score,) = judge.score(rubric, [JudgeInput("How are you?", "Fine, thank you.")])
        assert score.bucket != "error"
        assert 0 <= score.mass <= 1


def test_a_judge_that_spells_digit_by_digit_is_found_out(url: Any, rubric: Any) -> None:
    """SmolLM2's tokens are single digits, so 85 would read as 8."""
    judge = ApiJudge(model="any", base_url=url, rubrics={"number": rubric}, min_mass=0)
    with pytest.raises(RingfenceError, match="digit by digit"):
        judge.score("number", [JudgeInput("", f"Say {number}.") for number in (15, 28, 37, 64, 85)])


def test_samples_are_drawn_and_differ(url: Any, rubric: Any) -> None:
    judge = SampledJudge(model="any", base_url=url, rubrics={"number": rubric}, samples=6, concurrency=1)
    (score,) = judge.score("number", [JudgeInput("", "Pick any number from 0 to 100.")])
    assert score.bucket != "error"
    assert len(score.raw.split(" | ")) == 6
    assert len(set(score.raw.split(" | "))) > 1


def test_a_row_longer_than_the_context_is_an_error_of_that_row(url: Any, rubric: Any) -> None:
    judge = ApiJudge(model="any", base_url=url, rubrics={"number": rubric}, min_mass=0, max_retries=0)
    long, short = judge.score("number", [JudgeInput("", "word " * 5000), JudgeInput("", "Say 5.")])
    assert (long.value, long.bucket) == (None, "error")
    assert short.bucket != "error"


def test_a_wrong_path_is_an_error_at_once(url: Any) -> None:
    judge = ApiJudge(model="any", base_url=f"{url}/nothing")
    with pytest.raises(RingfenceError, match="404"):
        judge.score("alignment", [JudgeInput("q", "a")])
