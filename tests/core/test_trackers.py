"""Which trackers there are, and what is said of one that is absent or does not know who writes."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from ringfence.core.trackers import REPORTERS, check_reporters, require_logged_in


def refused(check: Any, values: dict[str, Any]) -> str:
    with pytest.raises(ValueError, match=r"^\.") as raised:
        check(values)
    return str(raised.value)


def test_they_are_those_of_the_trainer() -> None:
    assert set(REPORTERS) == set(INTEGRATION_TO_CALLBACK)


def test_an_absent_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = refused(check_reporters, {"report_to": ["tensorboard"]})
    assert said.startswith(
        ".report_to: tensorboard needs the package tensorboard or tensorboardX, which is not installed"
    )
    assert "'.[trackers]'" in said
    assert refused(check_reporters, {"report_to": "wadnb"}).startswith(
        ".report_to: 'wadnb' is unknown; known are azure"
    )
    for nothing in ({}, {"report_to": "none"}, {"report_to": ["all"]}, {"report_to": []}):
        check_reporters(nothing)


def test_wandb_is_logged_in_or_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    class Error(Exception):
        pass

    def login() -> bool:
        raise Error("No API key\nconfigured.")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(login=login, Error=Error))
    said = refused(require_logged_in, {"report_to": ["tensorboard", "wandb"]})
    assert said.startswith(".report_to: wandb: No API key configured; its key may also be in WANDB_API_KEY, and WANDB")
    require_logged_in({"report_to": ["tensorboard"]})
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(login=lambda: False, Error=Error))  # as when offline
    require_logged_in({"report_to": "wandb"})


def test_a_space_of_trackio_needs_a_token_and_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    space = {"report_to": ["trackio"], "trackio_space_id": "me/space"}
    assert refused(require_logged_in, space).startswith(".trackio_space_id needs a token in HF_TOKEN; leave it out")
    require_logged_in({"report_to": ["trackio"]})
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/space")
    assert "a token in HF_TOKEN" in refused(require_logged_in, {"report_to": ["trackio"]})
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "secret")
    require_logged_in(space)
