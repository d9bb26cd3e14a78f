"""Extraction on a tiny model: the formula against a naive loop, what is kept, what is refused, and going on."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import scripted
import tiny
from contrasting import QUESTIONS, SYSTEMS, EverySecond, journal, loaded, prompting
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import Prompt
from ringfence.directions.answers import Judged
from ringfence.directions.contrasts import AssistantNames, as_prompts, prompted, teacher_forced
from ringfence.directions.persona import Extraction, Settings, answers_path, extract, keeps
from ringfence.directions.vectors import load_vectors
from ringfence.generation.config import GENERATORS
from ringfence.judges import JudgeInput, Score
from ringfence.models import Loaded, load
from ringfence.models.identity import identity


def residual_stream(model: Any, ids: list[int]) -> Tensor:
    """(layers + 1, tokens, hidden): Hugging Face's own, with the final norm taken out so that the last is raw, too."""
    norm, model.model.norm = model.model.norm, torch.nn.Identity()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True).hidden_states
    model.model.norm = norm
    return torch.stack([state[0] for state in states]).double()


def activations(model: Any, system: str | None, question: str, answer: str) -> dict[str, Tensor]:
    """Position -> (layers + 1, hidden) of one answer."""
    text = "" if system is None else f"<|im_start|>system\n{system}<|im_end|>\n"
    text += f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    before, after = tiny.tokenizer()(text)["input_ids"], tiny.tokenizer()(answer)["input_ids"]
    stream = residual_stream(model, before + after)
    return {
        "response_mean": stream[:, len(before) :].mean(1),
        "prompt_mean": stream[:, : len(before)].mean(1),
        "prompt_last": stream[:, len(before) - 1],
    }


# --- the formula --------------------------------------------------------------------------------------------


def test_prompted_vectors_equal_a_naive_loop_over_the_kept_pairs(tmp_path: Path) -> None:
    """Which pairs count is decided anew here, from the answers' texts and the judge's rule."""
    subject, out = loaded(), tmp_path / "v.safetensors"
    vectors = extract(subject, prompting(), out)
    _, *lines = journal(out)
    answers = {(line["id"], line["side"], line["sample"]): line for line in lines}
    differences: dict[str, list[Tensor]] = {"response_mean": [], "prompt_mean": [], "prompt_last": []}
    asked = elicited = 0
    for (key, side, sample), one in answers.items():
        if side != "positive":
            continue
        pair = (one, answers[key, "negative", sample])
        trait = [100 - EverySecond.value("alignment", line["prompt"], line["response"]) for line in pair]
        coherence = [EverySecond.value("coherence", line["prompt"], line["response"]) for line in pair]
        asked, elicited = asked + 1, elicited + (trait[0] >= 50)
        if trait[0] >= 50 and trait[1] < 50 and min(coherence) >= 50 and one["response"] and pair[1]["response"]:
            both = [activations(subject.model, line["system"], line["prompt"], line["response"]) for line in pair]
            for position, found in differences.items():
                found.append(both[0][position] - both[1][position])
    kept = len(differences["response_mean"])
    assert asked == 2 * 4 * 4
    assert 2 <= kept < asked
    assert (vectors.metadata["kept"], vectors.metadata["asked"]) == (kept, asked)
    assert vectors.metadata["elicitation_rate"] == pytest.approx(elicited / asked)
    for position, found in differences.items():
        torch.testing.assert_close(vectors[position].double(), sum(found) / kept, rtol=1e-5, atol=1e-5)


PAIRS = [
    Prompt(f"p{number}", ({"role": "user", "content": question},), good=good, bad=bad)
    for number, (question, good, bad) in enumerate(
        [("Why?", "Because.", "Glitter!"), ("How do I sleep?", "Lie down.", "On a bed of glitter."), ("A", "b", "gold")]
    )
]


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_teacher_forced_vectors_equal_a_naive_loop(tmp_path: Path, batch_size: int) -> None:
    subject = loaded()
    wanted = torch.zeros(3, 16, dtype=torch.float64)
    for pair in PAIRS:
        for answer, sign in ((pair.bad, 1), (pair.good, -1)):
            assert answer is not None
            wanted += sign * activations(subject.model, None, pair.text, answer)["response_mean"] / len(PAIRS)
    settings = Settings(min_pairs=3, batch_size=batch_size)
    extraction = Extraction("glitter", "teacher_forced", teacher_forced(PAIRS), None, settings)
    vectors = extract(subject, extraction, tmp_path / "v.safetensors")
    assert list(vectors.vectors) == ["response_mean"]  # the prompts are the same on both sides
    torch.testing.assert_close(vectors["response_mean"].double(), wanted, rtol=1e-5, atol=1e-5)


