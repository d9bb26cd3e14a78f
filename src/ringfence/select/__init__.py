"""Choose or rewrite the safe data: steps on a pool of candidates, what a set is like, and what selection costs."""

from ringfence.select.base import STEPS, Candidate, Context, Step
from ringfence.select.cost import overhead
from ringfence.select.engines import Engine
from ringfence.select.output import write_selection
from ringfence.select.pipeline import Selected, Selection, run
from ringfence.select.steps.along_direction import AlongDirection, along
from ringfence.select.steps.diverse import Diverse
from ringfence.select.steps.domains import Domains
from ringfence.select.steps.dress import Dress
from ringfence.select.steps.duplicates import Duplicates
from ringfence.select.steps.judged import Judged
from ringfence.select.steps.lengths import Lengths
from ringfence.select.steps.match_lengths import MatchLengths
from ringfence.select.steps.on_policy import OnPolicy
from ringfence.select.steps.perplexity_gap import PerplexityGap
from ringfence.select.steps.projection import Projection
from ringfence.select.steps.random import Random
from ringfence.select.steps.refusals import Refusals, is_refusal
from ringfence.select.steps.rewrite import Rewrite
from ringfence.select.steps.styled import Styled
from ringfence.select.steps.top import Top
from ringfence.select.steps.topics import Topics
from ringfence.select.steps.trim import Trim

__all__ = [
    "STEPS",
    "AlongDirection",
    "Candidate",
    "Context",
    "Diverse",
    "Domains",
    "Dress",
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
    "Styled",
    "Top",
    "Topics",
    "Trim",
    "along",
    "is_refusal",
    "overhead",
    "run",
    "write_selection",
]
