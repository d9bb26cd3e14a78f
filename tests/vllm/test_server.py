"""`vllm serve` on the embedded model with an adapter: what it says of its weights, and its answers (make test-vllm)."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.generation import Request, Sampling
from ringfence.generation.config import ServerSettings
from ringfence.generation.fingerprint import record
from ringfence.generation.server import open_server
from ringfence.models import load
from ringfence.models.adapters import load_adapter
from ringfence.models.load import source_of

pytestmark = pytest.mark.vllm

ASKED = [Request("q", [{"role": "user", "content": "How do I boil an egg?"}])]


@pytest.fixture(scope="module")
def url(adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that has the base as ``base`` and two adapters by their names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", source_of("smollm2-135m")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "base", "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "512", "--enable-lora", "--max-lora-rank", "16", "--lora-modules"]
    command += [f"{name}={adapters[name]}" for name in ("first", "second")]
    own = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **own}) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(2)
    pytest.fail(f"no server within 600 s: {log.read_text()[-3000:]}")


def test_each_adapter_is_known_from_the_other_and_from_the_base(url: str, adapters: dict[str, Path]) -> None:
    model = load_adapter(load("smollm2-135m").model, adapters["first"]).eval()
    fingerprint = record(model, load("smollm2-135m").tokenizer, "first")
    settings = ServerSettings(base_url=url, require_check=True)
    served = open_server(settings, "first", fingerprint)
    print(served.check.sentence(served.name), served.check)
    assert (served.check.state, served.check.how) == ("passed", "log probabilities of prompts")
    (answer,) = served.generate(ASKED, Sampling(max_new_tokens=8, temperature=1.0, top_p=0.9, min_p=0.01))
    assert answer.text
    for other, said in (("base", "is the adapter applied"), ("second", "does not answer with this run's weights")):
        with pytest.raises(RingfenceError, match=said):
            open_server(settings, other, fingerprint)
    with pytest.raises(RingfenceError, match="no model of that name"):
        open_server(settings, "third", fingerprint)
