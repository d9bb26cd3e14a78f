"""Likelihoods in batches, adapters beside each other, against one row and one adapter at a time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.render import Content, render_content
from ringfence.models import Loaded
from ringfence.models.adapters import Adapters
from ringfence.models.scoring import Scorer, batches, token_nll

LAYERS = 4


def lively(seed: int = 0) -> LlamaForCausalLM:
    return tiny.shaken(tiny.model(seed, layers=LAYERS), seed).eval()


def said(question: str, *answers: str) -> Content:
    """Every answer to the same question, turn by turn."""
    messages = [
        {"role": role, "content": text}
        for answer in answers
        for role, text in (("user", question), ("assistant", answer))
    ]
    return render_content(messages, tiny.tokenizer(), "assistant")


ROWS = [
    said("Hi", "Yes."),
    said("How do I boil an egg, and for how long if it comes from the fridge?", "N"),
    said("A", "A long answer that goes on for quite a while longer than the others do."),
    said("Où?", "À Zürich – 5 €", "In Bern", "Là-bas"),
    said("2 + 2?", "4"),
    said("Why?", "Because it is so, and since it was so before, it will be."),
]

Settings = Mapping[str, Any]
UPPER: Settings = {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [2, 3]}
TOP: Settings = {"target_modules": ["v_proj", "down_proj"], "layers_to_transform": [3], "use_rslora": True}
ALL: Settings = {"target_modules": "all-linear", "lora_dropout": 0.5}
DORA: Settings = {"target_modules": ["q_proj"], "use_dora": True}
HEAD: Settings = {"target_modules": ["q_proj", "lm_head"]}
SAVED_HEAD: Settings = {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
SAVED_NORM: Settings = {"target_modules": ["v_proj"], "modules_to_save": ["norm"]}
EMBEDDINGS: Settings = {"target_modules": ["embed_tokens", "q_proj"]}


@pytest.fixture
def adapter(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a random adapter; its B is not zero."""
    made = iter(range(100))

    def make(settings: Settings, base: LlamaForCausalLM | None = None) -> Path:
        seed = next(made)
        config = LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **settings})
        model = tiny.shaken(get_peft_model(base or lively(), config), 7 + seed, only="lora_")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "modules_to_save" in name:
                    parameter.mul_(1.5)
        model.save_pretrained(tmp_path / f"adapter-{seed}")
        return tmp_path / f"adapter-{seed}"

    return make


def loaded(model: LlamaForCausalLM | None = None) -> Loaded:
    return Loaded(model or lively(), tiny.tokenizer(), "tiny")


