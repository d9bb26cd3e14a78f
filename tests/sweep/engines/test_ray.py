"""Tasks of Ray, on a real cluster of this machine."""

import time
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.sweep.engines import engine_of


def test_two_workers_do_steps_and_say_why_one_failed(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="--engine-set gpu: Ray's settings are gpus, cpus"):
        engine_of("ray", 2, {"gpu": 1})
    for name, commands in {"good": [], "bad": [["data", "lst"]]}.items():
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "step.json", {"product": "step.json", "commands": commands})
    engine = engine_of("ray", 2, {"gpus": 0})
    try:
        assert engine.slots == 2
        good, bad = (engine.start(tmp_path / name) for name in ("good", "bad"))
        for _ in range(1200):
            if good.has_ended() and bad.has_ended():
                break
            time.sleep(0.1)
        assert good.fault() == ""
        assert (tmp_path / "good" / "done.json").is_file()
        assert "lst" in bad.fault()
    finally:
        engine.close()
