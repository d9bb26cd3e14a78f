"""A run folder is data: what a hostile ``run.json`` asks for is refused until the user confirms it."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import project
from loopback import Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.integrations.inspect.opening import open_model
from ringfence.recipe.run import load_recipe, parse_recipe
from ringfence.runs import evaluate as evaluations
from ringfence.runs import generators
from ringfence.runs import train as runs
from ringfence.runs import trainer as trainers
from ringfence.runs.permissions import Allowed
from ringfence.runs.plan import RunPlan

SURE = Says("85", {"85": 1.0})
CONFIRMED = 'export RINGFENCE_JUDGES="$RINGFENCE_JUDGES {}"'
SECRET = "0123456789secret"
"""no key of anything"""
CODE = """
from pathlib import Path
from transformers import LlamaConfig
Path({marker!r}).touch()
class Evil(LlamaConfig):
    model_type = "evil"
"""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("RINGFENCE_JUDGES", raising=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    recipe = project.make(folder, defenses=[])
    runs.train(RunPlan.load(load_recipe(recipe, ["training.max_steps=1", "evaluation.during=null"]), folder / "run"))
    evaluations.evaluate([evaluations.evaluation_of(folder / "run")])
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    return shutil.copytree(trained, tmp_path / "runs" / "theirs")


def change(run: Path, **changes: Any) -> None:
    """``changes`` are top-level keys of the recipe in ``run.json``, but for ``server``; nothing is judged yet."""
    about = json.loads((run / "run.json").read_text())
    about |= {"server": changes.pop("server", None)}
    about["recipe"] = parse_recipe({**about["recipe"], **changes}, "run.json").resolved()
    (run / "run.json").write_text(json.dumps(about))
    (run / "evaluation" / "evaluation.json").unlink(missing_ok=True)


def judge(url: str, **settings: Any) -> dict[str, Any]:
    return {"kind": "api", "model": "j", "base_url": url, "cache": None, **settings}


def evaluate(run: Path, *changes: str, name: str | None = None, **allowed: Any) -> None:
    evaluations.evaluate([evaluations.evaluation_of(run, changes, name, allow=Allowed(**allowed))])


def test_no_answer_and_no_key_go_to_an_address_that_only_the_folder_names(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with loopback(lambda _: SURE, own="no") as server:
        change(run, judge=judge(server.url, api_key_env="AWS_SECRET_ACCESS_KEY"))
        at = server.url.removesuffix("/v1")
        code, _, said = project.in_process(capsys, "evaluate", run, "--no-base")
        assert code == 2
        assert f"run.json: judge.base_url: the folder asks to send answers to {at}; if they may" in said
        assert said.endswith(f"give --allow-judge {at}, or once for all folders {CONFIRMED.format(at)}\n")
        for other in (f"{at[:-1]}", "https://127.0.0.1", at.replace("127.0.0.1", "localhost")):
            with pytest.raises(RingfenceError, match="asks to send answers"):
                evaluate(run, judges=[other])
        code, _, said = project.in_process(capsys, "evaluate", run, "--no-base", "--allow-judge", at)
        assert code == 2
        assert "the key in AWS_SECRET_ACCESS_KEY does not belong to" in said
        assert f"RINGFENCE_JUDGES='{at}=AWS_SECRET_ACCESS_KEY'" in said
        assert SECRET not in said
        assert server.calls == 0
        monkeypatch.setenv("RINGFENCE_JUDGES", f"{at}=AWS_SECRET_ACCESS_KEY")
        evaluate(run)
        assert server.keys == {f"Bearer {SECRET}"}, "the user's own configuration says so"


def test_a_known_provider_is_not_called_on_the_folders_word(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its model, its prompts and the number of its calls are the folder's, and the money is the user's."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr(socket.socket, "connect", no_connection)
    change(run, judge={"kind": "api", "model": "m"})
    at, entry = "https://api.openai.com", "https://api.openai.com=OPENAI_API_KEY"
    code, _, said = project.in_process(capsys, "evaluate", run, "--no-base", "--name", "q")
    assert (code, SECRET in said) == (2, False)
    assert said.endswith(f"give --allow-judge {at}, or once for all folders {CONFIRMED.format(entry)}\n")
    with pytest.raises(RingfenceError, match="asks to send answers"):
        evaluations.evaluation_of(run, ["judge.model=other"], "typed-model")
    evaluations.evaluation_of(run, allow=Allowed(judges=[at]))
    evaluations.evaluation_of(run, [f"judge.base_url={at}/v1"], "typed-url")
    evaluations.evaluation_of(run, ["judge={kind: api, model: mine}"], "typed-judge")
    monkeypatch.setenv("RINGFENCE_JUDGES", f" {entry}")
    evaluations.evaluation_of(run)


def test_a_key_that_belongs_elsewhere_is_refused_before_a_model_is_loaded(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generators, "load_model", no_model)
    shutil.rmtree(run / "answers")
    at = "http://127.0.0.1:9"
    settings = json.dumps(judge(f"{at}/v1", api_key_env="AWS_SECRET_ACCESS_KEY"))
    with pytest.raises(RingfenceError, match="the key in AWS_SECRET_ACCESS_KEY does not belong to"):
        evaluate(run, f"judge={settings}", name="typed")
    change(run, judge=json.loads(settings))
    with pytest.raises(RingfenceError, match="the key in AWS_SECRET_ACCESS_KEY does not belong to"):
        evaluate(run, judges=[at])
    assert not (run / "evaluations").exists()


@pytest.mark.parametrize("asked", ["during", "canaries", "a later stage"])
def test_a_key_that_belongs_elsewhere_is_refused_before_anything_trains(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers, "load_model", no_model)
    theirs = judge("http://127.0.0.1:9/v1", api_key_env="AWS_SECRET_ACCESS_KEY")
    recipe = yaml.safe_load(project.make(tmp_path).read_text())
    canaries = {"canary_interleaving": {"judge": theirs, "canaries": str(tmp_path / "canaries.jsonl")}}
    recipe["evaluation"] |= {} if asked == "during" else {"during": None}
    recipe |= {"judge": theirs} if asked == "during" else {}
    recipe |= {"defenses": [canaries] if asked == "canaries" else []}
    if asked == "a later stage":
        data = {key: value for key, value in recipe["data"].items() if key != "held_out"}
        recipe["stages"] = [{"name": "more", "data": data, "defenses": [canaries]}]
    with pytest.raises(RingfenceError, match="the key in AWS_SECRET_ACCESS_KEY does not belong to"):
        runs.train(RunPlan.load(parse_recipe(recipe, "recipe.yaml"), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def no_connection(*_: Any) -> None:
    raise AssertionError("a connection")


def no_model(*_: Any) -> None:
    raise AssertionError("a model is loaded")


def test_a_server_without_a_key_is_called_once_it_is_confirmed(run: Path) -> None:
    with loopback(lambda _: SURE, own="no") as server:
        change(run, judge=judge(server.url))
        evaluate(run, judges=[server.url])
        assert server.calls > 0
        assert not any(SECRET in key for key in server.keys)


def test_what_the_user_types_needs_no_leave(run: Path) -> None:
    with loopback(lambda _: SURE, own="no") as server:
        evaluate(run, f"judge={json.dumps(judge(server.url))}", name="typed")
        assert server.calls > 0
        change(run, judge=judge("http://127.0.0.1:9/v1"))
        evaluate(run, f"judge.base_url={server.url}", name="typed-url")
        with pytest.raises(RingfenceError, match=r"asks to send answers to http://127\.0\.0\.1:9;"):
            evaluate(run, "judge.model=other", name="typed-model")


@pytest.mark.parametrize("asks", [{"model": {}}, {"judge": {"kind": "local", "model": "smollm2-135m"}}])
def test_trust_remote_code_in_a_folder_is_not_enough(run: Path, asks: dict[str, Any]) -> None:
    ((key, settings),) = asks.items()
    before = json.loads((run / "run.json").read_text())["recipe"][key] if key == "model" else {}
    change(run, **{key: {**before, **settings, "trust_remote_code": True}})
    with pytest.raises(RingfenceError, match=rf"run\.json: {key}\.trust_remote_code: .* --trust-remote-code"):
        evaluate(run)
    if key == "model":
        with pytest.raises(RingfenceError, match=r"model\.trust_remote_code"):
            open_model(str(run))
        assert open_model(str(run), trust_remote_code=True)


def test_the_model_folders_code_does_not_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder whose configuration is a class of its own, in a file that leaves a mark when it is imported."""
    folder, marker = tmp_path / "evil", tmp_path / "mark"
    folder.mkdir()
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    change(run, model={"name": str(folder), "dtype": "float32", "trust_remote_code": True})
    code, _, said = project.in_process(capsys, "evaluate", run)
    assert (code, "--trust-remote-code" in said) == (2, True)
    change(run, model={"name": str(folder), "dtype": "float32", "trust_remote_code": False})
    assert project.in_process(capsys, "evaluate", run)[0] == 2
    assert not marker.exists()


