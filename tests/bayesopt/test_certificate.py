"""When it is said that no configuration satisfies the constraints, and when not."""

import numpy as np
import pytest
from scipy.optimize import minimize

import bayesopt as bo
from bayesopt.certificate import CONSECUTIVE, MOST_CHANCE, MOST_EXPECTED, _laplace_draws, claim
from bayesopt.problem.parameters import Float
from bayesopt.problem.space import Space
from bayesopt.problem.verdict import LEAST_TOLD

pytestmark = pytest.mark.usefixtures("one_thread")

PLANE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
LEAST = LEAST_TOLD * 2 + CONSECUTIVE - 1


def raw_bowl(X):
    return np.square(X - [0.3, 0.6]).sum(1) + 0.2 * np.sin(6.0 * X[:, 0])


BOTTOM = minimize(lambda u: raw_bowl(u[None])[0], [0.7, 0.6], tol=1e-12)


def bowl(X, lowest):
    return lowest + raw_bowl(X) - BOTTOM.fun


def test_the_bottom_of_the_bowl_is_where_it_is_said_to_be():
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201)), -1).reshape(-1, 2)
    # The grid's best lies within half a cell, 0.0025 a side, of the bottom, where the curvature is below 10.
    assert bowl(grid, 0.5).min() == pytest.approx(0.5, abs=10 * 0.0025**2)


def points(n, seed=0):
    return np.random.default_rng(seed).random((n, 2))


def test_a_bowl_above_the_bound_is_found_infeasible_with_its_bottom_as_evidence(make_history):
    X = points(30)
    found = claim(make_history(PLANE, X, X[:, 0], constraints=bowl(X, 0.5)[:, None]))
    assert found.holds
    assert found.expected <= MOST_EXPECTED
    assert found.chance <= MOST_CHANCE
    assert found.margin > 0
    # 512 points and moves around the best of them are looked at: they come as near as a cell of a grid of 20.
    assert np.abs(found.point - BOTTOM.x).max() < 0.05


def test_a_bowl_that_dips_below_the_bound_is_not(make_history):
    X = points(200)
    X = X[bowl(X, -0.02) > 0][:40]
    found = claim(make_history(PLANE, X, X[:, 0], constraints=bowl(X, -0.02)[:, None]))
    assert not found.holds
    assert bowl(found.point[None], -0.02)[0] < 0.0


def test_the_constraint_that_excludes_a_point_is_named(make_history):
    X = points(30)
    margins = np.stack([X[:, 0] - 1.5, bowl(X, 0.5)], 1)
    assert claim(make_history(PLANE, X, X[:, 0], constraints=margins)).binding == 1


def test_two_constraints_that_hold_nowhere_together_are_found(make_history):
    X = points(40)
    margins = np.stack([X[:, 0] - 0.3, 0.7 - X[:, 0]], 1)
    found = claim(make_history(PLANE, X, X[:, 0], constraints=margins))
    assert found.holds
    assert 0.2 < found.point[0] < 0.8


def test_nothing_is_claimed_of_few_trials(make_history):
    X = points(LEAST)
    for n, has_claim in ((LEAST - 1, False), (LEAST, True)):
        found = claim(make_history(PLANE, X[:n], X[:n, 0], constraints=bowl(X[:n], 0.5)[:, None]))
        assert (found is not None) == has_claim


def test_one_tell_that_speaks_against_it_withholds_the_claim(make_history):
    X = points(60)
    margins = bowl(X, 0.5)
    assert claim(make_history(PLANE, X, X[:, 0], constraints=margins[:, None])).holds
    # A trial just above the bound next to others far above it: what the models made of the place was wrong.
    X[-1], margins[-1] = X[np.argmax(margins)] + [0.01, 0.0], 1e-3
    assert not claim(make_history(PLANE, X, X[:, 0], constraints=margins[:, None])).holds


def test_a_constraint_that_was_never_measured_excludes_nothing(make_history):
    X = points(30)
    unknown = np.full(30, np.nan)
    assert claim(make_history(PLANE, X, X[:, 0], constraints=unknown[:, None])) is None
    both = np.stack([unknown, bowl(X, 0.5)], 1)
    found = claim(make_history(PLANE, X, X[:, 0], constraints=both))
    assert found.holds
    assert found.binding == 1


