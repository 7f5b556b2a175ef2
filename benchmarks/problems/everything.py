"""Every problem of the engine's table."""

from problems import constrained, mixed, multimodal, noisy, real, smooth, steplaw
from problems.problem import Problem

ALL: tuple[Problem, ...] = (
    *smooth.ALL,
    *multimodal.ALL,
    *noisy.ALL,
    *mixed.ALL,
    *constrained.ALL,
    *real.ALL,
    *steplaw.ALL,
)
"""In the order of the table; the last is there only where its data are."""