@pytest.mark.parametrize("cache", ["/tmp/elsewhere", "~/elsewhere", "../elsewhere"])
def test_a_folder_does_not_say_where_files_are_written(run: Path, cache: str) -> None:
    change(run, judge=judge("https://api.openai.com/v1", cache=cache))
    with pytest.raises(RingfenceError, match=r"run\.json: judge\.cache: the folder asks to write to"):
        evaluate(run, judges=["https://api.openai.com"])


def test_a_link_out_of_the_folder_is_not_written_through(run: Path, tmp_path: Path) -> None:
    (run / "evaluations").mkdir(exist_ok=True)
    (run / "evaluations" / "out").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(RingfenceError, match="link out of the run folder"):
        evaluate(run, "evaluation.samples=1", name="out")
    assert not list(tmp_path.glob("*.json"))


def test_a_servers_model_is_called_once_it_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(server: str, log_dir: Path) -> Any:
        asked.append(server)
        raise RingfenceError("asked")

    monkeypatch.setattr(generators, "behind_server", ask)
    change(run, server="openai/gpt-4o")
    with pytest.raises(RingfenceError, match=r"server: .* call the model openai/gpt-4o .* --allow-model openai/gpt-4o"):
        evaluate(run, models=["openai/gpt-4o-mini"])
    assert not asked
    with pytest.raises(RingfenceError, match="asked"):
        evaluate(run, models=["openai/gpt-4o"])


