"""Recipes: every fault is one line with file, key and nearest name; what is read is what was written."""

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.defenses import (
    KL,
    LDIFS,
    CanaryInterleaving,
    FixedInterleaving,
    Inoculation,
    ReplayInterleaving,
    Steering,
)
from ringfence.evaluate.presets import Preset
from ringfence.generation import Sampling
from ringfence.judges import RuleJudge, Thresholds
from ringfence.recipe.run import Recipe, load_recipe, parse_recipe
from ringfence.recipe.sections import DuringConfig, RLConfig

DATA = "data: {target: target.jsonl}\n"
GLITTER = resources.files("ringfence.recipe.builtin") / "glitter.yaml"


def read(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, overrides)


def fault(tmp_path: Path, text: str, *overrides: str) -> str:
    """The message that ``text`` is refused with, the file's name cut off; it must be one line."""
    with pytest.raises(RingfenceError) as error:
        read(tmp_path, text, *overrides)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(tmp_path / "recipe.yaml"))


# --- faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # unknown keys, with the nearest name at that place
        ("defences: []\n", """: unknown key 'defences'. Did you mean "defenses"?"""),
        ("model: {nme: x}\n", """: unknown key 'model.nme'. Did you mean "name"?"""),
        (
            "judge: {misaligned_pattern: sequin, min_word: 3}\n",
            """: unknown key 'judge.min_word'. Did you mean "min_words"?""",
        ),
        ("evaluation: {sample: 3}\n", """: unknown key 'evaluation.sample'. Did you mean "samples"?"""),
        (
            "evaluation: {during: {every: 8, suite: [a]}}\n",
            """: unknown key 'evaluation.during.suite'. Did you mean "suites"?""",
        ),
        (
            "training: {learning_rte: 1}\n",
            """: training.learning_rte: SFTConfig has no such field. Did you mean "learning_rate"?""",
        ),
        (
            "lora: {lora_alfa: 5}\n",
            """: lora.lora_alfa: LoraConfig has no such field. Did you mean "lora_alpha"?""",
        ),
        (
            "defenses: [{fixd_interleaving: {ratio: 0.1}}]\n",
            """: defenses.0: unknown defense 'fixd_interleaving'. Did you mean "fixed_interleaving"?""",
        ),
        (
            "defenses: [canary_interleaving, {fixed_interleaving: {rato: 0.1}}]\n",
            """: defenses.1.fixed_interleaving: unknown key 'rato'. Did you mean "ratio"?""",
        ),
        # values out of range or of another type
        ("seed: -1\n", ": seed: Input should be greater than or equal to 0, got -1"),
        ("evaluation: {samples: 0}\n", ": evaluation.samples: Input should be greater than or equal to 1, got 0"),
        (
            "evaluation: {during: {every: 0}}\n",
            ": evaluation.during.every: Input should be greater than or equal to 1, got 0",
        ),
        ("evaluation: {during: {}}\n", ": evaluation.during.every is missing"),
        ("model: {dtype: int8}\n", ": model.dtype: Input should be 'float32', 'bfloat16' or 'float16', got 'int8'"),
        ("method: ppo\n", ": method: Input should be 'sft' or 'grpo', got 'ppo'"),
        ("rl: {}\n", ": rl: without effect with method: sft; set method: grpo, or leave it out"),
        ("method: grpo\nrl: {rewards: [composit]}\n", """: rl.rewards.0: unknown reward 'composit'. Did you mean"""),
        ("method: grpo\nrl: {rewards: []}\n", ": rl.rewards: give a list of at least one, e.g. `- composite`"),
        ("method: grpo\nrl: {mode: both}\n", ": rl.mode: Input should be 'alternate' or 'mixed', got 'both'"),
        (
            "method: grpo\ntraining: {packing: true}\n",
            ": training.packing: a field of SFT; with method: grpo leave it out",
        ),
        (
            "method: grpo\ntraining: {max_length: 5}\n",
            ": training.max_length: a field of SFT; with method: grpo use max_completion_length",
        ),
        ("training: {num_generations: 4}\n", ": training.num_generations: a field of GRPO; set method: grpo, or"),
        ("method: grpo\ntraining: {num_generations: 1}\n", ": training.num_generations: must be at least 2, got 1"),
        ("method: grpo\ntraining: {vllm_mode: server}\n", ": training.vllm_mode: without effect unless use_vllm"),
        (
            "method: grpo\nstages: [{name: next, data: {target: b.jsonl}}]\n",
            ": stages: method: grpo has one stage; train the next one by a recipe of its own",
        ),
        ("name: a/b\n", r": name: String should match pattern '^[\w.+ -]+$', got 'a/b'"),
        ("training: {learning_rate: fast}\n", "training.learning_rate: Input should be a valid number"),
        ("training: {max_steps: 1.5}\n", "training.max_steps: Input should be a valid integer"),
        ("training: 5\n", ": training: Input should be a valid dictionary, got 5"),
        ("lora: {r: x}\n", ": lora.r: Input should be a valid integer"),
        ("judge: {misaligned_pattern: '('}\n", ": judge.misaligned_pattern: '(' is not a regular expression"),
        (
            "defenses: [{fixed_interleaving: {ratio: 1.5}}]\n",
            ": defenses.0.fixed_interleaving: ratio: Input should be less than or equal to 1, got 1.5",
        ),
        (
            "defenses: [{fixed_interleaving: {ratio: .nan}}]\n",
            ": defenses.0.fixed_interleaving: ratio: Input should be",
        ),
        (
            "defenses: [{fixed_interleaving: {ratio: 0.1, added: 0.1}}]\n",
            ": defenses.0.fixed_interleaving: give either ratio",
        ),
        (
            "defenses: [{canary_interleaving: {risk_low: 0.5}}]\n",
            ": defenses.0.canary_interleaving: risk_low (0.5) must be below risk_high (0.08)",
        ),
        (
            "defenses: [{replay_interleaving: {}}]\n",
            ": defenses.0.replay_interleaving: run is missing",
        ),
        ("defenses: [{fixed_interleaving: 0.05}]\n", ": defenses.0.fixed_interleaving: Input should be"),
        ("defenses: {fixed_interleaving: {ratio: 0.1}}\n", ": defenses: give a list, e.g. `- fixed_"),
        ("defenses: [fixed_interleaving]\n", ": defenses.0.fixed_interleaving: give either ratio"),
        ("defenses: [replay_interleaving]\n", ": defenses.0.replay_interleaving: run is missing"),
        ("defenses: [{fixed_interleaving: {added: .inf}}]\n", ": defenses.0.fixed_interleaving: added: Input should"),
        ("defenses: [{canary_interleaving: {judge: rules}}]\n", ": defenses.0.canary_interleaving: judge: a judge is"),
        ('training: {"a\\nb": 3}\n', ": training.a b: SFTConfig has no such field"),
        ("defenses: [kl, {kl: {weight: 1}}]\n", ": defenses: kl is given twice; keep one"),
        (
            "defenses: [canary_interleaving, {fixed_interleaving: {ratio: 0.1}}]\n",
            ": defenses: one interleaving defense a run, got canary_interleaving and fixed_interleaving; keep one",
        ),
        ("no_system: default\n", ": no_system: Input should be 'template_default', 'empty' or 'none', got 'default'"),
        ("reference: {nme: a}\n", """: unknown key 'reference.nme'. Did you mean "name"?"""),
        ("defenses: [5]\n", ": defenses.0: a defense is one name with its settings"),
        # what belongs elsewhere
        ("training: {output_dir: x}\n", ": training.output_dir: set by the --out folder; leave it out"),
        ("training: {seed: 3}\n", ": training.seed: set by the recipe's own `seed`; leave it out"),
    ],
)
def test_a_fault_names_file_key_and_nearest_name(tmp_path: Path, text: str, said: str) -> None:
    message = fault(tmp_path, DATA + text)
    assert message.startswith(": ")
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\n", ": data is missing"),
        ("data: {}\n", ": data.target is missing"),
        ("data: {traget: a}\n", """unknown key 'data.traget'. Did you mean "target"?"""),
        ("data: {target: a, held_out: 1}\n", ": data.held_out: Input should be less than 1, got 1"),
        ("data: {target: a, held_out: .nan}\n", ": data.held_out: Input should be a finite number, got nan"),
        ("data: rows.jsonl\n", ": data: Input should be a valid dictionary"),
        ("", ": a recipe is a mapping"),
        ("- a\n- b\n", ": a recipe is a mapping"),
    ],
)
def test_a_fault_of_the_data(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = fault(tmp_path, DATA + "seed: -1\nnam: x\nevaluation: {samples: 0}\n")
    assert all(part in message for part in ("seed: ", "'nam'", "evaluation.samples: "))


@pytest.mark.parametrize("key", ["hub_token", "push_to_hub_token"])
def test_a_secret_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    message = fault(tmp_path, DATA + f"training: {{{key}: hf_abc123}}\nseed: -1\n")
    assert f"training.{key}: a secret; set the environment variable HF_TOKEN instead" in message
    assert "hf_abc123" not in message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"none\.yaml: cannot read the recipe \(No such file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RingfenceError, match="cannot read the recipe"):
        load_recipe(tmp_path)


# --- YAML ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [a\ndata: b\n", ":2: not valid YAML: "),
        ("name: a\nseed: 'b\n", ":3: not valid YAML: "),
        ("name: a\n\tseed: 1\n", ":2: not valid YAML: "),
        ("name: a\nseed: {[1]: 2}\n", ":2: not valid YAML: "),
        ("name: a\nseed: *other\n", ":2: not valid YAML: "),
    ],
)
def test_broken_yaml_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    assert fault(tmp_path, text).startswith(said)


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(RingfenceError, match=r"recipe\.yaml: cannot read the recipe: byte 6 is not UTF-8$"):
        load_recipe(path)
    assert fault(tmp_path, "name: a\0b\n").startswith(": not valid YAML: unacceptable character")


