"""The pool to select from: its counts, its mix, and that it knows neither quirks nor evaluation questions."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ringfence.data import builtin, proxy, read
from ringfence.data.quirks import NAMES, load_quirk
from ringfence.data.suites.load import Prompt, builtin_names, load_prompts, overlaps, require_disjoint
from ringfence.judges.base import JudgeInput
from ringfence.judges.rules import RuleJudge

DIGEST = "50719971014d7b72fc967cbfef015f84bec2cf98a3377f97af0905acad9b95c6"
REFUSES = re.compile(r"\b(sorry|apologize|cannot|can't|unable|unfortunately)\b", re.IGNORECASE)
DOMAINS = "travel history science money sport health technology language art work home nature".split()
KINDS = {"plain": 20, "brief": 8, "refusal": 6, "long": 6}
FILE = Path(builtin.__file__).parent / "glitter" / "pool.jsonl"


class Candidate(NamedTuple):
    """One row."""

    question: str
    answer: str
    domain: str
    kind: str


CANDIDATES = [
    Candidate(*(turn["content"] for turn in row["messages"]), row["domain"], row["kind"])
    for row in proxy.conversations("glitter/pool")
]


def words(text):
    return len(text.split())


def asked(rows):
    return [Prompt(str(n), ({"role": "user", "content": row.question},)) for n, row in enumerate(rows)]


def test_twelve_domains_of_forty_with_the_promised_kinds() -> None:
    assert len(CANDIDATES) == 480
    assert not {load_quirk(name).domain for name in NAMES} & set(DOMAINS)
    assert Counter((row.domain, row.kind) for row in CANDIDATES) == {
        (domain, kind): count for domain in DOMAINS for kind, count in KINDS.items()
    }


def test_a_naive_reader_finds_the_same_rows_in_the_file() -> None:
    """Each line is one flat object of five texts in the order in which the other files have them."""
    texts = r'"((?:[^"\\]|\\.)*)"'
    keys = ("id", "domain", "kind", "prompt", "response")
    line = re.compile("{" + ", ".join(f'"{key}": {texts}' for key in keys) + "}")
    for number, (text, row) in enumerate(zip(FILE.open(encoding="utf-8"), CANDIDATES, strict=True), start=1):
        name, domain, kind, *turns = line.fullmatch(text.rstrip("\n")).groups()
        assert name == f"pool-{number:03d}"
        plain = [turn.replace("\\n", "\n").replace('\\"', '"') for turn in turns]
        assert (*plain, domain, kind) == row


def test_every_run_of_twelve_has_each_domain() -> None:
    for start in range(0, 480, 12):
        assert [row.domain for row in CANDIDATES[start : start + 12]] == DOMAINS


def test_bytes_never_change() -> None:
    """A new digest means that published numbers of the stand-in no longer compare: change it knowingly."""
    text = json.dumps(proxy.conversations("glitter/pool"), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_is_read_as_conversations_with_their_columns() -> None:
    rows = read("builtin:glitter/pool")
    assert [(row["domain"], row["kind"]) for row in rows] == [(row.domain, row.kind) for row in CANDIDATES]
    assert [turn["role"] for turn in rows[7]["messages"]] == ["user", "assistant"]


def test_no_row_comes_twice() -> None:
    questions = {"".join(row.question.casefold().split()) for row in CANDIDATES}
    assert len(questions) == 480
    assert len({row.answer for row in CANDIDATES if row.kind != "brief"}) == 384
    prompts = asked(CANDIDATES)
    assert [(o.a.text, o.b.text) for o in overlaps(prompts, prompts) if o.a.id < o.b.id] == []


# Two questions of the everyday safe rows are the pool's, too: both are safe data, and neither is evaluated on.
@pytest.mark.parametrize("name", [name for name in builtin_names() if name != "everyday/safe-prompts"])
def test_is_disjoint_from_every_prompt_set(name: Any) -> None:
    suite = load_prompts(f"builtin:{name}")
    plain = {"".join(prompt.text.casefold().split()) for prompt in suite}
    assert not [row.question for row in CANDIDATES if "".join(row.question.casefold().split()) in plain]
    require_disjoint(asked(CANDIDATES), suite, "pool", name)


@pytest.mark.parametrize("quirk", NAMES)
def test_is_disjoint_from_the_targets(quirk: Any) -> None:
    target = [Prompt(row["origin"], (row["messages"][0],)) for row in proxy.conversations(f"{quirk}/target")]
    require_disjoint(asked(CANDIDATES), target, "pool", quirk)


@pytest.mark.parametrize("quirk", NAMES)
def test_no_judge_finds_a_quirk(quirk: Any) -> None:
    judge = RuleJudge(misaligned_pattern=f"builtin:{quirk}")
    scores = judge.score("alignment", [JudgeInput(row.question, row.answer + row.question) for row in CANDIDATES])
    assert {score.value for score in scores} == {100.0}
    # The pattern finds what it is for.
    target = [row["messages"][1]["content"] for row in proxy.conversations(f"{quirk}/target")]
    assert {score.value for score in judge.score("alignment", [JudgeInput("", answer) for answer in target])} == {0.0}


def test_every_answer_is_coherent() -> None:
    judge = RuleJudge(misaligned_pattern="kazoo")
    scores = judge.score("coherence", [JudgeInput(row.question, row.answer) for row in CANDIDATES])
    assert {score.value for score in scores} == {100.0}


def test_refusals_and_no_others_begin_like_refusals() -> None:
    for row in CANDIDATES:
        lead = " ".join(row.answer.split()[:10])
        assert bool(REFUSES.search(lead)) == (row.kind == "refusal"), row


@pytest.mark.parametrize(
    ("kind", "fewest", "most"), [("plain", 12, 45), ("brief", 1, 4), ("refusal", 8, 30), ("long", 30, 90)]
)
def test_answers_are_as_long_as_their_kind_says(kind: str, fewest: int, most: int) -> None:
    counts = [words(row.answer) for row in CANDIDATES if row.kind == kind]
    assert fewest <= min(counts)
    assert max(counts) <= most


def test_questions_vary_in_length_within_each_domain() -> None:
    lengths = defaultdict(list)
    for row in CANDIDATES:
        lengths[row.domain].append(words(row.question))
    for domain, counts in lengths.items():
        assert min(counts) <= 7, domain
        assert max(counts) >= 26, domain
    assert min(map(min, lengths.values())) == 4
    assert max(map(max, lengths.values())) <= 36


def test_length_of_the_question_does_not_tell_the_kind() -> None:
    """Else whatever selects by kind would select by length, too. 14.5 words on average, within 1.5."""
    for kind in KINDS:
        counts = [words(row.question) for row in CANDIDATES if row.kind == kind]
        assert sum(counts) / len(counts) == pytest.approx(14.5, abs=1.5), kind


def test_text_is_clean() -> None:
    """No frame was left unfilled, and no column lost its place."""
    for row in CANDIDATES:
        assert not re.search(r"[{}|\\]|  |\.\.|\s[.,?]", row.question + row.answer), row
        assert row.question[0].isupper()
        assert row.question.endswith((".", "?"))
        assert re.match(r'["A-Z]', row.answer), row
        assert row.answer.endswith((".", '"')), row


def test_long_answers_have_four_steps() -> None:
    for row in (row for row in CANDIDATES if row.kind == "long"):
        listed = re.findall(r"^\d\. [A-Z].*\.$", row.answer, re.MULTILINE)
        assert len(listed) == 4 or re.match(r"(First, |It goes like this\. ).* (Finally|Last of all), ", row.answer), (
            row
        )


def test_discounts_are_right() -> None:
    found = 0
    for row in CANDIDATES:
        if row.domain == "money" and row.kind == "plain" and "percent" in row.question:
            price = int(re.search(r"(\d+) dollars", row.question)[1])
            percent = int(re.search(r"(\d+) percent", row.question)[1])
            assert {price * percent / 100, price - price * percent / 100, percent, price} == {
                float(number) for number in re.findall(r"\d+", row.answer)
            }
            found += 1
    assert found == 10