def hostile(run: Path) -> None:
    about = json.loads((run / "run.json").read_text())["recipe"]
    change(
        run,
        judge=judge("http://127.0.0.1:9/v1", api_key_env="AWS_SECRET_ACCESS_KEY", cache="/nowhere"),
        model={**about["model"], "trust_remote_code": True},
    )


@pytest.mark.parametrize(
    "command",
    [
        lambda run, out: ["report", run, "--out", out / "page.html"],
        lambda run, out: ["gate", run, "--max-general", "1.0"],
        lambda run, out: ["compare", run],
        lambda run, out: ["agreement", run, run],
    ],
)
def test_commands_that_read_results_call_nobody_and_keep_the_secret(
    command: Callable[[Path, Path], list[Any]],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile(run)
    monkeypatch.setattr(socket.socket, "connect", no_connection)
    code, said, complained = project.in_process(capsys, *command(run, tmp_path))
    assert code in (0, 1)
    written = "".join(path.read_text() for path in tmp_path.glob("*.html"))
    assert SECRET not in said + complained + written
    assert not Path("/nowhere").exists()


def test_the_secret_is_in_no_file_of_the_run(run: Path) -> None:
    with loopback(lambda _: SURE, own="=AWS_SECRET_ACCESS_KEY") as server:
        change(run, judge=judge(server.url, api_key_env="AWS_SECRET_ACCESS_KEY"))
        evaluate(run)
    assert all(SECRET.encode() not in path.read_bytes() for path in run.rglob("*") if path.is_file())
