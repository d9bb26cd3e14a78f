"""When to train on safe data: schedules, the canary controller, risk probes, and the stream of mixed rows.

What needs torch is imported when it is first named.
"""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer
from ringfence.interleave.controller import CanaryController, CanaryControllerConfig
from ringfence.interleave.mixture import Mixture, MixtureConfig, MixtureSizes
from ringfence.interleave.schedules import CanarySchedule, PenaltySchedule, ReplaySchedule, Schedule
from ringfence.interleave.stream import InterleavingStream

if TYPE_CHECKING:
    from ringfence.interleave.loader import InterleavedLoader, RankLayout
    from ringfence.interleave.probes import JudgedProbe, LikelihoodProbe, Probe, ProjectionProbe, Risk

_MODULES = {
    **dict.fromkeys(("InterleavedLoader", "RankLayout"), "loader"),
    **dict.fromkeys(("JudgedProbe", "LikelihoodProbe", "Probe", "ProjectionProbe", "Risk"), "probes"),
}
__all__ = [
    "CanaryController",
    "CanaryControllerConfig",
    "CanarySchedule",
    "InterleavedLoader",
    "InterleavingStream",
    "JudgedProbe",
    "LikelihoodProbe",
    "Mixture",
    "MixtureConfig",
    "MixtureSizes",
    "PenaltySchedule",
    "Probe",
    "ProjectionProbe",
    "RankLayout",
    "ReplaySchedule",
    "Risk",
    "Schedule",
]
__getattr__ = importer(__name__, _MODULES)
