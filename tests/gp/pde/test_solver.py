"""The solver against exact solutions, dense algebra and the coverage of its own intervals."""

import dataclasses
import math

import pytest
import torch

from gp.errors import InvalidDataError
from gp.pde.equations import grid_points
from gp.pde.problem import PDEProblem
from gp.pde.solver import GPPDESolver

TAU, UNIT = (0.0, 2 * math.pi), (0.0, 1.0)
LAPLACE = {1: {(2,): 1.0}, 2: {(2, 0): 1.0, (0, 2): 1.0}}
ADVECTION = {(1, 0): 200.0, (0, 1): 1.0}
sin, cos = torch.sin, torch.cos
pytestmark = pytest.mark.usefixtures("one_thread")


def allen_cahn(u):
    return u * (u.square() - 1.0)


def tones(x):
    return sin(x) + 0.1 * sin(20 * x) + cos(100 * x)


def posed(exact, domain, terms, reaction=None):
    """The problem that a function of X solves; its source by autograd."""

    def source(X):
        X = X.detach().clone().requires_grad_(True)
        u = exact(X)
        total = torch.zeros_like(u) if reaction is None else reaction(u)
        for orders, c in terms.items():
            derivative = u
            for axis, order in enumerate(orders):
                for _ in range(order):
                    derivative = torch.autograd.grad(derivative.sum(), X, create_graph=True)[0][:, axis]
            total = total + c * derivative
        return total.detach()

    return PDEProblem(domain, terms, source, lambda X: exact(X).detach(), reaction)


def line(exact, domain, reaction=None):
    return (lambda X: exact(X[:, 0])), [domain], LAPLACE[1], reaction


def plane(exact, domain, terms=None, reaction=None):
    return (lambda X: exact(X[:, 0], X[:, 1])), [domain] * 2, terms or LAPLACE[2], reaction


# the published problems of high frequency: what is solved, points along an axis, largest relative error
PUBLISHED = {
    "poisson one tone": (line(lambda x: sin(100 * x), TAU), 400, 3e-7),
    "poisson three tones": (line(lambda x: sin(x) + 0.1 * sin(20 * x) + 0.05 * sin(100 * x), UNIT), 900, 1e-6),
    "poisson product": (line(lambda x: sin(6 * x) * cos(100 * x), TAU), 400, 1e-6),
    "poisson growing": (line(lambda x: x * sin(200 * x), TAU), 900, 9e-7),
    "poisson on a parabola": (line(lambda x: sin(500 * x) - 2 * (x - 0.5) ** 2, UNIT), 400, 5e-6),
    "poisson 2-D product": (plane(lambda x, y: sin(100 * x) * sin(100 * y), TAU), 400, 1e-6),
    "poisson 2-D sum": (plane(lambda x, y: sin(6 * x) * cos(20 * x) + sin(6 * y) * cos(20 * y), TAU), 200, 2e-6),
    "allen-cahn one tone": (line(lambda x: sin(100 * x), TAU, allen_cahn), 400, 4e-6),
    "allen-cahn product": (line(lambda x: sin(6 * x) * cos(100 * x), TAU, allen_cahn), 400, 3e-6),
    "allen-cahn 2-D": (plane(lambda x, y: tones(x) * tones(y), UNIT, reaction=allen_cahn), 400, 2e-6),
    "advection": (plane(lambda x, t: sin(x - 200 * t), UNIT, ADVECTION), 200, 1e-6),
}
NOT_TONES = {
    "packet": (line(lambda x: torch.exp(-50 * (x - 0.5) ** 2) * sin(60 * x), UNIT), 200, 1e-4),
    "runge": (line(lambda x: 1 / (1 + 25 * x**2), (-1.0, 1.0)), 400, 1e-4),
    "chirp": (line(lambda x: sin(40 * x**2), (0.0, 2.0)), 400, 1e-4),
    "front": (line(lambda x: torch.tanh(50 * (x - 0.5)), UNIT), 400, 1e-4),
    "tones on a cubic": (line(lambda x: sin(37.7 * x) + 0.3 * sin(91.3 * x + 0.4) + x**3, UNIT), 400, 1e-4),
}
FAST = {"poisson one tone", "allen-cahn product", "advection", "packet", "front", "tones on a cubic"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in PUBLISHED | NOT_TONES],
)
def test_solves(name):
    (exact, domain, terms, reaction), n, largest = (PUBLISHED | NOT_TONES)[name]
    problem = posed(exact, domain, terms, reaction)
    solution = GPPDESolver(problem, n=n, device=torch.get_default_device()).solve()
    axes = [torch.linspace(low, high, 300) for low, high in domain]
    error = solution.on_product(axes).flatten() - exact(grid_points(axes))
    assert error.norm() < largest * exact(grid_points(axes)).norm()


