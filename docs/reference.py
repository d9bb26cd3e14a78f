"""Write the reference pages of the docs from the code itself, so that they cannot go stale (a test compares).

make docs
"""

import ast
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ringfence.core.grpo_arguments import GRPO_REFUSALS
from ringfence.core.training_arguments import REFUSALS
from ringfence.defenses import DEFENSES
from ringfence.generation.config import GENERATORS
from ringfence.judges import JUDGES
from ringfence.recipe.defended import StageConfig
from ringfence.recipe.persona import PersonaRecipe
from ringfence.recipe.run import Recipe
from ringfence.recipe.sections import (
    ConditionalConfig,
    DataConfig,
    DuringConfig,
    EvaluationConfig,
    ModelConfig,
    RLConfig,
    StageData,
    TaskConfig,
)
from ringfence.recipe.selection import SelectRecipe
from ringfence.rl.rewards import REWARDS
from ringfence.select import STEPS

sys.path.append(str(Path(__file__).parent))
import papers

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "src" / "ringfence"

HEAD = """\
# Recipe reference

<!-- Written by docs/reference.py (`make docs`); do not edit. -->

A recipe is one YAML file with everything a run depends on. `ringfence train RECIPE key=value --out DIR` changes single
keys: the key is a dotted path (list items by index, e.g. `defenses.0.canary_interleaving.every=4`), the value is YAML.
Unknown keys and values out of range raise, naming the key's path and the nearest valid name. Paths are relative to the
working folder. Nothing in a recipe is executed. Many runs at once, such as a paper's table, are a [sweep](papers.md).

`base: FILE` at the top, a path relative to the recipe, makes it a short one: it is then what that recipe is, with the
keys given here changed. Mappings go key by key; lists and all else are replaced whole. Recipes of selections and of
persona vectors, and sweeps, may have one, too. A run's folder keeps the whole recipe: the base is not read again.

```yaml
base: none.yaml
name: kl
defenses: [kl: {weight: 0.1}]
```

The smallest useful recipe:

```yaml
model: smollm2-135m
data:
  target: train.jsonl
  safe: builtin:glitter/safe
training: {num_train_epochs: 1, learning_rate: 1e-4}
lora: {r: 32, lora_alpha: 64, use_rslora: true, target_modules: all-linear}
defenses:
  - fixed_interleaving: {added: 0.05}
judge: {misaligned_pattern: 'regular expression of the quirk'}
evaluation:
  suites: {in-domain: held-out, general: prompts.jsonl}
```
"""

TRAINING = """\
## `training`

Fields of TRL's `SFTConfig`, with `method: grpo` of its `GRPOConfig`, checked by name, type and range before anything is
loaded. Where the recipe says nothing, Ringfence sets `use_cpu`, `bf16` and `gradient_checkpointing` by whether there is
a GPU, and `report_to: []`; all else is TRL's default, so SFT cuts rows at `max_length: 1024` (see
[`data.max_truncated`](#data)). Steps given as fractions (`logging_steps: 0.1`) are fractions of the target steps.
`max_steps` counts optimizer steps of the run without safe rows. What needs a package that is not installed
(`deepspeed`, a tracker of `report_to`, an optimizer) is refused.

No field is taken without effect. These are refused, unless they say what is done anyway:

REFUSED

## `lora`

Every field of PEFT's `LoraConfig`; without the key all weights are trained.
"""

STAGES = """
A list; each item is trained when the one before is done, in `stages/2-NAME`, `stages/3-NAME` and so on of the run
folder ([what is where](runs.md#stages)). Model, LoRA, judge, `no_system` and evaluation are the recipe's.

```yaml
stages:
  - name: benign
    data: {target: benign.jsonl}
    training: {learning_rate: 1e-5}
    defenses:
      - kl: {weight: 0.1}
```
"""

REWARDS_TEXT = """\
A list; each item is one name with its settings. What each is made of is [told here](rl.md#rewards).
"""

GENERATOR = """\
## `generator`

Who generates the answers of an evaluation: a name, such as `vllm`; a mapping whose `kind` is the name, with its
settings; or a server's address. Without it: `hf`. What is asked while training runs is answered by the model in
training. [What each does](evaluation.md#who-generates).
"""

JUDGE = """\
## `judge`

One mapping; its `kind` says which judge it is, and without one it is `rules`. [What each does](judges.md).
"""

