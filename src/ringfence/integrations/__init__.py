"""Other people's programs."""
