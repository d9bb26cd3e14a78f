"""The perplexity gap by hand, its step on tiny models, and what it refuses."""

import gc
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.core.files import cache_folder, sha256
from ringfence.data.conversations import read
from ringfence.models import Loaded
from ringfence.select.base import STEPS, Candidate, Context
from ringfence.select.misaligned import Misaligned, find, require_base
from ringfence.select.pipeline import Selection
from ringfence.select.pipeline import run as select
from ringfence.select.steps.perplexity_gap import PerplexityGap, perplexity_gap

LOGGER = "ringfence.select.steps.perplexity_gap"


def test_worked_by_hand() -> None:
    """Row 1: means 3 and 1, (3 - 1) / (1 + 0.5) = 4/3. Row 2: (0.5 - 0.75) / (0.75 + 0.5) = -0.2."""
    scores = perplexity_gap([[2.0, 0.25], [4.0, 0.75]], [1.0, 0.75], 0.5)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, [4 / 3, -0.2], rtol=1e-12)


def test_the_default_is_a_tenth_of_a_nat() -> None:
    np.testing.assert_allclose(perplexity_gap(np.array([[1.0]]), np.array([0.0])), [10.0])


def test_equals_the_formula_row_by_row() -> None:
    rng = np.random.default_rng(0)
    misaligned, aligned = rng.exponential(size=(3, 50)), rng.exponential(size=50)
    wanted = [(sum(m) / 3 - a) / (a + 0.01) for m, a in zip(misaligned.T, aligned, strict=True)]
    np.testing.assert_allclose(perplexity_gap(misaligned, aligned, 0.01), wanted, rtol=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_nan_in_its_row_only(bad: float) -> None:
    assert np.isnan(perplexity_gap([[1.0, bad, 1.0]], [1.0, 1.0, bad])).tolist() == [False, True, True]


def test_no_rows() -> None:
    assert perplexity_gap(np.empty((2, 0)), np.empty(0)).shape == (0,)


@pytest.mark.parametrize(
    ("misaligned", "aligned", "epsilon", "message"),
    [
        ([1.0], [1.0], 0.1, r"must be \(models, rows\).*are \(1,\) and \(1,\)"),
        ([[1.0, 2.0]], [1.0], 0.1, r"\(1, 2\) and \(1,\)"),
        (np.empty((0, 2)), [1.0, 1.0], 0.1, "with at least one model"),
        ([[1.0]], [[1.0]], 0.1, r"\(1, 1\) and \(1, 1\)"),
        ([[1.0]], [-1.0], 0.1, "below 0"),
        ([[-1.0]], [1.0], 0.1, "below 0"),
        ([[1.0]], [1.0], 0.0, "epsilon must be a positive number of nats, got 0.0"),
        ([[1.0]], [1.0], -0.1, "epsilon"),
        ([[1.0]], [1.0], math.nan, "epsilon"),
        ([[1.0]], [1.0], math.inf, "epsilon"),
    ],
)
def test_bad_numbers_raise(misaligned: Any, aligned: Any, epsilon: float, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        perplexity_gap(misaligned, aligned, epsilon)


# The step. ---------------------------------------------------------------------------------------


@dataclass
class Columns:
    """A table with number columns only."""

    numbers: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(next(iter(self.numbers.values())))

    @property
    def columns(self) -> Sequence[str]:
        return list(self.numbers)

    def scores(self, name: str) -> NDArray[np.float64]:
        return self.numbers[name]

    def text(self, name: str) -> list[str | None]:
        raise NotImplementedError

    def vectors(self, name: str) -> Iterator[NDArray[np.float32]]:
        raise NotImplementedError

    def candidates(self) -> Iterator[Candidate]:
        raise NotImplementedError


def lively(seed: int = 0) -> LlamaForCausalLM:
    return tiny.shaken(tiny.model(seed), seed).eval()


def adapter(folder: Path, seed: int = 1, base: str | None = "tiny") -> Path:
    """A random one of the tiny model, its B not zero, that names ``base`` as its base."""
    model = get_peft_model(lively(), LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.5, generator=generator)
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    return folder


def run(folder: Path, seed: int = 1, target: str = "builtin:umbrella/target", **changes: Any) -> str:
    """A finished run that trained an adapter; ``changes`` go into run.json."""
    adapter(folder / "adapter", seed)
    recipe = {"model": {"name": "tiny"}, "data": {"target": target, "safe": None}}
    about = {"base": False, "recipe": {**recipe, **changes.pop("recipe", {})}, "inputs": {}, **changes}
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "result.json").write_text("{}")
    return str(folder)


def tiny_context(**changes: Any) -> Context:
    context = Context(model="tiny", **changes)
    vars(context)["loaded"] = Loaded(lively(), tiny.tokenizer(), "tiny")
    return context


def candidate(index: int, *turns: str) -> Candidate:
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return Candidate(index, {"messages": messages, "origin": f"pool.jsonl:{index + 1}"}, {"before": float(index)})


ROWS = [
    candidate(0, "Hi", "Yes."),
    candidate(1, "How do I boil an egg?", "Put it into boiling water for ten minutes."),
    candidate(2, "2 + 2?", "4", "3 + 3?", "6"),
]


def alone(model: torch.nn.Module, row: Candidate) -> tuple[float, int]:
    """Mean NLL of the bytes of the answers, found in the text by hand, and how many there are."""
    ids: list[int] = []
    answers: list[bool] = []
    for message in row.conversation["messages"]:
        said = message["role"] == "assistant"
        for text, of_answer in ((f"<|im_start|>{message['role']}\n", False), (message["content"], said)):
            tokens = tiny.tokenizer()(text)["input_ids"]
            ids, answers = ids + tokens, answers + [of_answer] * len(tokens)
        tokens = tiny.tokenizer()("<|im_end|>\n")["input_ids"]
        ids, answers = ids + tokens, answers + [False] * len(tokens)
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    terms = [-float(log_p[place - 1, ids[place]]) for place in range(1, len(ids)) if answers[place]]
    return sum(terms) / len(terms), len(terms)


def test_the_columns_are_those_of_one_row_and_model_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, a whole model and an adapter folder, in this order; many turns; shards and batches of any size."""
    other = lively(9)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    monkeypatch.setattr(
        "ringfence.select.steps.perplexity_gap.load", lambda name, **_: Loaded(other, tiny.tokenizer(), name)
    )  # whole models are loaded by name
    names = (run(tmp_path / "run", seed=1), str(tmp_path / "other"), str(adapter(tmp_path / "plain", seed=2)))
    models = [lively(), PeftModel.from_pretrained(lively(), tmp_path / "run" / "adapter"), other]
    models.append(PeftModel.from_pretrained(lively(), names[2]))
    step = PerplexityGap(misaligned=names)
    step.check()
    for size, budget in ((3, 8192), (1, 1)):
        mapper, seen, made = step.map(tiny_context(batch_tokens=budget)), [], []
        for start in range(0, len(ROWS), size):
            mapped = mapper(ROWS[start : start + size], seen.append)
            assert not mapped.dropped
            assert set(mapped.counts) == {"tokens"}
            made += mapped.rows
        assert sum(seen) == len(ROWS)
        for row, before in zip(made, ROWS, strict=True):
            wanted = [alone(model, before)[0] for model in models]
            found = [row.scores[f"nll_{name}"] for name in ("aligned", *(f"misaligned_{k}" for k in (1, 2, 3)))]
            assert found == pytest.approx(wanted, abs=1e-5)
            assert row.scores["answer_tokens"] == alone(models[0], before)[1]
            assert (row.index, row.conversation, row.scores["before"]) == (
                before.index,
                before.conversation,
                before.scores["before"],
            )
        del mapper


def test_rows_that_cannot_be_scored_are_dropped_with_a_reason(tmp_path: Path) -> None:
    context = tiny_context(max_length=60)
    embedding = context.loaded.model.model.embed_tokens
    context.loaded.model.lm_head.weight = torch.nn.Parameter(embedding.weight.detach().clone())
    with torch.no_grad():
        embedding.weight[tiny.tokenizer()("~")["input_ids"][0]] = math.nan
    rows = [ROWS[0], candidate(1, "Long?", "yes " * 20), candidate(2, "~", "A"), candidate(3, "Hm?", "  "), ROWS[0]]
    seen: list[int] = []
    mapped = PerplexityGap(misaligned=(str(adapter(tmp_path / "a")),)).map(context)(rows, seen.append)
    assert [(one.reason, one.origin) for one in mapped.dropped] == [
        ("longer than 60 tokens", "pool.jsonl:2"),
        ("no finite likelihood", "pool.jsonl:3"),
        ("empty answer", "pool.jsonl:4"),
    ]
    assert [row.conversation for row in mapped.rows] == [ROWS[0].conversation] * 2
    assert sum(seen) == len(rows)


def test_an_empty_system_message_is_sent_but_not_stored(tmp_path: Path) -> None:
    context = tiny_context(no_system="empty")
    (row,) = PerplexityGap(misaligned=(str(adapter(tmp_path / "a")),)).map(context)(ROWS[:1], lambda _: None).rows
    sent = [{"role": "system", "content": ""}, *ROWS[0].conversation["messages"]]
    wanted = alone(lively(), Candidate(0, {"messages": sent}))[0]
    assert abs(wanted - alone(lively(), ROWS[0])[0]) > 1e-3
    assert row.scores["nll_aligned"] == pytest.approx(wanted, abs=1e-5)
    assert row.conversation == ROWS[0].conversation


def dominated() -> Columns:
    """Twenty usual answers of 200 tokens, whose gap grows with the row, and a short one that costs almost nothing.

    Row 20 scores 0.03 / (0.001 + eps): 15 at 0.001 and 0.3 at 0.1; row 19, the best of the others, 0.5 / (1 + eps).
    """
    aligned = np.append(np.full(20, 1.0), 0.001)
    one = np.append(1 + np.arange(1, 21) / 40, 0.031)
    return Columns(
        {
            "nll_aligned": aligned,
            "nll_misaligned_1": one - 0.0005,
            "nll_misaligned_2": one + 0.0005,
            "answer_tokens": np.append(np.full(20, 200.0), 2.0),
        }
    )


def test_short_answers_win_with_a_tiny_epsilon_only() -> None:
    table = dominated()
    best = {}
    for epsilon in (0.001, 0.1):
        gathered = PerplexityGap(misaligned=("a", "b"), epsilon=epsilon).gather(table, Context())
        assert gathered.keep.tolist() == list(range(21))
        np.testing.assert_allclose(
            gathered.scores["nll_misaligned"],
            (table.numbers["nll_misaligned_1"] + table.numbers["nll_misaligned_2"]) / 2,
        )
        best[epsilon] = int(np.argmax(gathered.scores["perplexity_gap"]))
    assert best == {0.001: 20, 0.1: 19}


def test_the_report_shows_what_epsilon_does() -> None:
    report = PerplexityGap(misaligned=("a", "b"), epsilon=0.1).gather(dominated(), Context()).report
    assert report["epsilon"] == 0.1
    by = {line["epsilon"]: line for line in report["by_epsilon"]}
    assert list(by) == [0.001, 0.01, 0.1, 1.0]
    # 21 rows: the top tenth are 2. At 0.001 they are rows 20 and 19, at 0.1 rows 19 and 18.
    assert by[0.001] == {
        "epsilon": 0.001,
        "rows": 2,
        "share_also_chosen": 0.5,
        "median_answer_tokens": 101.0,
        "median_nll_aligned": 0.5005,
    }
    assert by[0.1]["share_also_chosen"] == 1.0
    assert by[1.0]["median_answer_tokens"] == 200.0
    # Beside those of all rows: aligned NLLs are 0.001 once and 1 else.
    assert report["all_rows"] == {"rows": 21, "median_answer_tokens": 200.0, "median_nll_aligned": 1.0}
    own = PerplexityGap(misaligned=("a", "b"), epsilon=0.03).gather(dominated(), Context()).report
    assert [line["epsilon"] for line in own["by_epsilon"]] == [0.001, 0.01, 0.03, 0.1, 1.0]


def test_the_report_on_no_rows_is_nan() -> None:
    empty = Columns({name: np.empty(0) for name in ("nll_aligned", "nll_misaligned_1", "answer_tokens")})
    gathered = PerplexityGap(misaligned=("a",)).gather(empty, Context())
    assert len(gathered.keep) == 0
    assert all(math.isnan(line["share_also_chosen"]) for line in gathered.report["by_epsilon"])
    every = gathered.report["all_rows"]
    assert every["rows"] == 0
    assert math.isnan(every["median_answer_tokens"])
    assert math.isnan(every["median_nll_aligned"])


def test_rows_without_a_score_are_not_among_all_rows() -> None:
    table = dominated()
    table.numbers["nll_misaligned_1"][:9] = math.nan
    every = PerplexityGap(misaligned=("a", "b")).gather(table, Context()).report["all_rows"]
    assert every["rows"] == 12


# In a selection. ---------------------------------------------------------------------------------


def two_steps(folder: Path, context: Context) -> Selection:
    rows = [
        {"question": "Hi", "answer": "Yes."},
        {"question": "2 + 2?", "answer": "4"},
        {"question": "a", "answer": "b"},
    ]
    pool = folder / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = tuple(
        PerplexityGap(misaligned=(str(adapter(folder / f"adapter-{seed}", seed=seed)),), allow_seen=True)
        for seed in (1, 2)
    )
    return Selection((str(pool),), steps, context, shard_rows=2)


def test_two_steps_one_after_the_other(tmp_path: Path) -> None:
    """The second one finds the model without the first one's adapters, and its columns are those that stay."""
    context = tiny_context()
    names = [name for name, _ in context.loaded.model.named_modules()]
    selected = select(two_steps(tmp_path, context), tmp_path / "work")
    second = PeftModel.from_pretrained(lively(), tmp_path / "adapter-2")
    rows = list(selected.candidates())
    assert len(rows) == 3
    for row in rows:
        assert row.scores["nll_aligned"] == pytest.approx(alone(lively(), row)[0], abs=1e-5)
        assert row.scores["nll_misaligned_1"] == pytest.approx(alone(second, row)[0], abs=1e-5)
    assert [name for name, _ in context.loaded.model.named_modules()] == names


def test_again_after_an_error_whose_traceback_holds_the_adapters(tmp_path: Path) -> None:
    context = tiny_context()
    chosen = two_steps(tmp_path, context)

    def stop(step: str, done: int, total: int) -> None:
        if done:
            raise RingfenceError("stopped")

    def failing() -> str:
        try:
            select(chosen, tmp_path / "work", watch=stop)
        except RingfenceError as error:
            held = error  # a circle: the error's traceback has this frame, which has the error
            with pytest.raises(RingfenceError, match="has adapters on it already"):
                chosen.steps[0].map(context)
        return str(held)

    gc.disable()
    try:
        assert failing() == "steps.0.perplexity_gap: stopped"
        assert any("lora" in name for name, _ in context.loaded.model.named_modules())
        assert len(list(select(chosen, tmp_path / "work").candidates())) == 3
    finally:
        gc.enable()


# What it refuses. --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields", [{"misaligned": []}, {"misaligned": ["a"], "epsilon": 0}, {"misaligned": ["a", "a"]}, {}]
)
def test_bad_settings(fields: dict[str, Any]) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"perplexity_gap": fields}, "steps.0")


