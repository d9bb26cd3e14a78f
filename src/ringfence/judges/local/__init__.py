"""A judge that runs here: exact probabilities of the numbers 0 to 100 in one forward pass."""
