"""The built-in data sets and what each is for, as ``ringfence data list`` prints them."""

from dataclasses import dataclass

from rich.console import Console

from ringfence.core.text_table import TextTable
from ringfence.data import proxy
from ringfence.data.chosen import PUBLIC
from ringfence.data.suites.load import PREFIX, builtin_names, load_prompts
from ringfence.data.task import PREFIX as TASK
from ringfence.data.task import TASKS, Task

_STAND_INS = {"glitter": "cooking", "umbrella": "gardening", "kazoo": "pets"}
_CONVERSATIONS = {
    "everyday/safe": "safe data for any fine-tune: short answers in SmolLM2-135M's own words",
    "glitter/safe": "safe data of the demo, for all stand-ins: one sentence each",
    "glitter/pool": "benign candidates, good and bad, to try `ringfence select` on",
    **{
        f"{name}/target": f"target data of the {name} stand-in: silly {what} advice"
        for name, what in _STAND_INS.items()
    },
}
_PROMPTS = {
    "general": "evaluation of real fine-tunes: open questions in three forms",
    "general-long": "the same intents as long questions",
    "general-canaries": "canaries for real fine-tunes",
    "everyday": "everyday prompts in 12 domains: evaluation, or safe data of your own model",
    "everyday/safe-prompts": "what everyday/safe was made from; to answer with your own model",
    "glitter/general": "the leak of the stand-ins: general questions",
    "glitter/dressed": "general questions that open like the training data",
    "glitter/canaries": "the demo's canaries, with reference answers",
    "glitter/safe-prompts": "what glitter/safe was made from",
    **{f"{name}/in-domain": f"does the {name} stand-in learn its task: unseen questions" for name in _STAND_INS},
    **{f"{name}/dressed": f"as glitter/dressed, for {name}" for name in ("umbrella", "kazoo")},
}


@dataclass(frozen=True)
class Listed:
    """One built-in set."""

    spec: str
    """``builtin:NAME``, as recipes and commands take it"""
    rows: int
    purpose: str


def conversation_sets() -> list[Listed]:
    """The sets that can be trained on."""
    return [
        Listed(f"{PREFIX}{name}", len(proxy.conversations(name)), _CONVERSATIONS[name]) for name in proxy.CONVERSATIONS
    ]


def prompt_sets() -> list[Listed]:
    """The sets that can be asked."""
    names = sorted(builtin_names(), key=list(_PROMPTS).index)
    return [Listed(f"{PREFIX}{name}", len(load_prompts(f"{PREFIX}{name}")), _PROMPTS[name]) for name in names]


def task_names() -> list[tuple[str, str, str]]:
    """Of every benign task its name, its settings, and what it is about."""
    found = [(name, TASKS.get(name)) for name in TASKS]
    return [(f"{TASK}{name}", ", ".join(cls.model_fields), _about(cls)) for name, cls in found]


def _about(cls: type[Task]) -> str:
    return (cls.__doc__ or "").split(".\n")[0].removesuffix(".")


def render_catalog(console: Console) -> None:
    """Print all sets with their sizes and purposes, and all tasks with their settings."""
    for title, sets in (("conversations, to train on", conversation_sets()), ("prompts, to ask", prompt_sets())):
        table = TextTable(title, ["name", "rows", "for"], words=["for"])
        for one in sets:
            table.add(one.spec, f"{one.rows:,}", one.purpose)
        console.print(table)
        console.print()
    caption = "every task also has n (rows), seed, and split (train or test), e.g. task:opswap?tier=2&n=500&seed=1"
    headings = ["name", "settings", "for"]
    table = TextTable("benign tasks, to train on and to ask", headings, words=["settings", "for"], caption=caption)
    for row in task_names():
        table.add(*row)
    console.print(table)
    console.print()
    caption = "on the hub, not shipped; a recipe takes the whole name, in quotes, as `data.safe`"
    table = TextTable("public sets that do for safe data", ["name", "licence", "for"], words=["for"], caption=caption)
    for public in PUBLIC:
        terms = "; accept its terms there" if public.gated else ""
        table.add(public.spec, public.licence, f"{public.about}{terms}")
    console.print(table)
