"""Tests against a real server are marked ``server``; without one they are skipped."""

import os

import pytest

from skipping import skip_without


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "server: needs an OpenAI-compatible server, see scripts/test_server.sh")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_without("RINGFENCE_TEST_SERVER", "server", "no server; `make test-server` builds and starts one", items)


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ["RINGFENCE_TEST_SERVER"]
