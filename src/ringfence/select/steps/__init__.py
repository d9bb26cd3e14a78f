"""One file a step: each filters, scores, chooses or rewrites the candidates."""
