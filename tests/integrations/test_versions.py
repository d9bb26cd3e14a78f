"""Which version of another program an integration was made for."""

import importlib.metadata

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.integrations.versions import require_made_for


@pytest.mark.parametrize(("found", "fits"), [("4.6.0", True), ("4.6.12", True), ("4.7.0", False), ("14.6.0", False)])
def test_the_minor_version_counts(found: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda program: found)
    require_made_for("program", "4.6", True, "ask for any")
    if fits:
        require_made_for("program", "4.6", False, "ask for any")
        return
    with pytest.raises(
        RingfenceError, match=rf"^program {found}: .*made for 4\.6, .*program==4\.6\.\*\", or ask for any"
    ):
        require_made_for("program", "4.6", False, "ask for any")
