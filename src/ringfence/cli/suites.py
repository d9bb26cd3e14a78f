"""``ringfence suites``: keep copies of published question files, and look at any suite."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError
from ringfence.core.text_table import TextTable

if TYPE_CHECKING:
    from ringfence.data import Suite


_FILL = "Text for a placeholder of the questions, as NAME=TEXT; may be given again."
_WITHOUT = "A column or key without which every question is complete; may be given again."
_SHOWN = 80  # characters of a question in the table: of its beginning and, where many ask, of its end


@examples(
    "ringfence suites add betley first_plot_questions.yaml",
    "ringfence suites add betley https://github.com/OWNER/REPOSITORY/blob/main/evaluation/questions.yaml",
    'ringfence suites add thoughtful questions.yaml --reasoning "Think before you answer."',
    "ringfence suites add mine questions.jsonl --without remarks_of_raters",
)
def add(
    name: Annotated[str, typer.Argument(help="What to call it; recipes then say `suite:NAME`.")],
    source: Annotated[str, typer.Argument(help="A .yaml, .json or .jsonl file, or its http(s) address.")],
    reasoning: Annotated[str | None, typer.Option(help="Text for the placeholder `{reasoning}`.")] = None,
    fill: Annotated[list[str] | None, typer.Option(help=_FILL)] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help=_WITHOUT)] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Forget what NAME stood for.")] = False,
) -> None:
    """Keep a copy of a published question file, with where it came from and its SHA-256.

    Later uses fail if the copy has changed. Nothing in the file is run.
    """
    from ringfence.data import load_suite
    from ringfence.data.suites import store as suite_store

    suite_store.add(name, source, _fills(reasoning, fill or []), replace, without or [])
    _facts(load_suite(f"{suite_store.PREFIX}{name}"))
    say(f"kept in {suite_store.store_folder() / name}; use it as suite:{name}")


@examples(
    "ringfence suites list",
)
def list_() -> None:
    """List your copies of published suites, and the built-in ones."""
    from ringfence.data import load_suite
    from ringfence.data.suites import store as suite_store
    from ringfence.data.suites.load import PREFIX, builtin_names

    table = TextTable("", ["suite", "prompts", "SHA-256", "from"], words=["from"])
    specs = [f"{suite_store.PREFIX}{name}" for name in suite_store.names()]
    for spec in [*specs, *(PREFIX + name for name in sorted(builtin_names()))]:
        try:
            suite = load_suite(spec)
        except RingfenceError as error:
            table.add(spec, "", "", f"cannot be used: {error}")
            continue
        origin = "" if suite.source == spec else suite.source
        table.add(spec, str(len(suite.prompts)), suite.digest[:12], origin)
    console.print(table)


@examples(
    "ringfence suites show builtin:general",
    "ringfence suites show suite:betley --full",
    "ringfence suites show my-questions.jsonl --json | jq '.prompts[].messages'",
)
def show(
    suite: Annotated[str, typer.Argument(help="`builtin:NAME`, `suite:NAME`, `task:NAME?...`, or a file.")],
    reasoning: Annotated[str | None, typer.Option(help="Text for the placeholder `{reasoning}`.")] = None,
    fill: Annotated[list[str] | None, typer.Option(help=_FILL)] = None,
    full: Annotated[bool, typer.Option("--full", help="Every message and judge prompt, whole.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as one JSON object, for programs.")] = False,
) -> None:
    """Print where a suite comes from, what its authors say of it, what is left out, and its questions."""
    from ringfence.data import load_suite

    if full and as_json:
        raise RingfenceError("--full and --json: each prints everything in its own form; give one of them")
    loaded = load_suite(suite, _fills(reasoning, fill or []) or None)
    if as_json:
        typer.echo(json.dumps(_plain(loaded), indent=2, ensure_ascii=False))
        return
    _facts(loaded)
    if full:
        _print_lines(_whole(loaded))
        return
    table = TextTable("", ["id", "form", "turns before", "question"], words=["form", "turns before", "question"])
    for prompt in loaded.prompts:
        before = ", ".join(turn["role"] for turn in prompt.messages[:-1])
        text = " ".join(prompt.text.split())
        form = loaded.settings[prompt.id].variant or ""
        table.add(prompt.id, form, before, _in_short(text))
    console.print(table)


def _in_short(text: str) -> str:
    """At most :data:`_SHOWN` characters; what is left out stands in the middle."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[1 - _SHOWN // 2 :]}"


