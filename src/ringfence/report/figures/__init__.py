"""Figures for a paper: one function each, drawn by matplotlib from runs or other numbers that have been read."""

from ringfence.report.figures.asked import Asked
from ringfence.report.figures.drawing import FIGURES, Drawing, draw, figure_of, read

__all__ = ["FIGURES", "Asked", "Drawing", "draw", "figure_of", "read"]
