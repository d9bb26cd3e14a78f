"""Recipes: YAML files that name all that a run, a selection or a persona vector depends on."""