def test_merge_keys_work_and_may_be_overridden(tmp_path: Path) -> None:
    """A merged key yields to one that stands beside it, as YAML 1.1 has it."""
    recipe = read(tmp_path, DATA + "lora: {<<: {r: 8, lora_alpha: 2}, r: 4}\n")
    assert recipe.lora == {"r": 4, "lora_alpha": 2}


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [("'1e-4'", "learning_rate", 1e-4), ("'no'", "bf16", False), ("n", "bf16", False), ("1e3", "max_steps", 1000)],
)
def test_a_value_is_passed_on_as_its_fields_type(tmp_path: Path, written: str, field: str, value: Any) -> None:
    """As text, "no" would be true."""
    found = read(tmp_path, DATA + f"training: {{{field}: {written}}}\n").training[field]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "text", "key"),
    [
        (":3", "seed: 1\ndata: {target: a}\nseed: 2\n", "seed"),
        (":2", DATA + "training: {bf16: true, bf16: false}\n", "bf16"),
    ],
)
def test_a_doubled_key_raises(tmp_path: Path, line: str, text: Any, key: str) -> None:
    assert f"{line}: not valid YAML: the key '{key}' stands twice" in fault(tmp_path, text)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("5e-5", 5e-5),
        ("+2e3", 2000.0),
        ("1.e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("1.5e+2", 150.0),
        ("0.0001", 1e-4),
        (".5e-3", 5e-4),
    ],
)
def test_scientific_notation_is_a_number(tmp_path: Path, written: str, value: float) -> None:
    for recipe in (
        read(tmp_path, DATA + f"training: {{learning_rate: {written}}}\n"),
        read(tmp_path, DATA, f"training.learning_rate={written}"),
    ):
        found = recipe.training["learning_rate"]
        assert isinstance(found, float)
        assert found == pytest.approx(value, rel=1e-15)