def _plain(suite: "Suite") -> dict[str, Any]:
    """All of ``suite`` as plain data."""
    return {
        "name": suite.name,
        "source": suite.source,
        "sha256": suite.digest,
        "fills": dict(suite.fills),
        "used": list(suite.used),
        "not_used": list(suite.ignored),
        "roles": dict(suite.roles),
        "prompts": [
            {
                **asdict(prompt),
                **asdict(suite.settings[prompt.id]),
                "judge_prompts": dict(suite.judge_prompts.get(prompt.id, {})),
            }
            for prompt in suite.prompts
        ],
    }


def _whole(suite: "Suite") -> Iterator[str]:
    """Every prompt with all its messages, and every judge prompt once, with the prompts that it judges."""
    for prompt in suite.prompts:
        form = suite.settings[prompt.id].variant
        yield f"\n=== {prompt.id}" + (f" ({form})" if form else "")
        for turn in prompt.messages:
            yield f"[{turn['role']}]\n{turn['content']}"
        for label, answer in (("good answer", prompt.good), ("bad answer", prompt.bad)):
            if answer is not None:
                yield f"[{label}]\n{answer}"
    judged: dict[tuple[str, str], list[str]] = {}
    for prompt in suite.prompts:
        for one in suite.judge_prompts.get(prompt.id, {}).items():
            judged.setdefault(one, []).append(prompt.id)
    for (metric, text), ids in judged.items():
        of = "all prompts" if len(ids) == len(suite.prompts) else ", ".join(ids)
        yield f"\n=== judge prompt {metric}, of {of}\n{text}"


def _fills(reasoning: str | None, fill: list[str]) -> dict[str, str]:
    from ringfence.data.suites.fills import require_plain

    fills = {} if reasoning is None else {"reasoning": reasoning}
    for pair in fill:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise RingfenceError(f"--fill {pair!r}: write NAME=TEXT with the name that stands between the braces")
        fills[name] = text
    require_plain(fills)
    return fills


def _facts(suite: "Suite") -> None:
    settings = list(suite.settings.values())
    forms = sorted({one.variant or "plain" for one in settings})
    lines = [
        f"{suite.name}: prompts {len(suite.prompts)}, questions {len({one.question for one in settings})}"
        + (f", forms {', '.join(forms)}" if len(forms) > 1 else ""),
        f"from {suite.source}",
        f"SHA-256 {suite.digest}",
    ]
    for label, key in (("samples", "samples"), ("temperature", "temperature"), ("max tokens", "max_tokens")):
        values = sorted({getattr(one, key) for one in settings} - {None})
        if values:
            lines.append(f"{label}: {', '.join(map(str, values))}")
    if judges := sorted({one.judge for one in settings if one.judge}):
        lines.append(f"judge: {', '.join(judges)}")
    if suite.metrics:
        lines.append(f"judge prompts: {', '.join(suite.metrics)}")
    lines += [f"{{{name}}} is {text!r}" for name, text in suite.fills.items()]
    if asked := sum(prompt.messages[0]["role"] == "system" for prompt in suite.prompts):
        lines.append(f"system messages: in {asked} of {len(suite.prompts)} prompts")
    if suite.used:
        lines.append(f"used: {'; '.join(suite.used)}")
    if suite.ignored:
        lines.append(f"not used: {', '.join(suite.ignored)}")
    _print_lines(lines)


def _print_lines(lines: Iterable[str]) -> None:
    """Each as it is, broken by the terminal alone, so that it can be copied."""
    for line in lines:
        say(line)
