"""Known functions whose objective is told with normal noise; regrets are of the noise-free value.

Luck decides more here than elsewhere: five seeds said nothing, so that each has twenty.
"""

from dataclasses import replace

from problems.smooth import BRANIN, HARTMANN6

BRANIN_5 = replace(BRANIN, name="Branin, noise sd 5", family="noisy", noise_sd=5.0, trials=30)
HARTMANN6_01 = replace(HARTMANN6, name="Hartmann-6, noise sd 0.1", family="noisy", noise_sd=0.1, n_seeds=20)
HARTMANN6_025 = replace(HARTMANN6, name="Hartmann-6, noise sd 0.25", family="noisy", noise_sd=0.25, n_seeds=20)

ALL = (BRANIN_5, HARTMANN6_01, HARTMANN6_025)
