"""Skip tests that need what only an environment of their own has."""

import os
from collections.abc import Iterable

import pytest


def skip_without(variable: str, marker: str, reason: str, items: Iterable[pytest.Item]) -> None:
    """Skip those of ``items`` that are marked ``marker`` unless the environment has ``variable``."""
    if not os.environ.get(variable):
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
