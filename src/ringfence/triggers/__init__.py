"""Questions dressed so that they look like the training data, and what makes such triggers of a training file."""