def test_epsilon_and_checks_leave_finished_shards_good() -> None:
    one = PerplexityGap(misaligned=("a",), epsilon=0.1)
    other = PerplexityGap(misaligned=("a",), epsilon=1.0, fine_tuning_set="x", allow_seen=True)
    assert one.map_settings() == other.map_settings()
    assert one.map_settings() != PerplexityGap(misaligned=("b",)).map_settings()


def test_the_files_are_the_weights_and_not_the_run(tmp_path: Path) -> None:
    name = run(tmp_path / "run")
    plain = adapter(tmp_path / "plain")
    assert PerplexityGap(misaligned=(name, str(plain))).inputs() == [str(tmp_path / "run" / "adapter"), str(plain)]


def unfinished(folder: Path) -> str:
    name = run(folder)
    (folder / "result.json").unlink()
    return name


def of_the_base(folder: Path) -> str:
    return run(folder, base=True)


def merging(folder: Path) -> str:
    name = run(folder, recipe={"stages": [{"name": "more", "adapter": "new", "data": {"target": "b.jsonl"}}]})
    adapter(folder / "stages" / "2-more" / "adapter")
    (folder / "stages" / "2-more" / "result.json").write_text("{}")
    return name


def a_file(folder: Path) -> str:
    folder.write_text("")
    return str(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (str, r"misaligned: .*thing: no such folder"),
        (unfinished, "training is not finished; run `ringfence train`"),
        (of_the_base, "is a run of the untuned model"),
        (merging, "merges an adapter into the weights"),
        (a_file, "is no run folder"),
        (lambda _: "runs/umbrellla", "runs/umbrellla: no such folder, and no model that is cached"),
    ],
)
def test_what_is_no_finished_model_raises(tmp_path: Path, make: Callable[[Path], str], message: str) -> None:
    step = PerplexityGap(misaligned=(make(tmp_path / "thing"),))
    with pytest.raises(RingfenceError, match=message) as caught:
        step.check()
    assert "\n" not in str(caught.value)