def alone(model: torch.nn.Module, row: Content) -> float:
    """Mean NLL from Hugging Face's logits over the whole conversation, in float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row.input_ids]), use_cache=False).logits[0].double()
    terms = []
    for place in range(1, len(row.input_ids)):
        if row.mask[place]:
            terms.append(float(torch.logsumexp(logits[place - 1], 0) - logits[place - 1, row.input_ids[place]]))
    return sum(terms) / len(terms)


def one_by_one(folders: Sequence[Path], rows: Sequence[Content] = ROWS) -> np.ndarray:
    """The base, then every adapter on a fresh copy of it."""
    models = [lively(), *(PeftModel.from_pretrained(lively(), str(folder)).eval() for folder in folders)]
    return np.array([[alone(model, row) for row in rows] for model in models])


def named(folders: Sequence[Path]) -> dict[str, Path]:
    return {f"a{number}": folder for number, folder in enumerate(folders)}


@pytest.mark.parametrize(
    "kinds",
    [
        (UPPER, TOP),
        (ALL, UPPER, TOP),
        (DORA, ALL),
        (HEAD, UPPER),
        (SAVED_HEAD, UPPER),
        (SAVED_NORM, TOP),
        (EMBEDDINGS,),
    ],
)
def test_equals_one_row_and_one_adapter_at_a_time(adapter: Callable[..., Path], kinds: Sequence[Settings]) -> None:
    folders = [adapter(kind) for kind in kinds]
    wanted = one_by_one(folders)
    assert np.abs(wanted[1:] - wanted[0]).max(1).min() > 1e-2  # the adapters do something
    base = loaded()
    for budget in (1, 100, 8192):
        scores = Scorer(base, named(folders), batch_tokens=budget).score(ROWS)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, wanted, atol=1e-5, rtol=0)


def test_equals_adapters_switched_on_one_model_and_a_mixed_batch(adapter: Callable[..., Path]) -> None:
    folders = [adapter(UPPER), adapter(ALL)]
    model = PeftModel.from_pretrained(lively(), str(folders[0]), "a0")
    model.load_adapter(str(folders[1]), "a1")
    model.eval()
    ids = torch.tensor([ROWS[0].input_ids] * 3)
    with torch.no_grad():
        mixed = model(input_ids=ids, adapter_names=["__base__", "a0", "a1"]).logits.log_softmax(-1)
    places = [place for place, of_answer in enumerate(ROWS[0].mask) if of_answer]
    by_mixed = [-np.mean([float(row[t - 1, ids[0, t]]) for t in places]) for row in mixed]
    switched = []
    for name in ("a0", "a1"):
        model.set_adapter(name)
        switched.append(alone(model, ROWS[0]))
    scores = Scorer(loaded(), named(folders)).score(ROWS[:1])[:, 0]
    np.testing.assert_allclose(scores, by_mixed, atol=1e-5)
    np.testing.assert_allclose(scores[1:], switched, atol=1e-5)


def test_layers_below_all_adapters_are_computed_once(adapter: Callable[..., Path]) -> None:
    base = loaded()
    scorer = Scorer(base, named([adapter(UPPER), adapter(TOP)]))
    counts = dict.fromkeys(range(LAYERS), 0)
    for number, layer in enumerate(base.model.model.layers):
        inner = layer.input_layernorm
        inner.register_forward_hook(lambda *_, number=number: counts.update({number: counts[number] + 1}))
    scorer.score(ROWS)
    assert counts == {0: 1, 1: 1, 2: 3, 3: 3}  # UPPER begins at layers[2]


def test_the_base_answers_as_before_while_and_after(adapter: Callable[..., Path]) -> None:
    base = loaded()
    names = [name for name, _ in base.model.named_modules()]
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    scorer = Scorer(base, named([adapter(SAVED_NORM), adapter(ALL), adapter(SAVED_HEAD)]))
    first = scorer.score(ROWS)
    wanted = [alone(lively(), row) for row in ROWS]
    assert [alone(base.model, row) for row in ROWS] == wanted
    with pytest.raises(RingfenceError, match="has adapters on it already"):
        Scorer(base, named([adapter(TOP)]))
    scorer.close()
    scorer.close()
    assert [name for name, _ in base.model.named_modules()] == names
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    again = Scorer(base, named([adapter(TOP)]))
    np.testing.assert_array_equal(again.score(ROWS)[0], first[0])
    del again, scorer
    assert [name for name, _ in base.model.named_modules()] == names  # gone with the scorer
    assert [alone(base.model, row) for row in ROWS] == wanted


def test_an_adapter_that_does_not_fit_leaves_the_base_alone(adapter: Callable[..., Path], tmp_path: Path) -> None:
    base, other = loaded(), tiny.model(layers=LAYERS, hidden=32)
    good, bad = adapter(ALL), adapter(ALL, base=other)
    with pytest.raises(RingfenceError, match=f"{bad}: does not fit the model"):
        Scorer(base, named([good, bad]))
    assert not any("lora" in name for name, _ in base.model.named_modules())
    (tmp_path / "empty").mkdir()
    with pytest.raises(RingfenceError, match="is no adapter folder"):
        Scorer(base, named([tmp_path / "empty"]))


def test_trained_biases_are_refused(adapter: Callable[..., Path]) -> None:
    with pytest.raises(RingfenceError, match=r"trained the base's biases \(bias: all\).*merge it"):
        Scorer(loaded(), named([adapter({"target_modules": ["q_proj"], "bias": "all"})]))


def test_other_models_on_the_same_rows(adapter: Callable[..., Path]) -> None:
    folder, other = adapter(UPPER), lively(5)
    scores = Scorer(loaded(), named([folder]), [loaded(other)]).score(ROWS)
    np.testing.assert_allclose(scores[:2], one_by_one([folder]), atol=1e-5)
    np.testing.assert_allclose(scores[2], [alone(other, row) for row in ROWS], atol=1e-5)


def test_another_vocabulary_raises() -> None:
    import copy

    tokenizer = copy.deepcopy(tiny.tokenizer())
    tokenizer.add_tokens(["<more>"])
    with pytest.raises(RingfenceError, match="elsewhere: has another vocabulary than tiny"):
        Scorer(loaded(), {}, [Loaded(lively(5), tokenizer, "elsewhere")])


def test_a_uniform_model_costs_the_log_of_the_vocabulary() -> None:
    """All weights 0: each of the 259 tokens has probability 1 / 259, in whatever turn."""
    model = lively()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_allclose(Scorer(loaded(model), {}).score(ROWS), np.log(259), rtol=1e-6)


def test_scale_bias_and_cap_of_the_output_layer(adapter: Callable[..., Path]) -> None:
    """Against the formula, cap * tanh(scale * z / cap), by hand."""
    model = lively()
    model.config.logit_scale, model.config.final_logit_softcapping = 0.25, 3.0
    model.lm_head.bias = torch.nn.Parameter(torch.linspace(-1, 1, 259))
    hidden, targets = torch.randn(7, 16, generator=torch.Generator().manual_seed(0)), torch.arange(7) * 30
    z = hidden.double() @ model.lm_head.weight.double().t() + model.lm_head.bias.double()
    logits = 3 * torch.tanh(0.25 * z / 3)
    wanted = logits.logsumexp(-1) - logits[torch.arange(7), targets]
    with torch.no_grad():
        found = token_nll(model, hidden, targets)
    np.testing.assert_allclose(found, wanted.detach(), atol=1e-5)


def test_logits_are_made_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Scorer(loaded(), {}).score(ROWS)
    monkeypatch.setattr("ringfence.models.scoring._CHUNK_ELEMENTS_ELSEWHERE", 5 * 259)
    monkeypatch.setattr("ringfence.models.output_head.VOCABULARY_SLICE", 100)
    np.testing.assert_allclose(Scorer(loaded(), {}).score(ROWS), wanted, atol=1e-6)
    half = Scorer(loaded(lively().bfloat16()), {}).score(ROWS)
    monkeypatch.undo()
    np.testing.assert_allclose(half, Scorer(loaded(lively().bfloat16()), {}).score(ROWS), atol=1e-6)


def test_half_precision_is_near(adapter: Callable[..., Path]) -> None:
    folders = [adapter(ALL), adapter(UPPER)]
    scores = Scorer(loaded(lively().bfloat16()), named(folders)).score(ROWS)
    np.testing.assert_allclose(scores, one_by_one(folders), rtol=0.05)


def test_rows_without_a_number_are_nan_and_spoil_no_other() -> None:
    model, empty = lively(), Content([5, 6, 7], [False, False, False])
    first = Content([5, 6], [True, False])  # nothing stands before its only token
    with torch.no_grad():
        model.model.embed_tokens.weight[tiny.tokenizer()("N")["input_ids"][0]] = float("nan")
    untied = model.lm_head.weight.detach().clone().nan_to_num_()
    model.lm_head.weight = torch.nn.Parameter(untied)
    seen: list[int] = []
    rows = [ROWS[0], empty, said("N", "x"), first]
    (scores,) = Scorer(loaded(model), {}).score(rows, seen.append)
    assert np.isnan(scores).tolist() == [False, True, True, True]
    assert scores[0] == pytest.approx(alone(model, rows[0]), abs=1e-5)
    assert sum(seen) == len(rows)


def test_the_first_token_of_all_is_left_out() -> None:
    row = Content([5, 6, 7], [True, True, False])
    (scores,) = Scorer(loaded(), {}).score([row])
    assert scores[0] == pytest.approx(alone(lively(), row), abs=1e-5)


def test_no_rows() -> None:
    assert Scorer(loaded(), {}).score([]).shape == (1, 0)


def test_batches_keep_to_the_budget() -> None:
    class Row:
        def __init__(self, length: int) -> None:
            self.ids = [0] * length

    rows = [Row(length) for length in (3, 50, 4, 4, 9, 10, 1)]
    found = [[len(row.ids) for row in batch] for batch in batches(rows, 20)]
    assert found == [[50], [10, 9], [4, 4, 3, 1]]


def test_random_state_and_modes_stay(adapter: Callable[..., Path]) -> None:
    scorer = Scorer(loaded(), named([folder := adapter(ALL)]))
    model = scorer._adapters.model.train()
    state = torch.get_rng_state()
    scores = scorer.score(ROWS)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    np.testing.assert_allclose(scores, one_by_one([folder]), atol=1e-5)


def test_adapters_are_off_save_inside(adapter: Callable[..., Path]) -> None:
    base = lively()
    adapters = Adapters(base, named([folder := adapter(ALL)]))
    with torch.no_grad():
        off = base(input_ids=torch.tensor([[5, 6, 7]])).logits
        with adapters.on("a0"):
            on = base(input_ids=torch.tensor([[5, 6, 7]])).logits
        wanted = PeftModel.from_pretrained(lively(), str(folder)).eval()(input_ids=torch.tensor([[5, 6, 7]])).logits
    torch.testing.assert_close(on, wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(off, lively()(input_ids=torch.tensor([[5, 6, 7]])).logits)
