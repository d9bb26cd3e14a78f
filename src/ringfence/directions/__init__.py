"""Directions in a model's activations: persona vectors, from contrasting answers to files."""

from ringfence.directions.contrasts import Contrast, prompted, teacher_forced
from ringfence.directions.persona import Extraction, Settings, extract, require_safetensors
from ringfence.directions.vectors import PersonaVectors, Position, load_vectors, random_like, save_vectors

__all__ = [
    "Contrast",
    "Extraction",
    "PersonaVectors",
    "Position",
    "Settings",
    "extract",
    "load_vectors",
    "prompted",
    "random_like",
    "require_safetensors",
    "save_vectors",
    "teacher_forced",
]