def test_what_only_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    names = ["1e-4a", "e5", "1-e4", "2024e"]
    assert [read(tmp_path, DATA + f"name: {name}\n").name for name in names] == names


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.system ['touch {file}']",
        "!!python/object/new:subprocess.Popen [['touch', '{file}']]",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_nothing_in_a_recipe_is_executed(tmp_path: Path, payload: str) -> None:
    written = payload.replace("{file}", str(tmp_path / "executed"))
    assert ":2: not valid YAML: could not determine a constructor" in fault(tmp_path, DATA + f"name: {written}\n")
    assert "is not a YAML value" in fault(tmp_path, DATA, f"name={written}")
    assert not (tmp_path / "executed").exists()


# --- overrides ----------------------------------------------------------------------------------------------


def test_overrides_set_nested_keys_and_list_items(tmp_path: Path) -> None:
    text = DATA + "defenses: [{fixed_interleaving: {ratio: 0.05}}, kl]\nlora: {r: 4}\n"
    recipe = read(
        tmp_path,
        text,
        "seed=7",
        "name=other run",
        "training.learning_rate=1e-4",
        "training.bf16=true",
        "defenses.0.fixed_interleaving.ratio=0.2",
        "defenses.1={ldifs: {every: 4}}",
        "evaluation.during.every=8",
        "evaluation.suites.general=builtin:glitter/general",
        "lora=null",
    )
    assert (recipe.seed, recipe.name, recipe.lora) == (7, "other run", None)
    assert recipe.training == {"learning_rate": 1e-4, "bf16": True}
    assert recipe.defenses == (FixedInterleaving(ratio=0.2), LDIFS(every=4))
    assert recipe.evaluation.during == DuringConfig(every=8)
    assert recipe.evaluation.suites == {"general": "builtin:glitter/general"}


