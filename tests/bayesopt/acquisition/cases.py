"""Histories and points that the tests of every acquisition function start from."""

import numpy as np

from bayesopt.acquisition.log_knowledge_gradient import LogKnowledgeGradient
from bayesopt.problem.parameters import Choice, Float, Simplex
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.surrogate import fit_surrogate

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
MIXED = Space({"x": Float(0.0, 1.0), "m": Simplex(["a", "b", "c"]), "c": Choice(["p", "q", "r"])})


def points(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


class KnowledgeGradientOfFive(LogKnowledgeGradient):
    """Over five answers that nobody tried, wherever they lie, and the told trials."""

    def __init__(self, surrogate, pending, normals):
        space = surrogate.history.space
        super().__init__(surrogate, pending, normals, space.snap(points(5, space.dim, 11)))


def smooth(X):
    return np.sin(4.0 * X).sum(1)


def noisy(X, sd=0.3, seed=9):
    return smooth(X) + sd * np.random.default_rng(seed).standard_normal(len(X))


def acquisition_of(make, history, n_fantasies=16, pending=None, normals=None):
    """The acquisition function that `make` builds for a history."""
    pending = history.pending if pending is None else pending
    if normals is None:
        shape = (1 + history.constraints.shape[1], len(pending), n_fantasies)
        normals = np.random.default_rng(7).standard_normal(shape)
    return make(fit_surrogate(history), pending, normals)


def moments(model, U):
    """Posterior mean and standard deviation of a model at points of a space of numbers."""
    prediction = model.predictor.predict(U)
    return prediction.mean[:, 0], np.sqrt(prediction.variance)


def everything(make_history, space=SQUARE, **fields):
    """A history in which every term of an acquisition function is at work."""
    X = space.snap(points(12, space.dim))
    margins = np.stack([X[:, 0] - 0.7, 0.2 - X[:, 1]], 1)
    prior = OptimumPrior({"x": (0.4, 0.2)}).on(space)
    fields = {"failed": points(2, space.dim, 1), "pending": points(3, space.dim, 2), "priors": (prior,)} | fields
    return make_history(space, X, noisy(X), constraints=margins, **fields)


def differences(acquisition, U, step=1e-5):
    """Central differences of the values along each column, `m x d`."""
    moves = step * np.eye(U.shape[1])
    return np.stack([(acquisition.values(U + move) - acquisition.values(U - move)) / (2 * step) for move in moves], 1)