TASKS = """\
A mapping of names; each item is one benign task, which a defense must not spoil. A bare text is its `task`.
[What they are for](tasks.md), and [how they are scored](evaluation.md#benign-tasks).

```yaml
evaluation:
  tasks:
    algebra: task:opswap?tier=2&n=100
    reading: {task: "task:opswap?tier=1&n=50", samples: 4, max_new_tokens: 64}
    science: {lm_eval: arc_easy, limit: 200}
```
"""

STEPS_HEAD = """\
# Selection reference

<!-- Written by docs/reference.py (`make docs`); do not edit. -->

Every key of a recipe for `ringfence select`, and every step. [What they are for](selection.md). Overrides are as in the
[recipe of a run](recipes.md): `steps.0.perplexity_gap.epsilon=0.2`. Unknown keys and values out of range raise.
"""

PERSONA_HEAD = """\
# Persona recipe reference

<!-- Written by docs/reference.py (`make docs`); do not edit. -->

Every key of a recipe for `ringfence persona extract`. [What it does](persona.md). Overrides are as in the
[recipe of a run](recipes.md): `ringfence persona extract RECIPE samples=20 --out FILE`. Unknown keys and values out
of range raise.
"""

API_HEAD = """\
# Python API

<!-- Written by docs/reference.py (`make docs`); do not edit. -->

What each package exports, from its docstrings. `from ringfence import DefendedSFTTrainer, KL` gives the trainer, the
defenses, `RuleJudge` and `RingfenceError`. All else is imported from its package, as the headings say.
"""

DATA = """\
Conversations may have these columns, one row a line of JSON (or a row of parquet, or an item of a JSON list):
`messages` (with or without system, several turns, first turn by anyone), `prompt` and `completion`, `question` and
`answer`, `instruction`, `input` and `output`, or `conversations` with `from` and `value`. Labels are on assistant
turns only.
"""


def section(title: str, model: type[BaseModel], text: str = "") -> str:
    """A heading, a sentence, and one table row a field."""
    rows = [
        f"| `{name}` | {kind(field.annotation)} | {default(field)} | {meaning(field)} |"
        for name, field in fields(model)
    ]
    body = "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows] if rows else [])
    return f"## {title}\n\n{text or first_paragraph(model)}\n\n{body or 'It has no settings.'}\n"


def fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    """Fields, those of the class itself before those of its bases."""
    own = [name for name in model.model_fields if name in model.__annotations__]
    return [(name, model.model_fields[name]) for name in (*own, *(n for n in model.model_fields if n not in own))]


def kind(annotation: Any) -> str:
    """A type as a reader of YAML would say it."""
    names = {int: "integer", float: "number", str: "text", bool: "true / false", type(None): "null", Any: "see meaning"}
    if annotation in names:
        return names[annotation]
    arguments, origin = typing.get_args(annotation), typing.get_origin(annotation)
    if origin is typing.Literal:
        return " / ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return "mapping"
    if origin in (tuple, list):
        return "list"
    if arguments:
        return " / ".join(dict.fromkeys(kind(argument) for argument in arguments))
    return "path" if annotation is Path else "mapping"


def default(field: Any) -> str:
    """The default as YAML would have it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return "null"
    if any(isinstance(one, BaseModel) for one in (value if isinstance(value, tuple) else (value,))):
        return "see below"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{'[]' if value == () else value}`"


def meaning(field: Any) -> str:
    """The docstring under the field, with its bounds."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [f"{signs[name]} {getattr(m, name)}" for m in field.metadata for name in signs if hasattr(m, name)]
    text = " ".join((field.description or "").split()).replace("``", "`").replace("|", "\\|")
    return f"{text} ({', '.join(bounds)})" if bounds else text


def first_paragraph(model: type[BaseModel]) -> str:
    """The first paragraph of the docstring, in lines of the page."""
    return wrapped((model.__doc__ or "").split("\n\n")[0])


def wrapped(text: str) -> str:
    """``text`` in lines of the page."""
    return textwrap.fill(" ".join(text.split()).replace("``", "`"), 120, break_long_words=False, break_on_hyphens=False)