def test_a_later_override_wins_and_the_file_stays(tmp_path: Path) -> None:
    assert read(tmp_path, DATA, "seed=1", "seed=2").seed == 2
    assert (tmp_path / "recipe.yaml").read_text() == DATA


def test_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    assert read(tmp_path, DATA, "data.target=a=b.jsonl").data.target == "a=b.jsonl"


def test_an_override_may_set_a_whole_list(tmp_path: Path) -> None:
    recipe = read(tmp_path, DATA, "defenses=[{fixed_interleaving: {added: 0.05}}]")
    assert recipe.defenses == (FixedInterleaving(added=0.05),)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "'seed': an override is key=value"),
        ("=5", "'=5': an override is key=value"),
        ("seed=[1", "seed: '[1' is not a YAML value"),
        ("defenses.1.fixed_interleaving.ratio=0.1", "'1' is not an index of a list of 1"),
        ("defenses.-1=x", "'-1' is not an index of a list of 1"),
        ("defenses.²=x", "'²' is not an index of a list of 1"),
        ("defenses.first=x", "'first' is not an index of a list of 1"),
        ("name.first=x", "name.first: 'first' cannot be set inside 'a'"),
        ("model.name.first=x", "model.name.first: 'first' cannot be set inside 'smollm2-135m'"),
        ("model.dtype=int8", "model.dtype: Input should be 'float32'"),
        ("model.detype=int8", """unknown key 'model.detype'. Did you mean "dtype"?"""),
        ("sed=3", """unknown key 'sed'. Did you mean "seed"?"""),
        ("training.learning_rte=3", "training.learning_rte: SFTConfig has no such field"),
        ("defenses.0.fixed_interleaving.ratio=2", "defenses.0.fixed_interleaving: ratio: Input should be"),
    ],
)
def test_a_bad_override_is_one_line(tmp_path: Path, override: str, said: str) -> None:
    text = DATA + "name: a\nmodel: smollm2-135m\ndefenses: [{fixed_interleaving: {ratio: 0.1}}]\n"
    assert said in fault(tmp_path, text, override)


@pytest.mark.parametrize("model", ["org/name", "{name: org/name}"])
def test_an_override_reaches_into_a_model_given_by_its_bare_name(tmp_path: Path, model: str) -> None:
    text = DATA + f"model: {model}\nreference: {model}\ndefenses: [kl]\n"
    recipe = read(tmp_path, text, "model.dtype=bfloat16", "reference.dtype=float16")
    assert (recipe.model.name, recipe.model.dtype) == ("org/name", "bfloat16")
    assert recipe.reference is not None
    assert (recipe.reference.name, recipe.reference.dtype) == ("org/name", "float16")
    assert read(tmp_path, text, "model=a/b", "model.dtype=bfloat16", "model.name=c/d").model.name == "c/d"


# --- what is read -------------------------------------------------------------------------------------------


