"""What the defenses cost in things that can be counted: forwards, rows, tokens, and the largest tensor."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import SFTTrainer

import examples
import tiny
from ringfence.data.suites.load import Prompt
from ringfence.defenses import KL, LDIFS, CanaryInterleaving, Defense, FixedInterleaving, Inoculation, Steering
from ringfence.models.activations import decoder_layers
from training import trainer


@contextmanager
def counted(model: torch.nn.Module) -> Iterator[list[tuple[int, int]]]:
    """(rows, tokens a row) of every forward pass through the first decoder layer."""
    shapes: list[tuple[int, int]] = []
    layer = next(module for name, module in model.named_modules() if name.endswith("layers.0"))

    def note(module: Any, args: Any, kwargs: Any) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        shapes.append((hidden.shape[0], hidden.shape[1]))

    handle = layer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield shapes
    finally:
        handle.remove()


def forwards(folder: Path, *defenses: Defense, cls: type | None = None) -> list[tuple[int, int]]:
    made = trainer(folder, *defenses, **({"cls": cls} if cls else {}))
    with counted(made.model) as shapes:
        made.train()
    return shapes


CANARIES = tuple(
    Prompt(f"c{n}", ({"role": "user", "content": f"Hello {n}?"},), good="Fine.", bad="Bad one.") for n in range(4)
)


def test_without_a_defense_there_is_not_one_forward_more(tmp_path: Path) -> None:
    assert forwards(tmp_path / "a") == forwards(tmp_path / "b", cls=SFTTrainer)


def test_fixed_adds_its_rows_and_nothing_else(tmp_path: Path) -> None:
    """36 + 9 rows, whatever the steps."""
    assert sum(rows for rows, _ in forwards(tmp_path, FixedInterleaving(added=0.25))) == 45


def test_the_likelihood_probe_is_one_forward_an_evaluation(tmp_path: Path) -> None:
    """2 answers x 4 canaries = 8 rows, and no step holds 8: so 8-row forwards are probes, one each 3 steps."""
    shapes = forwards(
        tmp_path,
        CanaryInterleaving(every=3, probe="likelihood", canaries=CANARIES, ratio_init=0.0, ratio_max=0.0),
    )
    probes = [shape for shape in shapes if shape[0] == 8]
    assert len(probes) == 4  # after steps 1, 4, 7 and 10
    assert len(shapes) - len(probes) == 10


def test_the_likelihood_probe_never_builds_whole_logits() -> None:
    """The output layer runs on the longest answer + 1 positions, not on the prompts: 8 + 1 of about 45 here."""
    from ringfence.interleave import LikelihoodProbe

    model = tiny.model()
    seen: list[torch.Size] = []
    handle = model.lm_head.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    LikelihoodProbe(CANARIES, tiny.tokenizer())(model, 0)
    handle.remove()
    assert seen == [torch.Size([8, len("Bad one.") + 1, len(tiny.tokenizer())])]


def test_no_copy_of_the_vocabulary_matrix_is_made_for_every_row() -> None:
    """torch multiplies a strided slice by a frozen weight through such a copy: rows x vocabulary x hidden."""
    from ringfence.models.likelihood import Scored, answer_logprobs

    model = tiny.model().requires_grad_(False)
    rows = [Scored(prompt.messages, "Fine.") for prompt in CANARIES]
    with torch.profiler.profile(record_shapes=True) as profiled:
        answer_logprobs(model, tiny.tokenizer(), rows)
    vocabulary = len(tiny.tokenizer())
    shapes = [shape for event in profiled.events() for shape in event.input_shapes or []]
    assert any(vocabulary in shape for shape in shapes)
    hidden = model.config.hidden_size
    assert not [shape for shape in shapes if sorted(shape) == sorted([len(CANARIES), vocabulary, hidden])]


@pytest.mark.parametrize("tokens", [1, 5])
def test_the_judged_probe_makes_at_most_one_forward_a_token(tokens: int) -> None:
    from ringfence.generation import Sampling
    from ringfence.interleave import JudgedProbe
    from ringfence.judges import RuleJudge

    model = tiny.model()
    probe = JudgedProbe(CANARIES, RuleJudge(misaligned_pattern="q"), tiny.tokenizer(), Sampling(tokens))
    with counted(model) as shapes:
        probe(model, 0)
    assert len(shapes) <= tokens
    assert shapes[0][0] == len(CANARIES)


LDIFS_ALL = LDIFS(weight=1, every=1, reduction="relative")


@pytest.mark.parametrize(
    ("defenses", "each"),
    [
        ([], 1),
        ([KL(weight=0), LDIFS(weight=0)], 1),
        ([Inoculation()], 1),
        (["steering"], 1),
        ([KL()], 2),
        ([LDIFS_ALL], 2),
        ([KL(), LDIFS_ALL], 2),
        ([KL(), LDIFS_ALL, "steering", Inoculation()], 2),
    ],
    ids=["none", "neutral", "inoculation", "steering", "kl", "ldifs", "kl-ldifs", "all"],
)
@pytest.mark.parametrize("full", [False, True], ids=["adapter", "full"])
def test_one_reference_forward_a_micro_batch_whatever_the_penalties(
    defenses: list[Any], each: int, full: bool, tmp_path: Path
) -> None:
    """Forwards of the top layer, the trained model's and the reference's. Two steps of 2 x 2 rows: 4 micro-batches."""
    chosen = [
        Steering(vector=examples.vectors(tmp_path), layer=1, alpha=0.1) if one == "steering" else one
        for one in defenses
    ]
    given = {"peft_config": None} if full else {}
    splitting = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    made = examples.trainer(tmp_path / "out", *chosen, given=given, max_steps=2, **splitting)
    forwards: list[bool] = []
    for model in {made.model, made.guards.reference or made.model}:
        decoder_layers(model)[-1].register_forward_hook(lambda *_: forwards.append(torch.is_grad_enabled()))
    made.train()
    assert forwards == [True, False][:each] * 4


@pytest.mark.parametrize("defense", [KL(), LDIFS_ALL], ids=["kl", "ldifs"])
def test_the_reference_pass_does_not_run_the_output_layer(defense: Defense, tmp_path: Path) -> None:
    made = examples.trainer(tmp_path, defense)
    made.model.get_output_embeddings().register_forward_hook(lambda *_: pytest.fail("all logits of a batch"))
    made.train()
