"""What a call of all ranks raises is explained, other errors are not; ``invariants/test_ranks.py`` has real ranks."""

import pytest
from torch import distributed

from ringfence.core.errors import RingfenceError
from ringfence.train.lost_ranks import explained

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/"
CLOSED = RuntimeError(f"{GLOO}pair.cc:553] Connection closed by peer [127.0.0.1]:39120. This is typically caused")
LATE = RuntimeError(f"{GLOO}unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete")
NEVER = distributed.DistStoreError("Timed out after 1801 seconds waiting for clients. 1/2 clients joined.")
NCCL = distributed.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:3384, remote process exited")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CLOSED, "another rank has ended. Its own error is in its output"),
        (NCCL, "another rank has ended. Its own error is in its output"),
        (LATE, r"another rank did not answer within 1800 s \(ddp_timeout\). Look at what each rank printed last"),
        (NEVER, r"another rank did not answer within 1800 s \(ddp_timeout\). .* or not have been started"),
    ],
)
def test_a_lost_rank_is_one_line(error: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(RingfenceError, match=rf"^rank 3 of 8: {told}.* \(.*\)$") as raised, explained(1800):
        raise error
    assert "\n" not in str(raised.value)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes cannot be multiplied$"), explained(1800):
        raise RuntimeError("shapes cannot be multiplied")