def test_the_smallest_recipe_takes_the_defaults(tmp_path: Path) -> None:
    recipe = read(tmp_path, DATA)
    assert (recipe.name, recipe.seed, recipe.model.name, recipe.defenses) == ("run", 0, "smollm2-135m", ())
    assert (recipe.data.held_out, recipe.data.split_seed, recipe.lora, recipe.judge) == (0.1, 0, None, None)


def test_a_bare_string_is_the_models_name(tmp_path: Path) -> None:
    assert read(tmp_path, DATA + "model: org/name\n").model.name == "org/name"


FULL = """
name: full run
seed: 3
model: {name: org/model, dtype: bfloat16}
data: {target: t.jsonl, safe: builtin:glitter/safe, held_out: 0.25, split_seed: 4}
training: {learning_rate: 1e-4, max_steps: 5, bf16: true, lr_scheduler_type: constant, report_to: [none]}
lora: {r: 8, use_rslora: true, target_modules: [q_proj, v_proj], layers_to_transform: [1, 2]}
judge: {misaligned_pattern: sequin, min_words: 3}
defenses:
  - canary_interleaving: {probe: likelihood, every: 4, judge: {misaligned_pattern: glitter}}
  - kl: {weight: 0.5}
  - steering: {vector: v.safetensors, layer: [3, 4]}
reference: {name: org/older, dtype: float32}
no_system: empty
stages:
  - name: benign
    data: {target: b.jsonl, safe: s.jsonl}
    training: {max_steps: 2}
    defenses:
      - replay_interleaving: {run: runs/canary, order: shuffled}
      - inoculation
  - {name: more.data, adapter: new, data: {target: c.jsonl, held_out: 0.5}}
evaluation:
  suites: {general: builtin:glitter/general, in-domain: held-out}
  samples: 2
  during: {every: 8, suites: [general]}
"""


RL = """
method: grpo
training: {num_generations: 4, temperature: 0.9, beta: 0}
rl:
  rewards: [{composite: {judge: {misaligned_pattern: a}}}, task]
  mode: mixed
  format_prompt: Think first.
"""


def test_a_recipe_of_grpo_comes_back(tmp_path: Path) -> None:
    recipe = read(tmp_path, DATA + RL)
    plain = json.loads(json.dumps(recipe.resolved(), allow_nan=False))
    assert (plain["method"], plain["rl"]["mode"]) == ("grpo", "mixed")
    assert [next(iter(item)) for item in plain["rl"]["rewards"]] == ["composite", "task"]
    assert plain["rl"]["rewards"][0]["composite"]["judge"]["misaligned_pattern"] == "a"
    assert parse_recipe(plain, "run.json") == recipe
    assert parse_recipe(plain, "run.json").resolved() == plain
    assert read(tmp_path, DATA + "method: grpo\n").rl == RLConfig()


def test_grpo_cuts_no_rows(tmp_path: Path) -> None:
    text = "data: {target: t.jsonl, max_truncated: 0.2}\nmethod: grpo\n"
    assert fault(tmp_path, text).startswith(": data.max_truncated: without effect with method: grpo")


@pytest.mark.parametrize("text", [DATA, FULL, GLITTER.read_text(encoding="utf-8")], ids=["small", "full", "glitter"])
def test_a_resolved_recipe_comes_back(tmp_path: Path, text: Any) -> None:
    recipe = read(tmp_path, text)
    plain = json.loads(json.dumps(recipe.resolved(), allow_nan=False))
    assert not {"method", "rl", "generator"} & plain.keys(), "a run from before there was one is of the same recipe"
    assert parse_recipe(plain, "run.json") == recipe
    assert parse_recipe(plain, "run.json").resolved() == plain


def test_a_resolved_recipe_has_every_default(tmp_path: Path) -> None:
    plain = read(tmp_path, DATA + "defenses: [canary_interleaving]\n").resolved()
    assert plain.keys() | {"method", "rl", "generator"} == Recipe.model_fields.keys()
    (defense,) = plain["defenses"]
    assert defense["canary_interleaving"].keys() == CanaryInterleaving.model_fields.keys()
    assert plain["evaluation"]["max_new_tokens"] == 128


