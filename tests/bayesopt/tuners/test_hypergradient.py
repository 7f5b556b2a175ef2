"""Hypergradients of a ridge regression with a penalty a feature: closed form, finite differences, and what they buy."""

import math

import pytest
import torch

import bayesopt as bo
from bayesopt.errors import InvalidInputError

N, D = 200, 300
PENALTY_OF_CONDITION_6 = 1.0


class Ridge:
    """Few of many features count; 200 rows to train on, 200 to choose by, 2,000 to judge by."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        truth = torch.zeros(D, dtype=torch.float64)
        truth[:20] = normal(20)
        self.sets = []
        for n in (N, N, 2000):
            X = normal(n, D)
            self.sets.append((X, X @ truth + normal(n)))

    def train(self, w, logs):
        X, y = self.sets[0]
        return 0.5 * ((X @ w - y) ** 2).mean() + 0.5 * (logs.exp() * w**2).sum()

    def loss(self, part, w):
        X, y = self.sets[part]
        return ((X @ w - y) ** 2).mean()

    def validate(self, w, logs):
        return self.loss(1, w)

    def hessian(self, logs):
        X, _ = self.sets[0]
        return X.T @ X / N + torch.diag(logs.exp())

    def weights(self, logs):
        X, y = self.sets[0]
        return torch.linalg.solve(self.hessian(logs), X.T @ y / N)

    def exact(self, logs):
        X, y = self.sets[1]
        w = self.weights(logs)
        g = 2.0 * X.T @ (X @ w - y) / N
        return -torch.linalg.solve(self.hessian(logs), g) * logs.exp() * w


def logs_of(penalty):
    return torch.full((D,), math.log(penalty), dtype=torch.float64)


def error(found, exact):
    return float((found - exact).norm() / exact.norm())


def test_the_closed_form_agrees_with_central_differences():
    ridge, logs, step = Ridge(100), logs_of(0.3), 1e-4
    exact = ridge.exact(logs)
    for feature in (0, 7, 150):
        move = torch.zeros(D, dtype=torch.float64)
        move[feature] = step
        high, low = (ridge.validate(ridge.weights(logs + sign * move), None) for sign in (1.0, -1.0))
        # off by step² / 6 times the third derivative, and by rounding over step
        assert float((high - low) / (2.0 * step)) == pytest.approx(float(exact[feature]), rel=1e-6, abs=1e-9)


def test_twenty_products_reach_the_closed_form_at_condition_six():
    ridge, logs = Ridge(100), logs_of(PENALTY_OF_CONDITION_6)
    assert 5.0 < float(torch.linalg.cond(ridge.hessian(logs))) < 7.0
    exact, w = ridge.exact(logs), ridge.weights(logs)
    found = bo.hypergradient(ridge.train, ridge.validate, w, logs)
    assert error(found.gradient[0], exact) <= 0.02
    assert found.n_products == 30  # ten of them for the step
    assert found.is_complete
    assert found.validation_loss == pytest.approx(float(ridge.validate(w, None)))
    errors = [
        error(bo.hypergradient(ridge.train, ridge.validate, w, logs, n_products=k).gradient[0], exact)
        for k in (0, 5, 100)
    ]
    assert errors[0] > errors[1] > 0.02 > errors[2]
    assert errors[2] < 1e-6


def test_conjugate_gradients_do_with_twenty_products_what_the_series_does_not():
    ridge, logs = Ridge(100), logs_of(0.05)
    exact, w = ridge.exact(logs), ridge.weights(logs)
    series, cg = (
        bo.hypergradient(ridge.train, ridge.validate, w, logs, solver=solver).gradient[0]
        for solver in ("neumann", "cg")
    )
    assert error(cg, exact) < 0.01 < error(series, exact)
    # the direction of the truncated series is right, its size is not
    assert float(series @ exact / (series.norm() * exact.norm())) > 0.99
    full = bo.hypergradient(ridge.train, ridge.validate, w, logs, solver="cg", n_products=300).gradient[0]
    assert error(full, exact) < 1e-8


def test_a_validation_loss_that_sees_the_hyperparameters_itself_counts():
    w, l = torch.tensor([0.4]).double(), torch.tensor([1.5]).double()  # the best weight is 1 / (1 + l)
    found = bo.hypergradient(
        lambda w, l: ((w - 1) ** 2 + l * w**2).sum(), lambda w, l: (w**2 + 3.0 * l).sum(), w, l, solver="cg"
    )
    assert float(found.gradient[0]) == pytest.approx(3.0 - 2.0 * 0.4 * (1 / 2.5) ** 2)


def test_damping_is_added_to_the_hessian():
    w, l = torch.tensor([0.5]).double(), torch.tensor([1.0]).double()
    found = bo.hypergradient(
        lambda w, l: ((w - 1) ** 2 + l * w**2).sum(), lambda w, l: (w**2).sum(), w, l, solver="cg", damping=4.0
    )
    assert float(found.gradient[0]) == pytest.approx(-0.25 * 4.0 / 8.0)


@pytest.mark.parametrize("solver", ["neumann", "cg"])
def test_an_indefinite_hessian_is_noticed(solver):
    w = torch.tensor([0.1, 0.2]).double()
    l = torch.tensor([1.0]).double()
    found = bo.hypergradient(
        lambda w, l: l[0] * w[0] ** 2 - 2.0 * w[1] ** 2, lambda w, l: (w**2).sum(), w, l, solver=solver
    )
    assert not found.is_complete
    assert torch.isfinite(found.gradient[0]).all()


def test_a_module_is_differentiated_through_its_own_parameters():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    X, y = torch.randn(20, 3).double(), torch.randn(20, 1).double()
    log_decay = torch.tensor([-2.0, -1.0]).double()

    def train(_, l):
        layers = (net[0].weight, net[2].weight)
        return ((net(X) - y) ** 2).mean() + sum(l[i].exp() * w.square().sum() for i, w in enumerate(layers))

    found = bo.hypergradient(
        train,
        lambda _, l: ((net(X) - 0.5 * y) ** 2).mean(),
        list(net.parameters()),
        log_decay,
        damping=1e-3,
        solver="cg",
        n_products=200,
    )
    # the same by a dense Hessian
    parameters = list(net.parameters())
    T_w = torch.cat([g.flatten() for g in torch.autograd.grad(train(None, log_decay), parameters, create_graph=True)])
    H = torch.stack([
        torch.cat([
            g.flatten() for g in torch.autograd.grad(one, parameters, retain_graph=True, materialize_grads=True)
        ])
        for one in T_w
    ])
    l = log_decay.clone().requires_grad_()
    T_w = torch.cat([g.flatten() for g in torch.autograd.grad(train(None, l), parameters, create_graph=True)])
    T_wl = torch.stack([
        torch.autograd.grad(one, l, retain_graph=True)[0] if one.requires_grad else 0 * l for one in T_w
    ])
    V_w = torch.autograd.grad(((net(X) - 0.5 * y) ** 2).mean(), parameters)
    g = torch.cat([part.flatten() for part in V_w])
    if found.is_complete:
        dense = -torch.linalg.solve(H + 1e-3 * torch.eye(len(H)), g) @ T_wl
        torch.testing.assert_close(found.gradient[0], dense.detach(), rtol=1e-5, atol=1e-8)
    assert all(parameter.grad is None for parameter in parameters)


@pytest.mark.slow
def test_three_hundred_penalties_beat_the_best_single_one():
    ridge, logs = Ridge(100), torch.zeros(D, dtype=torch.float64)
    tuner = bo.HypergradientTuner(logs, ridge.train, ridge.validate)
    for _ in range(200):
        tuner.step(ridge.weights(logs))
    single = min(float(ridge.loss(2, ridge.weights(logs_of(10.0**e)))) for e in torch.linspace(-3, 1, 17).tolist())
    assert float(ridge.loss(2, ridge.weights(logs))) <= 4.0 < single


def test_a_tuner_goes_on_from_its_state():
    ridge = Ridge(101)
    once, first = (torch.zeros(D, dtype=torch.float64) for _ in range(2))
    whole, part = (bo.HypergradientTuner(l, ridge.train, ridge.validate, n_products=3) for l in (once, first))
    for _ in range(4):
        whole.step(ridge.weights(once))
    for _ in range(2):
        part.step(ridge.weights(first))
    second = torch.zeros(D, dtype=torch.float64)
    resumed = bo.HypergradientTuner(second, ridge.train, ridge.validate, n_products=3)
    resumed.load_state_dict(part.state_dict())
    for _ in range(2):
        resumed.step(ridge.weights(second))
    torch.testing.assert_close(second, once, rtol=0, atol=0)
    with pytest.raises(InvalidInputError, match="other shapes"):
        bo.HypergradientTuner(torch.zeros(2), ridge.train, ridge.validate).load_state_dict(part.state_dict())


ONE = torch.ones(1).double()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: bo.hypergradient(square, square, ONE, ONE, solver="exact"), "'neumann' or 'cg'"),
        (lambda: bo.hypergradient(square, square, 1.0, ONE), "weights: expected a tensor of floats"),
        (lambda: bo.hypergradient(square, square, ONE, torch.ones(1, dtype=torch.int64)), "hyper: expected"),
        (lambda: bo.hypergradient(lambda w, l: w.sum(), square, ONE, ONE), "does not bend"),
        (lambda: bo.hypergradient(square, square, ONE, ONE, n_products=-1), "n_products"),
        (lambda: bo.HypergradientTuner(ONE.clone(), square, square, lr=0.0), "expected a positive number"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(InvalidInputError, match=match):
        call()


def square(w, l):
    return (w**2 * l).sum()


@pytest.mark.gpu
def test_it_runs_where_its_tensors_are():
    ridge, logs = Ridge(100), logs_of(1.0)
    ridge.sets = [(X.cuda(), y.cuda()) for X, y in ridge.sets]
    generator = torch.Generator(device="cuda").manual_seed(0)
    w = ridge.weights(logs.cuda())
    found = bo.hypergradient(ridge.train, ridge.validate, w, logs.cuda(), generator=generator)
    assert found.gradient[0].device.type == "cuda"
    assert error(found.gradient[0], ridge.exact(logs.cuda())) <= 0.02
