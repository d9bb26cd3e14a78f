"""From a checked recipe to files in a run folder, and evaluations of them."""
