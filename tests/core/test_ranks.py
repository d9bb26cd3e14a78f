"""What a launcher says in the environment."""

import pytest

from ringfence.core.ranks import is_main_process, is_split_run, several_nodes


def test_without_a_launcher_this_is_the_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ACCELERATE_USE_FSDP"):
        monkeypatch.delenv(name, raising=False)
    assert is_main_process()
    assert not is_split_run()
    assert not several_nodes()


def test_the_launchers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)
    assert not is_main_process()
    assert is_split_run()
    assert several_nodes()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert not several_nodes()