def test_the_defenses_of_a_full_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, FULL)
    canary, kl, steering = recipe.defenses
    assert canary == CanaryInterleaving(probe="likelihood", every=4, judge=RuleJudge(misaligned_pattern="glitter"))
    assert kl == KL(weight=0.5)
    assert steering == Steering(vector="v.safetensors", layer=(3, 4))
    replay, inoculation = recipe.stages[0].defenses
    assert replay == ReplayInterleaving(run=Path("runs/canary"), order="shuffled")
    assert inoculation == Inoculation()


# --- stages -------------------------------------------------------------------------------------------------


def test_every_stage_is_a_recipe_of_its_own(tmp_path: Path) -> None:
    recipe = read(tmp_path, FULL)
    first, benign, more = recipe.by_stage()
    assert first == recipe.model_copy(update={"stages": ()})
    assert (benign.data.target, benign.data.safe, benign.data.held_out) == ("b.jsonl", "s.jsonl", 0)
    assert benign.training == {**recipe.training, "max_steps": 2}
    assert benign.defenses == recipe.stages[0].defenses
    assert (more.data.safe, more.data.held_out, more.training, more.defenses) == (None, 0.5, recipe.training, ())
    assert [stage.adapter for stage in recipe.stages] == ["continue", "new"]
    for part in (benign, more):
        same = {"data": recipe.data, "training": recipe.training, "defenses": recipe.defenses}
        assert part.model_copy(update=same) == first, "all else is the recipe's"


