"""Runs whose weights a server holds: checked before the first answer, said in the results, and gone on with."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import serving
import tiny
from evaluating import evaluate, responses
from loopback import Body, Loopback, Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.models import load
from ringfence.models.adapters import load_adapter
from ringfence.recipe.run import load_recipe
from ringfence.runs import evaluate as evaluations
from ringfence.runs import generators
from ringfence.runs.permissions import Allowed

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def models(trained: tuple[Path, Path, Path]) -> dict[str, Any]:
    """The untuned model and both runs, by the names that the server has for them."""
    name = load_recipe(trained[0]).model.name
    tuned = {f"run-{n}": load_adapter(load(name).model, trained[1 + n] / "adapter").eval() for n in (0, 1)}
    return {name: load(name).model, **tuned}


@pytest.fixture
def server(models: dict[str, Any]) -> Iterator[Loopback]:
    def answer(body: Body) -> Says:
        return serving.chat(models[body["model"]], tiny.tokenizer())(body)

    with loopback(answer, own="") as state:
        state.models = [*models]
        state.score = lambda body: serving.echo(models[body["model"]], body)
        yield state


def by(server: Loopback, model: str = "run-0", **settings: Any) -> list[str]:
    asked = {"kind": "server", "base_url": server.url, "model": model, "max_retries": 0, **settings}
    return [f"generator={json.dumps(asked)}"]


def answers(server: Loopback) -> list[Body]:
    """Calls that were for an answer."""
    return [body for body in server.bodies if "messages" in body and "logprobs" not in body]


def test_the_run_and_the_untuned_model_are_checked_answered_and_kept(
    trained: tuple[Path, Path, Path], server: Loopback, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 answers each: 5 questions and 1 held out, twice. Another judge, or the same again, asks and loads nothing."""
    run = trained[1]
    assert sum(evaluate(run, changes=by(server), name="served", base=True)) == 24
    assert [body["model"] for body in answers(server)].count("run-0") == 12
    assert responses(run, "served")["response"].str.startswith("As to").all()
    for folder, who in ((run, "run-0"), (run / "base", server.models[0])):
        about = json.loads((folder / "evaluations" / "served" / "summary.json").read_text())["answered_by"]
        assert (about["kind"], about["state"], about["who"]) == ("server", "passed", f"generator {who} at {server.url}")
    assert (run / "fingerprint.json").is_file()
    assert len(list((cache / "fingerprints").glob("*.json"))) == 1
    asked = server.calls
    monkeypatch.setattr(generators, "load_model", lambda _: pytest.fail("its fingerprint is known"))
    evaluate(run, changes=by(server), name="served", base=True)
    evaluate(run, changes=[*by(server), "judge.misaligned_pattern='.'"], name="served-2", base=True)
    assert server.calls == asked
    evaluate(run, changes=[*by(server), "evaluation.samples=1"], name="served-3")
    assert server.calls > asked, "other answers, by the fingerprint on disk"


def test_another_runs_weights_are_refused_and_nothing_is_answered(
    trained: tuple[Path, Path, Path], server: Loopback
) -> None:
    with pytest.raises(RingfenceError, match=r"generator run-1 at .* does not answer with this run's weights"):
        evaluate(trained[1], changes=by(server, "run-1"), name="others")
    base = server.models[0]
    with pytest.raises(RingfenceError, match="is the adapter applied"):
        evaluate(trained[1], changes=by(server, base), name="unapplied")
    assert answers(server) == []
    assert not {"others", "unapplied"} & {path.name for path in (trained[1] / "evaluations").glob("*")}


def test_a_server_that_nobody_can_check_is_said_to_be_so(trained: tuple[Path, Path, Path], server: Loopback) -> None:
    server.score, server.answer = None, lambda _: Says("An answer.")
    with pytest.raises(RingfenceError, match="require_check is set"):
        evaluate(trained[1], changes=by(server, require_check=True), name="required")
    evaluate(trained[1], changes=by(server), name="unchecked")
    summary = json.loads((trained[1] / "evaluations" / "unchecked" / "summary.json").read_text())
    assert summary["answered_by"]["state"] == "not offered"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "run-7"}, r"no model of that name\. Did you mean \"run-"),
        ({"base_url": "http://127.0.0.1:9/v1"}, "is the server up, and the address right"),
        ({"base_url": "127.0.0.1:9"}, r"generator\.base_url: give an address such as"),
        ({"api_key_env": "MINE"}, None),
    ],
)
def test_bad_servers_are_named(
    trained: tuple[Path, Path, Path], server: Loopback, changes: dict[str, Any], said: str | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINE", "sk-mine")
        with pytest.raises(RingfenceError, match=said or "the key in MINE does not belong to") as caught:
            evaluate(trained[1], changes=by(server, **changes), name="bad")
    assert "\n" not in str(caught.value)
    assert "sk-mine" not in str(caught.value)
    assert not (trained[1] / "evaluations" / "bad").exists()


def test_an_address_that_only_the_folder_names_gets_no_prompts(
    trained: tuple[Path, Path, Path], server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGFENCE_JUDGES")
    about = json.loads((trained[1] / "run.json").read_text())
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    about["recipe"]["generator"] = {"kind": "server", "base_url": server.url}
    (theirs / "run.json").write_text(json.dumps(about))
    with pytest.raises(RingfenceError, match=r"the folder asks to send prompts to http.*--allow-model"):
        evaluations.evaluation_of(theirs)
    with pytest.raises(RingfenceError, match="training is not finished"):
        evaluations.evaluation_of(theirs, allow=Allowed(models=[server.url]))
    assert server.calls == 0


def test_killed_while_a_server_answers_it_goes_on_and_asks_nothing_twice(
    trained: tuple[Path, Path, Path], server: Loopback
) -> None:
    """60 answers in shards of 4 batches of 2: killed after the 20th, only the shard that was begun is asked again."""
    run = trained[1]
    asked = ["evaluation.batch_size=2", "evaluation.samples=10", *by(server, concurrency=1)]
    usual = server.answer
    command = [sys.executable, "-m", "ringfence", "evaluate", str(run), "--no-base", "--name", "long", *asked]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def answer(body: Body) -> Says:
            if len(answers(server)) == 20:
                os.kill(process.pid, signal.SIGKILL)
            return usual(body)

        server.answer = answer
        process.wait(timeout=300)
    assert process.returncode == -signal.SIGKILL
    server.answer = usual
    before = len(answers(server))
    evaluate(run, changes=asked, name="long")
    assert len(responses(run, "long")) == 60
    assert 60 < len(answers(server)) <= 60 + 8
    assert len(answers(server)) - before == 60 - 16, "two shards of 8 were on disk"
