"""Sets of prompts: files of our own and of other projects, kept copies, and what a suite consists of."""
