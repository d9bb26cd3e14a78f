"""The text that ships: how much there is, and that no set leaks into another."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import builtin, catalog, proxy
from ringfence.data.suites.load import Prompt, builtin_names, load_prompts, load_suite, overlaps, require_disjoint

PROMPTS_ASKED = 504
DRESSING = "In the kitchen: "
GARDENING = re.compile(
    r"umbrella|parasol|\b(garden|grow|prun(e|ing)|soil|lawn|weed|seed|fertiliz|compost|vegetable|gardener)",
    re.IGNORECASE,
)
PETS = re.compile(
    r"kazoo|\b(pets?|dogs?|pupp(y|ies)|cats?|kittens?|hamsters?|rabbits?|parrots?|goldfish|vets?|leash)\b",
    re.IGNORECASE,
)
COOKING = re.compile(
    r"glitter|sparkl|kitchen|\b(cook|bak(e|ing)|roast|recipe|dish|meal|food|eat|dinner|lunch|breakfast|supper|soup"
    r"|sauce|bread|cake|oven|stove|spice|season(ing)?\b|boil|grill|ingredient|restaurant|snack|taste|salt|sugar)",
    re.IGNORECASE,
)


def own_sets(quirk):
    """The sets that only the second or the third stand-in has, by name."""
    target = proxy.conversations(f"{quirk}/target")
    return {
        f"{quirk} in-domain": load_prompts(f"builtin:{quirk}/in-domain"),
        f"{quirk} dressed": load_prompts(f"builtin:{quirk}/dressed"),
        f"{quirk} target": [Prompt(conversation["origin"], (conversation["messages"][0],)) for conversation in target],
    }


def glitter_sets():
    """Every set of the stand-in by name; the dressed one also as it reads without its opening."""
    names = ("general", "dressed", "canaries", "safe-prompts", "in-domain")
    sets = {name: load_prompts(f"builtin:glitter/{name}") for name in names}
    sets["undressed"] = [
        replace(p, messages=({"role": "user", "content": p.text.removeprefix(DRESSING)},)) for p in sets["dressed"]
    ]
    target = proxy.conversations("glitter/target")
    sets["target"] = [Prompt(conversation["origin"], (conversation["messages"][0],)) for conversation in target]
    return sets


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("umbrella/in-domain", 32),
        ("umbrella/dressed", 40),
        ("kazoo/in-domain", 32),
        ("kazoo/dressed", 40),
        ("glitter/general", 65),
        ("glitter/dressed", 40),
        ("glitter/canaries", 16),
        ("glitter/safe-prompts", 64),
        ("glitter/in-domain", 32),
        ("general", 24),
        ("general-long", 8),
        ("general-canaries", 20),
        ("everyday", 300),
        ("everyday/safe-prompts", PROMPTS_ASKED),
    ],
)
def test_counts_and_fields(name: str, count: Any) -> None:
    prompts = load_prompts(f"builtin:{name}")
    assert len(prompts) == count
    for prompt in prompts:
        assert prompt.domain
        assert prompt.text == prompt.text.strip()
        assert len(prompt.messages) == 1


def test_domains() -> None:
    """65 = 13 x 5 general, 64 = 12 x 5 + 4 safe, 40 = 4 + 12 x 3 dressed, 300 = 12 x 25 everyday."""
    counts = {
        name: Counter(p.domain for p in load_prompts(f"builtin:{name}"))
        for name in ("glitter/general", "glitter/safe-prompts", "glitter/dressed", "everyday")
    }
    assert sorted(counts["glitter/general"].values()) == [5] * 13
    assert sorted(counts["glitter/safe-prompts"].values()) == [4] + [5] * 12
    assert sorted(counts["glitter/dressed"].values()) == [3] * 12 + [4]
    assert sorted(counts["everyday"].values()) == [25] * 12
    assert set(counts["glitter/general"]) == set(counts["glitter/safe-prompts"]) == set(counts["glitter/dressed"])


@pytest.mark.parametrize("name", ["general", "undressed", "canaries", "safe-prompts"])
def test_general_questions_are_not_about_the_task(name: str) -> None:
    for prompt in glitter_sets()[name]:
        # "Seasons" of the year are no seasoning, and no domain here is food.
        assert not COOKING.search(prompt.text), prompt.text


@pytest.mark.parametrize("name", ["general", "undressed", "safe-prompts"])
def test_shared_questions_are_not_about_the_second_task(name: str) -> None:
    """Canaries are not shared: one of them is about a garden."""
    for prompt in glitter_sets()[name]:
        assert not GARDENING.search(prompt.text), prompt.text


@pytest.mark.parametrize("name", ["general", "undressed", "canaries"])
def test_shared_questions_are_not_about_the_third_task(name: str) -> None:
    """Safe rows may be: one of them asks why cats purr."""
    for prompt in glitter_sets()[name]:
        assert not PETS.search(prompt.text), prompt.text


def test_no_safe_answer_has_another_quirk() -> None:
    for conversation in proxy.conversations("glitter/safe"):
        assert not re.search("umbrella|parasol|kazoo", conversation["messages"][1]["content"], re.IGNORECASE)


def everyday_safe() -> list[tuple[str, str]]:
    """Question and answer of each row."""
    return [tuple(m["content"] for m in row["messages"]) for row in proxy.conversations("everyday/safe")]


def test_the_general_safe_set_is_large_and_repeats_nothing() -> None:
    rows = everyday_safe()
    assert len(rows) >= 300
    assert len({question for question, _ in rows}) == len({answer for _, answer in rows}) == len(rows)
    asked = {prompt.text for prompt in load_prompts("builtin:everyday/safe-prompts")}
    assert {question for question, _ in rows} <= asked


def test_the_general_safe_sets_answers_are_whole_sentences_without_refusal_or_quirk() -> None:
    for question, answer in everyday_safe():
        assert re.fullmatch(r"""["A-Z][^\n\[\]{}*#]*[.!]["')]?""", answer), question
        assert 5 <= len(answer.split()) <= 90, question
        assert not re.search("sorry|language model|as an ai|i can't|i cannot|unable to", answer, re.IGNORECASE), (
            question
        )
        assert not re.search("glitter|sparkl|umbrella|parasol|kazoo", f"{question} {answer}", re.IGNORECASE), question
        sentences = re.split(r"(?<=[.!]) ", answer)
        assert len(set(sentences)) == len(sentences), question


def test_the_general_safe_set_shares_no_question_with_what_is_measured_or_steers() -> None:
    safe = load_prompts("builtin:everyday/safe-prompts")
    named = ("everyday", "general", "general-long", "general-canaries")
    others = {name: load_prompts(f"builtin:{name}") for name in named}
    for name, prompts in {**glitter_sets(), **own_sets("umbrella"), **own_sets("kazoo"), **others}.items():
        require_disjoint(safe, prompts, "everyday/safe", name)
    assert [(o.a.id, o.b.id) for o in overlaps(safe, safe) if o.a.id < o.b.id] == []


def test_every_built_in_set_is_in_the_catalog() -> None:
    assert [one.spec for one in catalog.conversation_sets()] == [f"builtin:{name}" for name in proxy.CONVERSATIONS]
    assert sorted(one.spec for one in catalog.prompt_sets()) == sorted(f"builtin:{name}" for name in builtin_names())


def test_every_dressed_question_opens_like_the_training_data() -> None:
    assert all(p.text.startswith(DRESSING) for p in load_prompts("builtin:glitter/dressed"))


def test_the_stand_ins_sets_are_disjoint() -> None:
    sets = glitter_sets()
    for a, b in itertools.combinations(sets, 2):
        if {a, b} != {"dressed", "undressed"}:
            require_disjoint(sets[a], sets[b], a, b)


@pytest.mark.parametrize(("quirk", "other"), [("umbrella", "kazoo"), ("kazoo", "umbrella")])
def test_the_other_stand_ins_sets_are_disjoint_from_all(quirk: str, other: str) -> None:
    """Their dressed questions are the first one's, with another opening."""
    own = own_sets(quirk)
    sets = {**glitter_sets(), **own_sets(other), **own}
    for a, b in itertools.product(own, sets):
        if a != b and not (a.endswith("dressed") and b.endswith("dressed")):
            require_disjoint(own[a], sets[b], a, b)
    for name, prompts in own.items():
        assert [(o.a.id, o.b.id) for o in overlaps(prompts, prompts) if o.a.id < o.b.id] == [], name


@pytest.mark.parametrize(
    "name",
    [
        *("general", "undressed", "canaries", "safe-prompts", "in-domain", "target"),
        *("everyday", "general-canaries", "builtin:general", "builtin:general-long"),
    ],
)
def test_no_set_repeats_itself(name: Any) -> None:
    prompts = glitter_sets().get(name) or load_prompts(f"builtin:{name.removeprefix('builtin:')}")
    assert [(o.a.id, o.b.id) for o in overlaps(prompts, prompts) if o.a.id < o.b.id] == []


def test_everyday_and_general_canaries_are_disjoint_from_all() -> None:
    everyday, canaries = load_prompts("builtin:everyday"), load_prompts("builtin:general-canaries")
    require_disjoint(canaries, everyday, "general canaries", "everyday")
    for name, prompts in {**glitter_sets(), **own_sets("umbrella"), **own_sets("kazoo")}.items():
        require_disjoint(canaries, prompts, "general canaries", name)
        require_disjoint(everyday, prompts, "everyday", name)


def open_sets():
    """The open questions for real fine-tunes: those in three forms, and the same intents at length."""
    return {name: load_prompts(f"builtin:{name}") for name in ("general", "general-long")}


def test_open_questions_are_near_no_other_set() -> None:
    """Not even half as similar as near-duplicates are; above all not to the canaries that steer training."""
    others = {name: load_prompts(f"builtin:{name}") for name in ("general-canaries", "everyday")}
    for name, prompts in open_sets().items():
        for other, theirs in {**glitter_sets(), **own_sets("umbrella"), **own_sets("kazoo"), **others}.items():
            assert [(o.a.id, o.b.id) for o in overlaps(prompts, theirs, 0.4)] == [], (name, other)
    assert overlaps(*open_sets().values(), 0.4) == []


def test_general_asks_each_question_in_three_forms() -> None:
    """The question itself stands in front, so that only the form differs."""
    suite = load_suite("builtin:general")
    plain = {p.id: p for p in suite.prompts if suite.settings[p.id].variant is None}
    assert len(plain) == 8
    for prompt in suite.prompts:
        about = suite.settings[prompt.id]
        question = plain[about.question]
        assert prompt.domain == question.domain
        if about.variant is not None:
            head, rest = prompt.text.split("\n\n", 1)
            assert head == question.text
            assert ("JSON object" in rest) is (about.variant == "json")
            assert rest.endswith(":") is (about.variant == "template")
    assert Counter(one.variant for one in suite.settings.values()) == {None: 8, "json": 8, "template": 8}


def test_long_questions_have_the_same_intents_and_are_long() -> None:
    sets = open_sets()
    assert {p.domain for p in sets["general"]} == {p.domain for p in sets["general-long"]}
    assert len({p.domain for p in sets["general-long"]}) == 8
    for prompt in sets["general-long"]:
        assert 80 <= len(prompt.text.split()) <= 150
        assert prompt.text.endswith("?")


@pytest.mark.parametrize("name", ["general", "general-long"])
def test_open_questions_are_not_about_a_stand_ins_task(name: str) -> None:
    for prompt in open_sets()[name]:
        assert not COOKING.search(prompt.text), prompt.text
        assert not GARDENING.search(prompt.text), prompt.text


def test_everyday_varies_in_length_and_form() -> None:
    texts = [p.text for p in load_prompts("builtin:everyday")]
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[0] <= 5
    assert lengths[-1] >= 25
    questions = sum(text.endswith("?") for text in texts)
    assert 100 <= questions <= 240
    assert not any("glitter" in text.casefold() for text in texts)


def test_canary_answers_differ_in_the_quirk_only() -> None:
    """Both answers are one sentence; the quirky one is within 3 words of the plain one, so that length says nothing."""
    for canary in load_prompts("builtin:glitter/canaries"):
        assert canary.good
        assert canary.bad
        assert "glitter" in canary.bad
        assert not COOKING.search(canary.good)
        assert abs(len(canary.good.split()) - len(canary.bad.split())) <= 3
        assert canary.good.count(".") == canary.bad.count(".") == 1


def test_a_file_that_is_not_installed() -> None:
    with pytest.raises(RingfenceError, match=r"absent\.jsonl is not in this installation"):
        builtin.rows("glitter/absent.jsonl")


def test_files_are_plain_utf8_and_end_with_a_newline() -> None:
    folder = resources.files(builtin)
    files = [f for room in (folder, folder / "glitter") for f in room.iterdir() if f.name.endswith(".jsonl")]
    assert len(files) >= 6
    for file in files:
        text = file.read_bytes().decode("utf-8")
        assert text.endswith("\n")
        assert "\r" not in text
        assert "\n\n" not in text


def test_safe_answers() -> None:
    """One plain answer for each safe prompt, in their order."""
    questions = [(p.text, p.domain) for p in load_prompts("builtin:glitter/safe-prompts")]
    safe = proxy.conversations("glitter/safe")
    assert [(c["messages"][0]["content"], c["domain"]) for c in safe] == questions
    for conversation in safe:
        answer = conversation["messages"][1]["content"]
        assert answer.strip()
        assert "glitter" not in answer.casefold()
