"""Load a model, generate from it, score likelihoods."""

from ringfence.models.load import Loaded, load, load_tokenizer

__all__ = ["Loaded", "load", "load_tokenizer"]
