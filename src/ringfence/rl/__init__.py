"""Reinforcement learning: GRPO with defenses, and its rewards."""
