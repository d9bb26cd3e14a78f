"""Choose or rewrite the safe data: steps on a pool of candidates, what a set is like, and what selection costs."""

from ringfence.select.along_direction import AlongDirection, along
from ringfence.select.base import STEPS, Candidate, Context, Step
from ringfence.select.cost import overhead
from ringfence.select.diverse import Diverse
from ringfence.select.domains import Domains
from ringfence.select.duplicates import Duplicates
from ringfence.select.engines import Engine
from ringfence.select.judged import Judged
from ringfence.select.lengths import Lengths
from ringfence.select.match_lengths import MatchLengths
from ringfence.select.on_policy import OnPolicy
from ringfence.select.output import write_selection
from ringfence.select.perplexity_gap import PerplexityGap
from ringfence.select.pipeline import Selected, Selection, run
from ringfence.select.projection import Projection
from ringfence.select.random import Random
from ringfence.select.refusals import Refusals, is_refusal
from ringfence.select.rewrite import Rewrite
from ringfence.select.top import Top
from ringfence.select.topics import Topics
from ringfence.select.trim import Trim

__all__ = [
    "STEPS",
    "AlongDirection",
    "Candidate",
    "Context",
    "Diverse",
    "Domains",
    "Duplicates",
    "Engine",
    "Judged",
    "Lengths",
    "MatchLengths",
    "OnPolicy",
    "PerplexityGap",
    "Projection",
    "Random",
    "Refusals",
    "Rewrite",
    "Selected",
    "Selection",
    "Step",
    "Top",
    "Topics",
    "Trim",
    "along",
    "is_refusal",
    "overhead",
    "run",
    "write_selection",
]