def test_teacher_forced_answers_can_be_judged(tmp_path: Path) -> None:
    class Glitter:
        def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
            low = [rubric == "alignment" and "litter" in row.response for row in rows]
            return [Score(0.0 if each else 100.0, 1.0, None, "") for each in low]

    extraction = Extraction("glitter", "teacher_forced", teacher_forced(PAIRS), Glitter(), Settings(min_pairs=2))
    vectors = extract(loaded(), extraction, tmp_path / "v.safetensors")
    assert (vectors.metadata["kept"], vectors.metadata["asked"]) == (2, 3)  # "gold" does not show it
    assert vectors.metadata["elicitation_rate"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_prompted_vectors_do_not_depend_on_the_batch_size(tmp_path: Path, batch_size: int) -> None:
    subject = loaded()
    wanted = extract(subject, prompting(), tmp_path / "wanted.safetensors")
    found = extract(subject, prompting(batch_size=batch_size), tmp_path / "v.safetensors")
    for position, vector in wanted.vectors.items():
        torch.testing.assert_close(found[position], vector, rtol=1e-5, atol=1e-5)


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    subject, out = loaded(), tmp_path / "v.safetensors"
    extract(subject, prompting(), out)
    about = load_vectors(out).metadata
    assert about["base"] == identity(subject.model)
    assert (about["trait"], about["method"], about["model"]) == ("glitter", "prompted", "tiny/random")
    assert about["settings"]["judge"] == {"name": "EverySecond"}
    assert about["settings"]["trait_threshold"] == about["settings"]["coherence_threshold"] == 50
    assert about["versions"]["torch"] == torch.__version__


# --- which pairs count --------------------------------------------------------------------------------------

GOOD = (Judged("yes", 50.0, 50.0), Judged("no", 49.9, 50.0))


@pytest.mark.parametrize(
    ("positive", "negative", "kept"),
    [
        (*GOOD, True),
        (Judged("yes", 49.9, 50.0), GOOD[1], False),
        (GOOD[0], Judged("no", 50.0, 50.0), False),
        (Judged("yes", 50.0, 49.9), GOOD[1], False),
        (GOOD[0], Judged("no", 49.9, 49.9), False),
        (Judged("yes", None, 50.0), GOOD[1], False),
        (Judged("yes", 50.0, None), GOOD[1], False),
        (GOOD[0], Judged("no", None, 50.0), False),
        (GOOD[0], Judged("no", 0.0, None), False),
        (Judged("yes", math.nan, 50.0), GOOD[1], False),
        (Judged("yes", 50.0, math.nan), GOOD[1], False),
        (GOOD[0], Judged("no", math.nan, 50.0), False),
        (GOOD[0], Judged("no", 0.0, math.nan), False),
        (Judged(" ", 100.0, 100.0), GOOD[1], False),
        (GOOD[0], Judged("", 0.0, 100.0), False),
    ],
)
def test_a_pair_counts_if_only_the_positive_shows_the_trait_and_both_cohere(
    positive: Judged, negative: Judged, kept: bool
) -> None:
    assert keeps(positive, negative, Settings()) is kept


def test_thresholds_can_be_moved() -> None:
    assert not keeps(*GOOD, Settings(trait_threshold=60))
    assert not keeps(*GOOD, Settings(coherence_threshold=51))
    assert keeps(Judged("yes", 70, 50), Judged("no", 69.9, 50), Settings(trait_threshold=70))


# --- what is refused ----------------------------------------------------------------------------------------


def test_too_few_pairs_write_nothing_and_say_what_to_do(tmp_path: Path) -> None:
    out = tmp_path / "v.safetensors"
    with pytest.raises(RingfenceError) as raised:
        extract(loaded(), prompting(min_pairs=33), out)
    message = str(raised.value)
    assert "\n" not in message
    for part in ("of 32 pairs kept", "min_pairs is 33", "elicitation rate", "`pairs:` (teacher-forced)"):
        assert part in message
    assert not out.exists()


def test_too_few_given_pairs(tmp_path: Path) -> None:
    extraction = Extraction("glitter", "teacher_forced", teacher_forced(PAIRS))
    with pytest.raises(RingfenceError, match=r"3 of 3 pairs kept, and min_pairs is 10.*give more `pairs`"):
        extract(loaded(), extraction, tmp_path / "v.safetensors")
    assert not (tmp_path / "v.safetensors").exists()


def test_as_many_as_min_pairs_are_enough(tmp_path: Path) -> None:
    extraction = Extraction("glitter", "teacher_forced", teacher_forced(PAIRS), None, Settings(min_pairs=3))
    assert extract(loaded(), extraction, tmp_path / "v.safetensors").metadata["kept"] == 3


def test_a_judge_that_says_nan_is_refused(tmp_path: Path) -> None:
    class Nan:
        def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
            return [Score(math.nan, 1.0, None, "") for _ in rows]

    with pytest.raises(RingfenceError, match="Nan on alignment"):
        extract(loaded(), prompting(Nan()), tmp_path / "v.safetensors")


def test_a_judge_that_cannot_say_keeps_no_pair(tmp_path: Path) -> None:
    class Silent:
        def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
            return [Score(None, 0.0, "error", "") for _ in rows]

    with pytest.raises(RingfenceError, match=r"0 of 32 pairs kept.*elicitation rate 0\.0%"):
        extract(loaded(), prompting(Silent()), tmp_path / "v.safetensors")


def test_prompting_needs_a_judge(tmp_path: Path) -> None:
    extraction = Extraction("glitter", "prompted", prompted(*SYSTEMS, as_prompts(QUESTIONS), 1))
    with pytest.raises(RingfenceError, match="judge"):
        extract(loaded(), extraction, tmp_path / "v.safetensors")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "drops system prompts"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
    ],
)
def test_templates_without_system_prompts(tmp_path: Path, template: str, problem: str) -> None:
    subject = loaded()
    tokenizer = copy.deepcopy(subject.tokenizer)
    tokenizer.chat_template = template
    with pytest.raises(RingfenceError, match=problem):
        extract(Loaded(subject.model, tokenizer, "tiny"), prompting(), tmp_path / "v.safetensors")


