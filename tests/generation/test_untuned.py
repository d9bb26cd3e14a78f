"""Who writes for selections and persona vectors: the model in this process, or an engine that was checked."""

from pathlib import Path

import pytest
import torch

import scripted
import serving
import tiny
from loopback import loopback
from ringfence.core.errors import RingfenceError
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.generation.config import GENERATORS, HfSettings
from ringfence.generation.untuned import beside, untuned
from ringfence.models import load

ASKED = [Request("a", [{"role": "user", "content": "hi"}])]
GREEDY = Sampling(max_new_tokens=5, temperature=0)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    tiny.shaken(tiny.model(), scale=0.3).save_pretrained(tmp_path / "base")
    tiny.tokenizer().save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


def test_an_engine_answers_as_the_model_in_process_and_its_fingerprint_is_kept(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, settings = scripted.instead_of_vllm(monkeypatch), GENERATORS.parse("vllm")
    wanted = untuned(HfSettings(), base).generate(ASKED, GREEDY)
    assert untuned(settings, base).generate(ASKED, GREEDY) == wanted
    (kept,) = (tmp_path / "cache" / "fingerprints").glob("*.json")
    before = kept.stat().st_mtime_ns
    assert untuned(settings, base).generate(ASKED, GREEDY) == wanted
    assert kept.stat().st_mtime_ns == before
    loaded = load(base)
    assert beside(settings, loaded).generate(ASKED, GREEDY) == wanted
    assert isinstance(beside(HfSettings(), loaded), HfGenerator)
    assert len(started) == 3
    assert all(one.closed for one in started), "nobody holds them"


def test_a_server_answers_once_its_weights_are_checked(base: str) -> None:
    """By the name that the recipe has for the model, unless another is given."""
    model = load(base).model
    with loopback(serving.chat(model, tiny.tokenizer()), own="") as state:
        state.models, state.score = [base, "served"], lambda body: serving.echo(model, body)
        settings = GENERATORS.parse({"kind": "server", "base_url": state.url, "base_model": "served"})
        for made in (untuned(settings, base), beside(settings, load(base))):
            (answer,) = made.generate(ASKED, GREEDY)
            assert answer.text == "As to hi"
        assert {body["model"] for body in state.bodies} == {"served"}
        with torch.no_grad():
            next(model.parameters()).mul_(2)
        with pytest.raises(RingfenceError, match="does not answer with this run's weights"):
            untuned(settings, base)


def test_other_weights_are_refused(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.instead_of_vllm(monkeypatch, noise=0.1)
    with pytest.raises(RingfenceError, match="does not answer with this run's weights"):
        untuned(GENERATORS.parse("vllm"), base)
