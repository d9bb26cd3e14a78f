"""Directions in a model's activations: persona vectors from contrasting answers, and directions between two sets."""

from ringfence.directions.axis import Direction, load_direction, require_fits, save_direction
from ringfence.directions.contrasts import AssistantNames, Contrast, prompted, teacher_forced
from ringfence.directions.fitting import Fitting, fit_direction
from ringfence.directions.persona import Extraction, Settings, extract, require_safetensors
from ringfence.directions.subspaces import Subspaces, load_subspaces, principal, save_subspaces, spanned
from ringfence.directions.vectors import PersonaVectors, Position, load_vectors, random_like, save_vectors

__all__ = [
    "AssistantNames",
    "Contrast",
    "Direction",
    "Extraction",
    "Fitting",
    "PersonaVectors",
    "Position",
    "Settings",
    "Subspaces",
    "extract",
    "fit_direction",
    "load_direction",
    "load_subspaces",
    "load_vectors",
    "principal",
    "prompted",
    "random_like",
    "require_fits",
    "require_safetensors",
    "save_direction",
    "save_subspaces",
    "save_vectors",
    "spanned",
    "teacher_forced",
]