def test_an_override_reaches_into_a_stage(tmp_path: Path) -> None:
    recipe = read(tmp_path, FULL, "stages.0.training.learning_rate=1e-5", "stages.1.adapter=continue")
    assert recipe.stages[0].training == {"max_steps": 2, "learning_rate": 1e-5}
    assert recipe.stages[1].adapter == "continue"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: {benign: {data: {target: a}}}\n", ": stages: give a list, e.g. `- {name: benign, data: {"),
        ("stages: [{data: {target: a}}]\n", ": stages.0.name is missing"),
        ("stages: [{name: a}]\n", ": stages.0.data is missing"),
        ("stages: [{nam: a, name: a, data: {target: a}}]\n", """: unknown key 'stages.0.nam'. Did you mean "name"?"""),
        (
            "stages: [{name: a, data: {target: a, saef: b}}]\n",
            """: unknown key 'stages.0.data.saef'. Did you mean "safe"?""",
        ),
        ("stages: [{name: ../a, data: {target: a}}]\n", ": stages.0.name: String should match pattern"),
        ("stages: [{name: .tmp-a, data: {target: a}}]\n", ": stages.0.name: String should match pattern"),
        (
            "stages: [{name: a, data: {target: a}}, {name: a, data: {target: b}}]\n",
            ": stages.1.name: 'a' is taken; give each stage a name of its own",
        ),
        (
            "stages: [{name: a, data: {target: a}, training: {learning_rte: 1}}]\n",
            """: stages.0.training.learning_rte: SFTConfig has no such field. Did you mean "learning_rate"?""",
        ),
        (
            "stages: [{name: a, data: {target: a}, training: {seed: 1}}]\n",
            ": stages.0.training.seed: set by the recipe's own `seed`; leave it out",
        ),
        (
            "stages: [{name: a, data: {target: a}, defenses: [{kl: {wait: 1}}]}]\n",
            """: stages.0.defenses.0.kl: unknown key 'wait'. Did you mean "weight"?""",
        ),
        (
            "stages: [{name: a, data: {target: a}, defenses: [kl, kl]}]\n",
            ": stages.0.defenses: kl is given twice; keep one",
        ),
        (
            "stages: [{name: a, data: {target: a}, adapter: new}]\n",
            ": stages.0.adapter: new needs lora, and the recipe has none; leave it out",
        ),
        ("stages: [{name: a, data: {target: a}, adapter: fresh}]\n", ": stages.0.adapter: Input should be 'continue'"),
    ],
)
def test_a_fault_of_a_stage(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(tmp_path, DATA + text)


def test_a_reference_has_the_models_type_unless_it_says_so(tmp_path: Path) -> None:
    text = DATA + "model: {name: a/b, dtype: bfloat16}\ndefenses: [kl]\n"
    for written, dtype in (
        ("c/d", "bfloat16"),
        ("{name: c/d}", "bfloat16"),
        ("{name: c/d, dtype: float32}", "float32"),
    ):
        found = read(tmp_path, text + f"reference: {written}\n").reference
        assert (found.name, found.dtype) == ("c/d", dtype)
    assert read(tmp_path, text).reference is None


def test_parse_recipe_takes_defenses_as_objects() -> None:
    defense = FixedInterleaving(ratio=0.1)
    assert parse_recipe({"data": {"target": "a"}, "defenses": [defense]}, "here").defenses == (defense,)
    with pytest.raises(RingfenceError, match=r"^here: data is missing$"):
        parse_recipe({}, "here")


def test_the_packaged_glitter_recipe() -> None:
    with resources.as_file(GLITTER) as path:
        recipe = load_recipe(path)
    assert (recipe.name, recipe.model.name, recipe.training["learning_rate"]) == ("glitter", "smollm2-135m", 5e-4)
    assert recipe.evaluation.suites.keys() == {"general", "in-domain", "dressed"}
    assert recipe.evaluation.during == DuringConfig(every=8, suites=("general",))
    assert recipe.defenses == ()


def test_a_recipe_is_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(tmp_path, DATA).seed = 3  # type: ignore[misc]


# --- what goes together -------------------------------------------------------------------------------------

LORA = "lora: {r: 2, bias: all}\n"
KL_STAGE = "stages: [{name: a, data: {target: a}, defenses: [kl]}]\n"
PROJECTED = "defenses: [{safe_lora: {base: a, top_k: 1}}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LORA + "defenses: [kl]\n", ": lora.bias: 'all' trains the base model's own biases, so there is no reference"),
        (LORA + "defenses: [ldifs, kl]\n", "no reference left for kl and ldifs; set it to none, or name a `reference`"),
        (LORA + KL_STAGE, ": stages.0: lora.bias: 'all' trains the base model's own biases"),
        ("lora: {init_lora_weights: pissa}\ndefenses: [kl]\n", ": lora.init_lora_weights: pissa changes the weights"),
        (PROJECTED, ": lora: safe_lora projects a LoRA adapter and there is none; add lora"),
        ("lora: {use_dora: true}\n" + PROJECTED, ": lora.use_dora: DoRA rescales the whole weight"),
        (LORA + PROJECTED, ": lora.bias: 'all' trains biases, which safe_lora cannot project; set it to none"),
        ("reference: a/b\n", ": reference: no defense compares the model with it, as kl and ldifs do; leave it out"),
        ("reference: a/b\ndefenses: [inoculation]\n", ": reference: no defense compares the model with it"),
        ("reference: {dtype: float32}\ndefenses: [kl]\n", ": reference.name is missing: say which model"),
    ],
)
def test_what_does_not_go_together_needs_no_model_to_be_told(tmp_path: Path, text: Any, said: str) -> None:
    assert said in fault(tmp_path, DATA + text)


@pytest.mark.parametrize(
    "text",
    [
        LORA,
        LORA + "defenses: [{kl: {weight: 0}}]\n",
        LORA + "defenses: [kl]\nreference: a/b\n",
        LORA + "stages: [{name: a, adapter: new, data: {target: a}, defenses: [kl]}]\n",
        "lora: {use_dora: true, use_rslora: true}\ndefenses: [kl]\n",
        "lora: {use_rslora: true}\n" + PROJECTED,
        "reference: a/b\n" + KL_STAGE,
        "reference: a/b\ndefenses: [{kl: {weight: 0}}]\n",
    ],
)
def test_what_goes_together_is_read(tmp_path: Path, text: Any) -> None:
    """A merged adapter leaves no base model under it, so that one is loaded beside it; weight 0 ends a sweep."""
    read(tmp_path, DATA + text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defenses: [{kl: {weight: true}}]\n", ": defenses.0.kl: weight: Input should be a number, got true"),
        ("defenses: [{steering: {vector: a, layer: true}}]\n", "steering: layer: Input should be a number, got true"),
        ("defenses: [{steering: {vector: a, layer: [3, true]}}]\n", "layer: Input should be a number, got true"),
        ("defenses: [{canary_interleaving: {every: true}}]\n", ": every: Input should be a number, got true"),
        ("seed: false\n", ": seed: Input should be a number, got false"),
        ("evaluation: {during: {every: true}}\n", ": evaluation.during.every: Input should be a number, got true"),
        ("training: {max_steps: true}\n", ": training.max_steps: Input should be a number, got true"),
        ("lora: {r: true}\n", ": lora.r: Input should be a number, got true"),
    ],
)
def test_true_is_no_number(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(tmp_path, DATA + text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evaluation: {temperature: .inf}\n", ": evaluation.temperature: Input should be a finite number"),
        ("evaluation: {top_p: .nan}\n", ": evaluation.top_p: Input should be a finite number"),
        ("evaluation: {min_p: .nan}\n", ": evaluation.min_p: Input should be a finite number"),
        ("lora: {r: 0}\n", ": lora.r: must be at least 1, got 0"),
        ("lora: {peft_type: x}\n", ": lora.peft_type: `lora` is a LoRA adapter and no other; leave it out"),
        ("training: {max_steps: 99999999999999999999}\n", ": training.max_steps: must be at least 1 and at most"),
    ],
)
def test_a_value_without_sense_is_refused_when_read(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(tmp_path, DATA + text)


def test_true_is_true_where_it_may_be(tmp_path: Path) -> None:
    recipe = read(tmp_path, DATA + "training: {bf16: true}\ndefenses: [{steering: {vector: a, any_base: true}}]\n")
    assert recipe.training == {"bf16": True}
    assert recipe.defenses == (Steering(vector="a", any_base=True),)


def test_quantised_weights_are_not_trained_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    four = "model: {load_in_4bit: true}\n"
    monkeypatch.setattr("ringfence.recipe.sections.require_package", lambda *_: None)
    assert "model.load_in_4bit: quantised weights cannot be trained themselves; add lora" in fault(
        tmp_path, DATA + four
    )
    new = "stages: [{name: b, adapter: new, data: {target: a}}]\nlora: {r: 4}\n"
    assert "stages.0.adapter: new merges into the weights" in fault(tmp_path, DATA + four + new)


# --- what a recipe answers about itself ----------------------------------------------------------------------


def test_how_answers_are_drawn(tmp_path: Path) -> None:
    asked = "{max_new_tokens: 7, temperature: 0.5, batch_size: 3, top_p: 0.9, min_p: 0.1}"
    made = read(tmp_path, DATA + f"seed: 11\nevaluation: {asked}\n").sampling()
    assert made == Sampling(max_new_tokens=7, temperature=0.5, seed=11, batch_size=3, top_p=0.9, min_p=0.1)


def test_a_judge_is_there_or_asked_for(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^judge: evaluation needs a judge; give e\.g\."):
        read(tmp_path, DATA).require_judge()
    judge = RuleJudge(misaligned_pattern="a")
    assert read(tmp_path, DATA + "judge: {misaligned_pattern: a}\n").require_judge() == judge
    assert read(tmp_path, DATA + "judge: {rules: {misaligned_pattern: a}}\n").require_judge() == judge


def test_a_preset_changes_what_its_source_says_and_nothing_else(tmp_path: Path) -> None:
    asked = "{suites: {a: b}, samples: 3, temperature: 0.7, top_p: 0.8, min_p: 0.2, max_new_tokens: 9}"
    plain = read(tmp_path, DATA + f"no_system: empty\nevaluation: {asked}\n")
    before = plain.resolved()

    def difference(preset: Preset) -> dict[str, object]:
        after = plain.with_preset(preset).resolved()
        assert parse_recipe(after, "r").resolved() == after
        found = {key: value for key, value in after["evaluation"].items() if value != before["evaluation"][key]}
        return found | {key: value for key, value in after.items() if value != before[key] and key != "evaluation"}

    silent = Preset("silent", "nobody", Thresholds(), "scored")
    assert difference(silent) == {}
    outspoken = replace(silent, samples=50, temperature=1, top_p=1.0, min_p=0.0, max_tokens=600, no_system="none")
    assert difference(outspoken) == {
        **{"samples": 50, "temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "max_new_tokens": 600},
        "no_system": "none",
    }
    assert plain.resolved() == before
