"""The optimizers by name; a module is imported when its optimizer first runs."""

from importlib import import_module

from optimizers.optimizer import Optimizer

OPTIMIZERS = {
    "priorwise": ("optimizers.priorwise", "Priorwise", "priorwise"),
    "sobol": ("optimizers.search", "SobolSearch", "scipy"),
    "random": ("optimizers.search", "RandomSearch", "numpy"),
    "optuna-tpe": ("optimizers.optuna", "OptunaTPE", "optuna"),
    "optuna-gp": ("optimizers.optuna", "OptunaGP", "optuna"),
    "botorch": ("optimizers.botorch", "BoTorchLoop", "botorch"),
    "ax": ("optimizers.ax", "Ax", "ax-platform"),
    "smac": ("optimizers.smac", "Smac", "smac"),
    "bayes_opt": ("optimizers.bayes_opt", "BayesOpt", "bayesian-optimization"),
}
"""Name in the table to module, class and distribution."""
CONSTRAINED = {
    "log-cei": ("optimizers.log_cei", "LogConstrainedEI", "botorch"),
    "scbo": ("optimizers.scbo", "Scbo", "botorch"),
    "config": ("optimizers.optimistic", "Config", "botorch"),
}
"""The same of those that are for problems with constraints alone."""


def load(name: str) -> tuple[type[Optimizer], str]:
    """The class of an optimizer, and the distribution that it is from."""
    module, kind, distribution = (OPTIMIZERS | CONSTRAINED)[name]
    return getattr(import_module(module), kind), distribution