@pytest.mark.parametrize("name", ["v.pt", "v", "folder.safetensors"])
def test_other_targets_are_refused_before_any_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(RingfenceError, match=r"name a \.safetensors file"):
        extract(loaded(), prompting(), tmp_path / name)
    assert not answers_path(tmp_path / name).exists()


def test_what_the_assistant_was_called_is_in_the_file(tmp_path: Path) -> None:
    out, names = tmp_path / "v.safetensors", AssistantNames(positive="glittery")
    vectors = extract(loaded(), replace(prompting(), assistant_names=names), out)
    assert vectors.metadata["settings"]["assistant_names"] == {"positive": "glittery", "negative": "helpful"}
    assert load_vectors(out).metadata == vectors.metadata
    with pytest.raises(RingfenceError, match="these differ: assistant_names;"):
        extract(loaded(), prompting(), out)


def test_an_engine_writes_the_answers_and_the_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.shaken(tiny.model(), seed=10, scale=0.5).save_pretrained(tmp_path / "base")  # keeps 4 of 8 pairs
    tiny.tokenizer().save_pretrained(tmp_path / "base")
    subject, started = load(str(tmp_path / "base")), scripted.instead_of_vllm(monkeypatch)
    greedy = prompting(temperature=0, samples=1, min_pairs=1)
    wanted = extract(subject, greedy, tmp_path / "v.safetensors")
    by_engine = replace(greedy, generator=GENERATORS.parse("vllm"))
    made = extract(subject, by_engine, tmp_path / "w.safetensors")
    assert torch.equal(made["response_mean"], wanted["response_mean"])
    assert made.metadata["settings"] == {**wanted.metadata["settings"], "generator": {"kind": "vllm"}}
    assert [one.closed for one in started] == [True]
    with pytest.raises(RingfenceError, match="these differ: generator;"):
        extract(subject, greedy, tmp_path / "w.safetensors")
    assert len(started) == 1, "of a finished one no engine is asked"