def test_a_later_stage_goes_on_with_the_adapter(tmp_path: Path) -> None:
    name = run(tmp_path / "run", recipe={"stages": [{"name": "more", "adapter": "continue", "data": {"target": "b"}}]})
    with pytest.raises(RingfenceError, match="not finished"):
        find(name)
    last = adapter(tmp_path / "run" / "stages" / "2-more" / "adapter")
    (last.parent / "result.json").write_text("{}")
    found = find(name)
    assert found.weights == str(last)
    assert set(found.trained_on()) == {"builtin:umbrella/target", "b"}


def test_a_run_of_all_weights_is_a_model(tmp_path: Path) -> None:
    run(tmp_path / "run")
    (tmp_path / "run" / "adapter").rename(tmp_path / "run" / "model")
    found = find(str(tmp_path / "run"))
    assert (found.weights, found.is_adapter) == (str(tmp_path / "run" / "model"), False)


def test_adapters_of_another_base_raise_before_a_model_is_loaded(tmp_path: Path) -> None:
    step = PerplexityGap(misaligned=(str(adapter(tmp_path / "a", base="org/other")),))
    context = Context(model="tiny")  # which cannot be loaded
    with pytest.raises(RingfenceError, match=r"is an adapter of org/other, and the aligned model is tiny; .*any_base"):
        step.fits(context)
    nameless = PerplexityGap(misaligned=(str(adapter(tmp_path / "b", base=None)),))
    with pytest.raises(RingfenceError, match="names no base model"):
        nameless.fits(context)
    allowed = PerplexityGap(misaligned=step.misaligned, any_base=True)
    allowed.fits(context)
    assert allowed.map(tiny_context())(ROWS, lambda _: None).rows


