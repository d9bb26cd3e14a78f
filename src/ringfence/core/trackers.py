"""Trackers that ``training.report_to`` may name: what each needs is told before training, in one line; torch-free."""

import os
from collections.abc import Mapping
from typing import Any

from ringfence.core.hub import missing_to_write
from ringfence.core.packages import require_package

REPORTERS = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "kubeflow": ("kubeflow",),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""name -> packages, any one of which it needs"""
OURS = ("tensorboard", "trackio")
"""those that the optional part ``trackers`` of Ringfence brings"""


def check_reporters(values: Mapping[str, Any]) -> None:
    """Raise ``ValueError``, beginning with a dot and the key, for a tracker that there is not, or not on this machine.

    ``values``: of ``training``.
    """
    for name in _named(values):
        if name not in REPORTERS:
            raise ValueError(f".report_to: {name!r} is unknown; known are {', '.join(sorted(REPORTERS))}")
        require_package(REPORTERS[name], f".report_to: {name}", "trackers" if name in OURS else None)


def require_logged_in(values: Mapping[str, Any]) -> None:
    """As :func:`check_reporters`, for a tracker that keeps its runs elsewhere and does not know who writes.

    W&B logs in as it always does: where there is a terminal, it asks for the key.
    """
    names = _named(values)
    if "wandb" in names:
        _log_in_to_wandb()
    space = values.get("trackio_space_id") or os.environ.get("TRACKIO_SPACE_ID")
    if "trackio" in names and space and (missing := missing_to_write()):
        raise ValueError(
            f".trackio_space_id needs {missing}; leave it out to keep runs on this machine, or set it right"
        )


def _named(values: Mapping[str, Any]) -> list[str]:
    given = values.get("report_to") or []
    return [name for name in ([given] if isinstance(given, str) else given) if name not in ("none", "all")]


def _log_in_to_wandb() -> None:
    import wandb

    try:
        wandb.login()  # in offline mode it does nothing
    except wandb.Error as error:
        raise ValueError(
            f".report_to: wandb: {' '.join(str(error).split()).rstrip('.')}; its key may also be in WANDB_API_KEY, and "
            "WANDB_MODE=offline keeps runs on this machine"
        ) from None
