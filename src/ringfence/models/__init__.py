"""Load a model, read with it, score likelihoods."""

from ringfence.models.load import Loaded, Loading, load, load_tokenizer

__all__ = ["Loaded", "Loading", "load", "load_tokenizer"]