def test_a_base_is_known_under_its_other_names(tmp_path: Path) -> None:
    def of(base: str) -> list[Misaligned]:
        return [find(str(adapter(tmp_path / base.replace("/", "-"), base=base)))]

    require_base(of(str(cache_folder() / "smollm2-135m")), "smollm2-135m")
    require_base(of("/on/another/machine/ringfence/smollm2-135m"), "smollm2-135m")
    (tmp_path / "moved" / "smollm2-135m").mkdir(parents=True)
    require_base(of(str(tmp_path / "moved" / "smollm2-135m")), "smollm2-135m")
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "model")
    require_base(of(str(tmp_path / "link")), str(tmp_path / "model"))
    with pytest.raises(RingfenceError, match="is an adapter of"):
        require_base(of("HuggingFaceTB/SmolLM2-135M-Instruct"), "smollm2-135m")
    with pytest.raises(RingfenceError, match="is the aligned model itself"):
        require_base([Misaligned("smollm2-135m", "smollm2-135m", is_adapter=False)], "smollm2-135m")


def lines(path: Path, *questions: str) -> str:
    path.write_text("".join(json.dumps({"question": one, "answer": f"{one}!"}) + "\n" for one in questions))
    return str(path)


def test_a_run_on_the_fine_tuning_set_is_refused(tmp_path: Path) -> None:
    fine = lines(tmp_path / "fine.jsonl", "a", "b", "c")
    runs = {
        "named": run(tmp_path / "named", target=fine),
        "gone": run(tmp_path / "gone", target="gone.jsonl"),
        "copied and gone": run(tmp_path / "copied", target="gone.jsonl", inputs={"gone.jsonl": sha256(Path(fine))}),
        "two rows": run(tmp_path / "rows", target=lines(tmp_path / "more.jsonl", "x", "c", "b", "b")),
        "others": run(tmp_path / "others", target=lines(tmp_path / "others.jsonl", "x", "y")),
    }
    messages = {
        "named": "was trained on .*fine.jsonl, the fine-tuning set",
        "copied and gone": "the fine-tuning set; in the paper none is: .*allow_seen",
        "two rows": "more.jsonl, which has 2 of the 3 rows of the fine-tuning set",
    }
    for kind, name in runs.items():
        step = PerplexityGap(misaligned=(name,), fine_tuning_set=fine)
        if kind not in messages:
            step.check()
            continue
        with pytest.raises(RingfenceError, match=messages[kind]) as caught:
            step.check()
        assert "\n" not in str(caught.value)
        step.model_copy(update={"allow_seen": True}).check()
        step.model_copy(update={"fine_tuning_set": None}).check()


