"""Self-contained HTML pages about runs and data sets."""
