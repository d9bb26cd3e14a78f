"""When to train on safe data: schedules, the canary controller, risk probes, and the stream of mixed rows."""

from ringfence.interleave.controller import CanaryController, CanaryControllerConfig
from ringfence.interleave.loader import InterleavedLoader, Share
from ringfence.interleave.mixture import Mixing, Mixture, Sizes
from ringfence.interleave.probes import JudgedProbe, LikelihoodProbe, Probe, Risk
from ringfence.interleave.schedules import CanarySchedule, ReplaySchedule, Schedule

__all__ = [
    "CanaryController",
    "CanaryControllerConfig",
    "CanarySchedule",
    "InterleavedLoader",
    "JudgedProbe",
    "LikelihoodProbe",
    "Mixing",
    "Mixture",
    "Probe",
    "ReplaySchedule",
    "Risk",
    "Schedule",
    "Share",
    "Sizes",
]
