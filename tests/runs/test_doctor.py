"""What is found here, what is missing and what to type; nothing secret is told."""

import importlib.metadata
from collections.abc import Iterator

import pytest

from ringfence.runs import doctor
from ringfence.runs.doctor import PURPOSES, examine


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_all_that_is_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions as installed; every extra of the package has a purpose, but for the developers'."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found = {one.about: one for one in examine()}
    assert found["torch"].what == importlib.metadata.version("torch")
    assert found["hub"].state == "note"
    assert found["OPENAI_API_KEY"].what == "set"
    assert "secret" not in str(found)
    extras = importlib.metadata.metadata("ringfence").get_all("Provides-Extra") or []
    assert set(extras) - {"dev"} == set(PURPOSES)
    assert all(one.do for one in found.values() if one.state == "missing")


def test_what_is_missing_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra that is absent, a package that is too old, and one that is there."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "submitit":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "trl" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {one.about: one for one in examine()}
    assert found["extra slurm"].state == "missing"
    assert "pip install -c constraints.txt '.[slurm]'" in found["extra slurm"].do
    assert (found["trl"].state, found["trl"].do[:17]) == ("missing", "pip install 'trl<")
    assert found["extra figures"].state == "ok"


def test_a_full_disk_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is asked of the nearest folder that is there."""
    asked: list[str] = []

    def usage(folder: object) -> Iterator[int]:
        asked.append(str(folder))
        return type("Usage", (), {"free": 2**30})()  # type: ignore[return-value]

    monkeypatch.setattr(doctor.shutil, "disk_usage", usage)
    monkeypatch.setenv("RINGFENCE_CACHE", "/nowhere/at/all")
    found = {one.about: one for one in examine()}
    assert found["cache (RINGFENCE_CACHE)"].state == "note"
    assert "15 GiB" in found["here"].do
    assert "/" in asked