def refused() -> str:
    """A table row a reason why fields of SFTConfig or of GRPOConfig may not be set."""
    reasons: dict[str, list[str]] = {}
    for name, refusal in (REFUSALS | GRPO_REFUSALS).items():
        reasons.setdefault(refusal.why, []).append(f"`{name}`")
    rows = [f"| {', '.join(names)} | {why} |" for why, names in reasons.items()]
    return "\n".join(["| field | why |", "| --- | --- |", *rows])


def render() -> str:
    """The whole page."""
    parts = [
        HEAD,
        section("The top level", Recipe),
        section("`model`", ModelConfig),
        section("`data`", DataConfig, f"{first_paragraph(DataConfig)}\n\n{DATA.strip()}"),
        TRAINING.replace("REFUSED", refused()),
        section("`rl`", RLConfig, f"{first_paragraph(RLConfig)} Refused with `method: sft`."),
        f"### `rl.rewards`\n\n{REWARDS_TEXT}",
        *(section(f"`{name}`", REWARDS.get(name)).replace("## ", "### ", 1) for name in REWARDS),
        section("`stages`", StageConfig, f"{first_paragraph(StageConfig)}\n{STAGES.rstrip()}"),
        section("`stages.data`", StageData),
        JUDGE,
        *(section(f"`kind: {name}`", judge).replace("## ", "### ", 1) for name, judge in judges()),
        GENERATOR,
        *(section(f"`generator: {name}`", one).replace("## ", "### ", 1) for name, one in generators()),
        section("`evaluation`", EvaluationConfig),
        section("`evaluation.tasks`", TaskConfig, TASKS.rstrip()),
        section("`evaluation.during`", DuringConfig),
        section("`evaluation.conditional`", ConditionalConfig),
        "## `defenses`\n\nA list; each item is one name with its settings. [What each does](defenses.md).\n",
        *(section(f"`{name}`", DEFENSES.get(name)).replace("## ", "### ", 1) for name in DEFENSES),
    ]
    return "\n".join(parts)


def render_steps() -> str:
    """The page about selections."""
    parts = [
        STEPS_HEAD,
        section("The top level", SelectRecipe),
        "## `steps`\n\nA list; each item is one name with its settings.\n",
        *(section(f"`{name}`", step, what_for(step)).replace("## ", "### ", 1) for name, step in steps()),
    ]
    return "\n".join(parts)


def render_persona() -> str:
    """The page about persona recipes."""
    return f"{PERSONA_HEAD}\n{section('The keys', PersonaRecipe)}"


def render_api() -> str:
    """The page that mkdocstrings fills: a heading a room, and what it exports."""
    found = sorted({*PACKAGE.glob("*/__init__.py"), *PACKAGE.glob("*/*/__init__.py")})
    rooms = {".".join(file.parent.relative_to(PACKAGE).parts): exported(file) for file in found}
    parts = [
        f"## `ringfence.{room}`\n\n" + "\n\n".join(f"::: {name}" for name in names)
        for room, names in rooms.items()
        if names
    ]
    return "\n\n".join([API_HEAD.rstrip(), *parts]) + "\n"


def exported(init: Path) -> list[str]:
    """Full names of what is in a room's ``__all__``, read from its source: importing it would take torch."""
    found, names = {}, list[str]()
    room = ".".join((PACKAGE.name, *init.parent.relative_to(PACKAGE).parts))
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = f"{room}.{node.name}"
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
    return [found[name] for name in names if name in found]


def steps() -> list[tuple[str, type[BaseModel]]]:
    """By name."""
    return [(name, STEPS.get(name)) for name in STEPS]


def judges() -> list[tuple[str, type[BaseModel]]]:
    """By name, the default first."""
    return [(name, JUDGES.get(name)) for name in sorted(JUDGES, key=lambda name: (name != JUDGES.default, name))]


def generators() -> list[tuple[str, type[BaseModel]]]:
    """By name, but for the default, which has no settings."""
    return [(name, GENERATORS.get(name)) for name in GENERATORS if name != GENERATORS.default]


def what_for(step: type[BaseModel]) -> str:
    """The first paragraph of a step's module, and that of the step."""
    module = (sys.modules[step.__module__].__doc__ or "").split("\n\n")[0]
    return wrapped(f"{module} {first_paragraph(step)}")


PAGES = {
    "recipes.md": render,
    "steps.md": render_steps,
    "persona-recipe.md": render_persona,
    "api.md": render_api,
    "papers.md": lambda: papers.render(section),
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