def test_margins_that_are_missing_here_and_there_do_no_harm(make_history):
    X = points(50)
    margins = np.stack([bowl(X, 0.5), X[:, 0] - 2.0], 1)
    margins[::4, 0] = np.nan
    assert claim(make_history(PLANE, X, X[:, 0], constraints=margins)).holds


def test_strong_noise_withholds_the_claim(make_history):
    X = points(60)
    noisy = bowl(X, 0.5) + 0.5 * np.random.default_rng(1).standard_normal(60)
    noisy = np.where(noisy > 0, noisy, 0.01)  # nothing told is feasible
    assert not claim(make_history(PLANE, X, X[:, 0], constraints=noisy[:, None])).holds


def test_the_claim_depends_on_what_was_told_alone(make_history):
    X = points(30)
    told = {"constraints": bowl(X, 0.5)[:, None]}
    plain = claim(make_history(PLANE, X, X[:, 0], **told))
    memory = {"fits": {"constraint 'c0'": {"theta": [5.0, 5.0, 0.0], "searched_at": 30}}}
    other = claim(make_history(PLANE, X, X[:, 0], pending=points(3, 7), failed=points(2, 8), memory=memory, **told))
    assert (plain.expected, plain.chance) == (other.expected, other.chance)
    assert np.array_equal(plain.point, other.point)


def test_draws_have_the_curvature_of_the_posterior(make_history):
    from bayesopt.surrogate import FeatureMap, fit_margins_cautiously

    X = points(40)
    history = make_history(PLANE, X, X[:, 0], constraints=bowl(X, 0.5)[:, None], noise=0.0)
    (model,), _ = fit_margins_cautiously(history, FeatureMap(PLANE))
    regression, theta = model.regression, model.hyperparameters

    def log_density(at):
        return float(regression.log_evidence(at[None])[0][0] + regression.log_prior(at[None])[0][0])

    step = 1e-3 * np.eye(2)
    hessian = np.array([
        [sum(s * t * log_density(theta + s * a + t * b) for s in (1, -1) for t in (1, -1)) / 4e-6 for b in step]
        for a in step
    ])
    draws = np.vstack([_laplace_draws(model, np.random.default_rng(k)) for k in range(200)])
    covariance = np.cov(draws.T)
    expected = np.linalg.inv(-hessian)
    # A variance of 600 draws has a relative standard error of 6 per cent.
    assert np.diag(covariance) == pytest.approx(np.diag(expected), rel=4 * 0.06)


# -- in a study -------------------------------------------------------------------------------------------------------


def bowl_study(lowest, **options):
    return bo.Study(
        bo.Space({"x": bo.Float(0.0, 1.0), "y": bo.Float(0.0, 1.0)}),
        minimize="f",
        subject_to=[bo.AtMost("g", 10.0)],
        seed=100,
        **options,
    )


def spend(study, lowest, n):
    for _ in range(n):
        trial = study.ask()
        u = np.array([[trial.params["x"], trial.params["y"]]])
        study.tell(trial, {"f": trial.params["x"], "g": 10.0 + bowl(u, lowest)[0]})
    return study


def test_a_verdict_comes_with_its_evidence_and_a_reopened_study_says_the_same(tmp_path):
    with spend(bowl_study(0.5, storage=tmp_path / "a.db"), 0.5, LEAST) as study:
        verdict = study.verdict
        assert verdict == "infeasible"
        assert verdict.binding == "g"
        assert verdict.expected <= MOST_EXPECTED
        assert set(verdict.point) == {"x", "y"}
        assert "none of 22 told trials" in verdict.evidence
        assert "'g'" in verdict.evidence
        assert "infeasible" in study.report()
        trial = study.ask()  # it goes on
        assert trial is not None
    with bowl_study(0.5, storage=tmp_path / "a.db") as study:
        assert study.verdict == verdict
        assert study.verdict.evidence == verdict.evidence


def test_a_feasible_trial_ends_every_doubt():
    study = spend(bowl_study(0.5), 0.5, LEAST)
    assert study.verdict == "infeasible"
    study.tell_external({"x": 0.1, "y": 0.1}, {"f": 0.0, "g": 9.0})
    assert study.verdict == "feasible"


