"""Ray, where a command is told to use it: how it is imported, and how a cluster is reached."""

import logging
import os
from typing import Any

from ringfence.core.errors import RingfenceError, install


def import_ray() -> Any:
    """The module, which sends no usage pings. Raises :class:`RingfenceError` if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)  # what fails comes back as a value
    try:
        import ray
    except ImportError as error:
        raise RingfenceError(f"--engine ray needs Ray; {install('ray')}") from error
    return ray


def join_cluster(ray: Any, cpus: int) -> bool:
    """Reach the cluster at ``RAY_ADDRESS``, else start one of ``cpus`` here; False if this process is in one already.

    Raises :class:`RingfenceError` if that fails.
    """
    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS")
    own = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"the cluster at RAY_ADDRESS={address} cannot be reached" if address else "Ray does not start"
        raise RingfenceError(f"--engine ray: {where} ({(str(error).splitlines() or [''])[0]})") from error
    return True