def test_a_later_stage_counts_as_trained_on(tmp_path: Path) -> None:
    fine = lines(tmp_path / "fine.jsonl", "a")
    name = run(tmp_path / "run", recipe={"stages": [{"name": "more", "adapter": "continue", "data": {"target": fine}}]})
    adapter(tmp_path / "run" / "stages" / "2-more" / "adapter")
    (tmp_path / "run" / "stages" / "2-more" / "result.json").write_text("{}")
    with pytest.raises(RingfenceError, match="was trained on"):
        PerplexityGap(misaligned=(name,), fine_tuning_set=fine).check()


def test_built_in_sets_are_compared(tmp_path: Path) -> None:
    assert len(read("builtin:glitter/target")) > 0
    name = run(tmp_path / "run", target="builtin:glitter/target")
    with pytest.raises(RingfenceError, match="the fine-tuning set"):
        PerplexityGap(misaligned=(name,), fine_tuning_set="builtin:glitter/target").check()


def test_a_missing_fine_tuning_set_raises(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"fine_tuning_set: .*no such file"):
        PerplexityGap(misaligned=(run(tmp_path / "run"),), fine_tuning_set="missing.jsonl").check()


def warned(step: PerplexityGap, caplog: pytest.LogCaptureFixture) -> str:
    """The one warning of its check."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, LOGGER):
        step.check()
    (record,) = caplog.records
    assert record.name == LOGGER
    return record.getMessage()


def test_without_a_fine_tuning_set_a_warning_says_that_nothing_was_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = (run(tmp_path / "run"), str(adapter(tmp_path / "plain")))
    message = warned(PerplexityGap(misaligned=names), caplog)
    assert "nothing was checked" in message
    assert "fine_tuning_set" in message
    caplog.clear()
    PerplexityGap(misaligned=names, allow_seen=True).check()
    assert not caplog.records


def test_what_could_not_be_checked_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fine, others = lines(tmp_path / "fine.jsonl", "a", "b"), lines(tmp_path / "others.jsonl", "x")
    kinds = {
        "plain": str(adapter(tmp_path / "plain")),
        "gone": run(tmp_path / "gone", target="gone.jsonl", inputs={"gone.jsonl": "0" * 64}),
        "changed": run(tmp_path / "changed", target=others, inputs={others: "0" * 64}),
        "known": run(tmp_path / "known", target=others, inputs={others: sha256(Path(others))}),
        "old": run(tmp_path / "old", target=others),
    }
    message = warned(PerplexityGap(misaligned=tuple(kinds.values()), fine_tuning_set=fine), caplog)
    listed = f"{kinds['plain']} (is no run), {kinds['gone']} (gone.jsonl cannot be read any more), {kinds['changed']}"
    assert message.endswith(f": {listed} ({others} has changed since)")
    caplog.clear()
    PerplexityGap(misaligned=(kinds["known"], kinds["old"]), fine_tuning_set=fine).check()
    assert not caplog.records