def test_a_verdict_is_judged_once_a_tell(monkeypatch):
    import bayesopt.certificate as certificate

    study, calls = spend(bowl_study(0.5), 0.5, LEAST), []
    monkeypatch.setattr(certificate, "claim", lambda history: calls.append(len(history.ids)))
    for _ in range(3):
        assert study.verdict == "undecided"
    spend(study, 0.5, 1)
    assert study.verdict == "undecided"
    assert calls == [LEAST, LEAST + 1]


def test_early_on_no_model_is_asked(monkeypatch):
    import bayesopt.certificate as certificate

    monkeypatch.setattr(certificate, "claim", lambda history: pytest.fail("asked"))
    assert spend(bowl_study(0.5), 0.5, 8).verdict == "undecided"
    assert spend(bowl_study(-1.0), -1.0, LEAST).verdict == "feasible"


# -- families ---------------------------------------------------------------------------------------------------------


class Draws:
    """Sums of random waves, draws of Gaussian processes, shifted so that the least of their maximum is a margin."""

    def __init__(self, d, lengthscale, n_constraints, margin, seed):
        rng = np.random.default_rng(seed)
        self.waves = rng.standard_normal((n_constraints, 256, d)) / lengthscale
        self.phases = rng.uniform(0.0, 2.0 * np.pi, (n_constraints, 256))
        self.heights = rng.standard_normal((n_constraints, 256)) * np.sqrt(2.0 / 256)
        self.shift, self.d = 0.0, d
        U = rng.random((20_000, d))
        values = np.concatenate([self(part).max(1) for part in np.array_split(U, 10)])
        lowest = min(self._descended(U[row]) for row in np.argsort(values)[:8])
        self.shift = margin - min(lowest, values.min())

    def _descended(self, u):
        """Least maximum of the constraints near u: the least z above all of them."""
        result = minimize(
            lambda z: z[-1],
            np.append(u, self(u[None]).max()),
            bounds=[(0.0, 1.0)] * self.d + [(None, None)],
            constraints={"type": "ineq", "fun": lambda z: z[-1] - self(z[None, :-1])[0]},
            method="SLSQP",
        )
        return self(np.clip(result.x[None, :-1], 0.0, 1.0)).max()

    def __call__(self, U):
        waves = np.einsum("nd,kfd->nkf", U, self.waves)
        return np.einsum("nkf,kf->nk", np.cos(waves + self.phases), self.heights) + self.shift


def judged(draws, seed, n):
    """Told trials after which infeasibility is claimed, or None; and whether something feasible was met before."""
    d, K = draws.d, len(draws.waves)
    study = bo.Study(
        bo.Space({f"x{j}": bo.Float(0.0, 1.0) for j in range(d)}),
        minimize="f",
        subject_to=[bo.AtMost(f"g{k}", 0.0) for k in range(K)],
        seed=seed,
    )
    for told in range(1, n + 1):
        trial = study.ask()
        g = draws(np.array([list(trial.params.values())]))[0]
        study.tell(trial, {"f": sum(trial.params.values())} | {f"g{k}": float(g[k]) for k in range(K)})
        if (g <= 0).all():
            return None, True
        if told % 20 == 0 and study.verdict == "infeasible":
            return told, False
    return None, False


FAMILIES = [(2, 0.1, 1), (2, 0.2, 3), (2, 0.5, 2), (4, 0.3, 2), (4, 0.4, 1), (4, 0.5, 3)]


@pytest.mark.slow
@pytest.mark.parametrize(("d", "lengthscale", "n_constraints"), FAMILIES, ids=str)
def test_infeasible_draws_are_declared_within_two_hundred_trials(d, lengthscale, n_constraints):
    for seed in (500, 501):
        told, met_feasible = judged(Draws(d, lengthscale, n_constraints, 0.5, seed), seed, 200)
        assert not met_feasible
        assert told is not None


@pytest.mark.slow
@pytest.mark.parametrize(("d", "lengthscale", "n_constraints"), FAMILIES, ids=str)
def test_of_feasible_draws_nothing_is_claimed_falsely(d, lengthscale, n_constraints):
    for seed in range(510, 514):
        told, _ = judged(Draws(d, lengthscale, n_constraints, -0.2, seed), seed, 120)
        assert told is None
