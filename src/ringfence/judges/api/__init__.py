"""Judges behind an API: one call with log probabilities, or several sampled answers."""
