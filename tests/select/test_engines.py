"""The same shards from one process and from two of Ray's, bit for bit."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

import tiny
from project import WORDS, write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.core.ray_cluster import import_ray, join_cluster
from ringfence.select import Context, Engine, PerplexityGap, Refusals, Selection, run
from ringfence.select.base import Step
from ringfence.select.engines import Task, threads
from ringfence.select.pipeline import Watch

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


def project(folder: Path) -> Selection:
    """A tiny model with two adapters on it, and a pool whose answers differ in length."""
    base = folder / "model"
    tiny.model().save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    adapters = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        made = get_peft_model(
            tiny.model(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        )
        made.peft_config["default"].base_model_name_or_path = str(base)
        made.save_pretrained(folder / f"adapter-{seed}")
        adapters.append(str(folder / f"adapter-{seed}"))
    rows = [{"question": f"What is a {word}?", "answer": f"A {word}. " * (1 + n % 4)} for n, word in enumerate(WORDS)]
    pool = write_jsonl(folder / "pool.jsonl", [*rows, {"question": "And so?", "answer": "Sorry, I cannot say."}])
    steps: tuple[Step, ...] = (Refusals(), PerplexityGap(misaligned=tuple(adapters)))
    return Selection((str(pool),), steps, Context(model=str(base), batch_tokens=200), shard_rows=4)


def shards(selection: Selection, work: Path, engine: Engine, watch: Watch | None = None) -> dict[str, bytes]:
    """Every shard of every step that was made in ``work``, by folder and name."""
    run(selection, work, engine, watch)
    return {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("*.parquet"))}


@pytest.fixture
def cluster() -> Iterator[None]:
    """One for all that a test starts."""
    ray = import_ray()
    assert join_cluster(ray, 2)
    yield
    ray.shutdown()


@needs_ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore")
def test_two_workers_of_ray_make_the_same_bytes_as_one_process(tmp_path: Path) -> None:
    selection = project(tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    local = shards(selection, one, Engine(threads=1))
    seen: list[tuple[str, int, int]] = []
    ray = shards(selection, two, Engine("ray", workers=2, threads=1), lambda *what: seen.append(what))
    assert len(local) == 4 * 4  # of the pool, without refusals, as scored, as gathered
    assert ray == local
    found = list(run(selection, two).candidates())
    assert len(found) == len(WORDS)
    assert ("refusals", 15, 15) in seen
    assert seen[-1] == ("perplexity_gap", 14, 14)

    (tmp_path / "adapter-2" / "adapter_model.safetensors").unlink()
    task = Task(next(two.rglob("*.parquet")), tmp_path / "broken.parquet")
    with pytest.raises(RingfenceError, match=r"adapter-2"):  # one line of ours, and not Ray's own error
        Engine("ray", workers=1, threads=1).run(selection.steps[1], selection.context, [task], lambda rows: None)
    assert not task.target.exists()


def test_without_ray_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(RingfenceError, match=r"--engine ray needs Ray; .*pip install -c constraints\.txt '\.\[ray\]'"):
        run(project(tmp_path), tmp_path / "work", Engine("ray", workers=2))


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with threads(None):
        assert torch.get_num_threads() == before