def noisy(problem, exact, share, boundary_sd, n, seed):
    g = torch.Generator(torch.get_default_device()).manual_seed(seed)
    axes = [torch.linspace(low, high, n) for low, high in problem.domain]
    sd = share * float(problem.source(grid_points(axes)).std())
    return dataclasses.replace(
        problem,
        source=lambda X: problem.source(X) + sd * torch.randn(len(X), generator=g),
        boundary=lambda X: exact(X) + boundary_sd * torch.randn(len(X), generator=g),
        source_sd=sd,
        boundary_sd=boundary_sd,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n", "n_seeds"),
    [("poisson one tone", 300, 8), ("allen-cahn one tone", 300, 8), ("packet", 200, 8), ("poisson 2-D sum", 70, 2)],
)
def test_its_90_percent_intervals_hold_80_to_98_percent_where_data_are_noisy(name, n, n_seeds):
    (exact, domain, terms, reaction), _, _ = (PUBLISHED | NOT_TONES)[name]
    problem, inside = posed(exact, domain, terms, reaction), []
    X = grid_points([torch.linspace(low, high, 41 if len(domain) == 1 else 15) for low, high in domain])
    for seed in range(n_seeds):
        data = noisy(problem, exact, 0.02, 0.02, n, seed)
        posterior = GPPDESolver(data, n=n, device=torch.get_default_device()).solve().posterior(X)
        within = (posterior.mean[:, 0] - exact(X)).abs() < 1.6449 * posterior.variance[:, 0].sqrt()
        inside.append(within.double().mean().item())
    assert 0.80 <= sum(inside) / n_seeds <= 0.98


def poisson(n_tones=20.0):
    return posed(*line(lambda x: sin(n_tones * x), UNIT))


def test_samples_of_the_posterior_have_its_mean_and_variance():
    data = noisy(poisson(), lambda X: sin(20 * X[:, 0]), 0.05, 0.05, 80, 3)
    posterior = GPPDESolver(data, n=80, device=torch.get_default_device()).solve().posterior(torch.rand(2, 5, 1))
    draws = posterior.rsample(torch.Size([4096]), torch.Generator(torch.get_default_device()).manual_seed(0))
    assert draws.shape == (4096, 2, 5, 1)
    assert ((draws.mean(0) - posterior.mean).abs() < 4 * (posterior.variance / 4096).sqrt()).all()
    # the variance of a sample variance of n normals is 2 / n of its square
    assert ((draws.var(0) / posterior.variance - 1).abs() < 4 * math.sqrt(2 / 4096)).all()


def test_the_solution_does_not_depend_on_units():
    problem = poisson()
    scaled = PDEProblem(
        [(0.0, 1e3)],
        {(2,): 7.0},
        lambda X: 7.0 * 1e5 * 1e-6 * problem.source(X * 1e-3),
        lambda X: 1e5 * problem.boundary(X * 1e-3),
    )
    X, device = torch.rand(30, 1), torch.get_default_device()
    mean = GPPDESolver(problem, n=120, device=device).solve().mean(X)
    torch.testing.assert_close(
        1e-5 * GPPDESolver(scaled, n=120, device=device).solve().mean(1e3 * X), mean, atol=1e-7, rtol=0
    )


def test_the_disagreement_of_two_bandwidths_warns_of_a_wrong_solution():
    exact, domain, terms, reaction = line(lambda x: sin(40 * x**2), (0.0, 2.0))
    device = torch.get_default_device()
    solution = GPPDESolver(posed(exact, domain, terms, reaction), n=60, device=device).solve()  # 60 points, 25 periods
    X = torch.linspace(0, 2, 300)[:, None]
    assert (solution.mean(X) - exact(X)).norm() > 0.1 * exact(X).norm()
    assert solution.disagreement > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain": [(1.0, 0.0)]}, "low < high"),
        ({"domain": [UNIT] * 3}, "one and two dimensions"),
        ({"terms": {(3,): 1.0}}, "order 0, 1 or 2"),
        ({"terms": {(0,): 1.0}}, "expected a derivative"),
        ({"source_sd": -1.0}, "source_sd: expected a finite standard deviation"),
    ],
)
def test_a_problem_that_cannot_be_solved_is_refused(change, message):
    with pytest.raises(InvalidDataError, match=message):
        dataclasses.replace(poisson(), **change)


def test_values_that_cannot_be_used_are_refused():
    infinite = dataclasses.replace(poisson(), source=lambda X: 1.0 / X[:, 0])
    with pytest.raises(InvalidDataError, match="source: a value is not finite"):
        GPPDESolver(infinite, n=50)
    with pytest.raises(InvalidDataError, match="boundary: expected 1 values"):
        GPPDESolver(dataclasses.replace(poisson(), boundary=lambda X: X), n=50)
    with pytest.raises(InvalidDataError, match="n: expected at least 8"):
        GPPDESolver(poisson(), n=3)
    with pytest.raises(InvalidDataError, match="with d=1"):
        GPPDESolver(poisson(), n=50).solve().mean(torch.rand(3, 2))
