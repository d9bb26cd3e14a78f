"""Load a model, generate from it, score likelihoods."""

from ringfence.models.load import Loaded, load

__all__ = ["Loaded", "load"]
