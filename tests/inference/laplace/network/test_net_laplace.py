"""NetLaplace against Bayesian linear regression, dense algebra, and itself in another form."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev
from torch.utils.data import DataLoader, TensorDataset

from inference.errors import InvalidInputError
from inference.laplace.network import BradleyTerry, Classification, NetLaplace, NetLikelihood, Regression

ROOT = Path(__file__).parents[4]
EXACT = ["full", "function_space"]
STRUCTURES = ["full", "kron", "diag", "function_space", "low_rank"]


def linear_problem(n_outputs):
    """A linear network at its ridge solution for prior precision 2 and noise 0.3, and the data."""
    X = torch.randn(40, 3)
    Y = X @ torch.randn(3, n_outputs) + 0.3 * torch.randn(40, n_outputs)
    F = torch.cat([X, torch.ones(40, 1)], 1)
    weights = torch.linalg.solve(F.T @ F / 0.09 + 2.0 * torch.eye(4), F.T @ Y / 0.09).T
    net = nn.Linear(3, n_outputs)
    with torch.no_grad():
        net.weight.copy_(weights[:, :3])
        net.bias.copy_(weights[:, 3])
    return net, X, Y, F


def small_net(n_outputs=3, *, activation=nn.Tanh):
    return nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 5), activation(), nn.Linear(5, n_outputs))


def dense_reference(net, X, root):
    """J and H of all parameters, `n x C x P` and `P x P`, by autograd of the batch, in the order of the network."""
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    J = jacrev(lambda p: functional_call(net, p, (X,)))(parameters)
    J = torch.cat([part.flatten(2) for part in J.values()], 2)
    weighted = torch.einsum("ncp,ncr->nrp", J, root).flatten(0, 1)
    return J, weighted.T @ weighted


def softmax_root(f):
    p = f.softmax(1)
    return torch.linalg.cholesky(torch.diag_embed(p) - p[:, :, None] * p[:, None] + 1e-14 * torch.eye(f.shape[1]))


@pytest.mark.parametrize("params", ["all", "last_layer"])
@pytest.mark.parametrize(
    ("structure", "n_outputs"),
    [(s, c) for s in EXACT for c in (1, 2)] + [("kron", 1), ("low_rank", 1)],
)
def test_a_linear_network_is_bayesian_linear_regression(structure, n_outputs, params):
    net, X, Y, F = linear_problem(n_outputs)
    posterior = NetLaplace(net, Regression(noise_sd=0.3), structure, params, prior_precision=2.0).fit(X, Y)
    test = torch.randn(7, 3)
    phi = torch.cat([test, torch.ones(7, 1)], 1)
    precision = F.T @ F / 0.09 + 2.0 * torch.eye(4)
    variance = (phi @ torch.linalg.inv(precision) * phi).sum(1)
    V = posterior.covariance(test)
    torch.testing.assert_close(V, variance[:, None, None] * torch.eye(n_outputs), rtol=1e-8, atol=1e-10)
    found = posterior.predict(test)
    torch.testing.assert_close(found.variance, (variance + 0.09)[:, None].expand(-1, n_outputs), rtol=1e-8, atol=0)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(40), F @ F.T / 2.0 + 0.09 * torch.eye(40))
    assert posterior.log_evidence == pytest.approx(float(marginal.log_prob(Y.T).sum()), rel=1e-8)


@pytest.mark.parametrize("structure", EXACT)
@pytest.mark.parametrize("fisher", ["ggn", "empirical"])
def test_exact_structures_of_a_classifier_agree_with_dense_algebra(structure, fisher):
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    f = net(X).detach()
    if fisher == "ggn":
        root = softmax_root(f)
    else:
        root = (nn.functional.one_hot(y, 3) - f.softmax(1))[:, :, None]
    posterior = NetLaplace(net, Classification(), structure, fisher=fisher, prior_precision=0.7).fit(X, y)
    test = torch.randn(5, 4)
    _, H = dense_reference(net, X, root)
    J, _ = dense_reference(net, test, root[:5])
    precision = H + 0.7 * torch.eye(len(H))
    expected = J @ torch.linalg.inv(precision) @ J.mT
    torch.testing.assert_close(posterior.covariance(test), expected, rtol=1e-6, atol=1e-9)
    theta = torch.cat([p.detach().flatten() for p in net.parameters()])
    log_prob = -nn.functional.cross_entropy(f, y, reduction="sum")
    evidence = log_prob - 0.35 * theta.square().sum() + 0.5 * len(H) * math.log(0.7) - 0.5 * torch.logdet(precision)
    assert posterior.log_evidence == pytest.approx(float(evidence), rel=1e-7)


def test_the_prior_of_each_module_enters_exactly():
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    precision = {"0": 0.5, "2": 3.0, "4": 8.0}
    J, H = dense_reference(net, X, softmax_root(net(X).detach()))
    sizes = [sum(p.numel() for p in net[k].parameters()) for k in (0, 2, 4)]
    diagonal = torch.cat([torch.full((n,), d) for n, d in zip(sizes, precision.values(), strict=True)])
    expected = J @ torch.linalg.inv(H + diagonal.diag()) @ J.mT
    for structure in EXACT:
        posterior = NetLaplace(net, Classification(), structure, prior_precision=precision).fit(X, y)
        torch.testing.assert_close(posterior.covariance(X), expected, rtol=1e-6, atol=1e-9)
        assert posterior.prior_precision == pytest.approx(precision)


@pytest.mark.parametrize("n_rest", [1, 10], ids=["one-a-batch", "ten-a-batch"])
@pytest.mark.parametrize("structure", ["kron", "diag"])
def test_kron_and_diagonal_are_what_they_say(structure, n_rest):
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    root = softmax_root(net(X).detach())
    posterior = NetLaplace(net, Classification(), structure, prior_precision=0.7, chunk=n_rest).fit(X, y)
    J, H = dense_reference(net, X, root)
    approximate = torch.zeros_like(H)
    start = 0
    activations = {0: X, 2: net[:2](X), 4: net[:4](X)}
    for k, a in activations.items():
        o, i = net[k].weight.shape
        weight = slice(start, start + o * i)
        bias = slice(start + o * i, start + o * i + o)
        order = torch.cat(
            [torch.arange(start, start + o * i).view(o, i), torch.arange(bias.start, bias.stop)[:, None]], 1
        )
        order = order.flatten()
        if structure == "diag":
            block = H[order][:, order].diagonal().diag()
        else:
            B = torch.einsum("nco,ncr->nro", J[:, :, bias], root).flatten(0, 1)  # d f / d bias is d f / d z
            inputs = torch.cat([a, torch.ones(30, 1)], 1).detach()
            block = torch.kron(B.T @ B, inputs.T @ inputs / 30)
        approximate[order[:, None], order] = block
        start = bias.stop
        assert weight.stop == bias.start
    expected = J @ torch.linalg.inv(approximate + 0.7 * torch.eye(len(H))) @ J.mT
    torch.testing.assert_close(posterior.covariance(X), expected, rtol=1e-6, atol=1e-9)


def test_low_rank_of_every_rank_is_full_and_of_less_is_an_upper_bound():
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    full = NetLaplace(net, Classification(), "full").fit(X, y).predict(X).f_variance
    whole = NetLaplace(net, Classification(), "low_rank", rank=200).fit(X, y).predict(X).f_variance
    part = NetLaplace(net, Classification(), "low_rank", rank=20).fit(X, y).predict(X).f_variance
    torch.testing.assert_close(whole, full, rtol=1e-6, atol=1e-9)
    assert (part >= full - 1e-9).all()
    assert ((part - full) / full).mean() < 0.5  # the leading third of the eigenvectors is most of the story


@pytest.mark.parametrize("params", ["all", "last_layer", ["0.weight", "4.bias"]], ids=str)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_variances_are_the_diagonals_of_covariances_and_batches_do_not_matter(structure, params):
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    posterior = NetLaplace(net, Classification(), structure, params, prior_precision=0.7).fit(X, y)
    loader = DataLoader(TensorDataset(X, y), batch_size=7)
    streamed = NetLaplace(net, Classification(), structure, params, prior_precision=0.7, chunk=4).fit(loader)
    V = posterior.covariance(X)
    torch.testing.assert_close(posterior.predict(X).f_variance, V.diagonal(dim1=1, dim2=2), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(streamed.covariance(X), V, rtol=1e-7, atol=1e-9)
    assert streamed.log_evidence == pytest.approx(posterior.log_evidence, rel=1e-8)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_drawn_weights_have_the_covariance_that_the_density_states(structure):
    net, X, y = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), torch.randn(40, 2), torch.randint(2, (40,))
    posterior = NetLaplace(net, Classification(), structure, prior_precision=0.7, rank=6).fit(X, y)
    draws = posterior.sample(20_000, torch.Generator().manual_seed(3))
    theta = posterior.state_dict()["theta"]
    # the precision, from second differences of the quadratic log density, which are exact up to rounding
    eye = torch.eye(len(theta))
    at = posterior.log_prob(theta[None])
    single = posterior.log_prob(theta + eye) - at
    pairs = posterior.log_prob((theta + eye[:, None] + eye[None]).flatten(0, 1)).view(len(theta), -1) - at
    precision = -(pairs - single[:, None] - single[None])
    exact = torch.linalg.inv(precision)
    error = torch.linalg.norm(torch.cov(draws.T) - exact) / torch.linalg.norm(exact)
    assert error < 0.08  # about sqrt(P / draws) = 0.03
    normalised = torch.distributions.MultivariateNormal(theta, exact).log_prob(draws[:5])
    torch.testing.assert_close(posterior.log_prob(draws[:5]), normalised, rtol=1e-6, atol=1e-6)


def test_drawn_weights_are_the_inverse_of_the_curvature_plus_prior():
    net, X, y = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), torch.randn(40, 2), torch.randint(2, (40,))
    posterior = NetLaplace(net, Classification(), "full", prior_precision=0.7).fit(X, y)
    rows = posterior.sample(20_000, torch.Generator().manual_seed(3))
    named = posterior.parameters(rows)
    draws = torch.cat([named[name].flatten(1) for name, _ in net.named_parameters()], 1)
    _, H = dense_reference(net, X, softmax_root(net(X).detach()))
    exact = torch.linalg.inv(H + 0.7 * torch.eye(len(H)))
    assert torch.linalg.norm(torch.cov(draws.T) - exact) / torch.linalg.norm(exact) < 0.08


def test_function_space_is_the_dense_curvature_of_six_hundred_weights():
    net = nn.Sequential(nn.Linear(10, 50), nn.Tanh(), nn.Linear(50, 1))
    X, Y = torch.randn(60, 10), torch.randn(60, 1)
    test = torch.randn(20, 10)
    dense, kernel = (
        NetLaplace(net, Regression(0.5), structure, prior_precision=3.0).fit(X, Y).covariance(test)
        for structure in ("full", "function_space")
    )
    assert sum(p.numel() for p in net.parameters()) == 601
    torch.testing.assert_close(kernel, dense, rtol=1e-6, atol=1e-9)


class _Logistic(NetLikelihood):
    """Bradley and Terry's likelihood, written by a user who has the difference of rewards at hand."""

    def log_prob(self, f, y):
        return nn.functional.logsigmoid((2.0 * y - 1.0) * f[:, 0])

    def response(self, f):
        return f.sigmoid()


def test_rewards_are_logistic_regression_on_differences():
    X, y = torch.randn(50, 2, 4), torch.randint(2, (50,)).double()
    reward = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))

    class Difference(nn.Module):
        def __init__(self):
            super().__init__()
            self.reward = reward

        def forward(self, pairs):
            return self.reward(pairs[:, 0]) - self.reward(pairs[:, 1])

    ours = NetLaplace(reward, BradleyTerry(), "full", prior_precision=0.5).fit(X, y)
    by_hand = NetLaplace(Difference(), _Logistic(), "full", prior_precision=0.5).fit(X, y)
    assert ours.log_evidence == pytest.approx(by_hand.log_evidence, rel=1e-8)
    rows = ours.sample(1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.log_prob(rows), by_hand.log_prob(rows))
    single = ours.predict(X[:, 0])
    torch.testing.assert_close(single.mean, reward(X[:, 0]).detach())
    J, _ = dense_reference(reward, X[:, 0], torch.ones(50, 1, 1))
    assert single.variance.shape == (50, 1) and J.shape[2] == rows.shape[1]


def test_a_likelihood_of_ones_own_has_the_curvature_of_the_built_in_one():
    class Own(NetLikelihood):
        def log_prob(self, f, y):
            return f.log_softmax(1).gather(1, y[:, None])[:, 0]

        def response(self, f):
            return f.softmax(-1)

    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    own, ours = (NetLaplace(net, likelihood, "kron").fit(X, y) for likelihood in (Own(), Classification()))
    torch.testing.assert_close(own.covariance(X), ours.covariance(X), rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(own.predict(X, seed=1).mean, ours.predict(X, "mc", seed=1).mean, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("params", ["all", "last_layer"])
def test_a_stored_state_predicts_the_same_to_the_bit(structure, params):
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    fitted = NetLaplace(net, Classification(), structure, params).fit(X, y).tune("evidence")
    loaded = NetLaplace(net, Classification(), structure, params)
    loaded.load_state_dict(fitted.state_dict())
    for one, other in zip(vars(fitted.predict(X)).values(), vars(loaded.predict(X)).values(), strict=True):
        assert torch.equal(one, other)
    assert loaded.log_evidence == fitted.log_evidence
    moved = fitted.to("cpu")
    assert torch.equal(moved.predict(X).mean, fitted.predict(X).mean) and moved.net is not net


def test_a_state_of_something_else_is_refused():
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    state = NetLaplace(net, Classification(), "kron").fit(X, y).state_dict()
    with pytest.raises(ValueError, match="structure is 'kron', that of this object is 'diag'"):
        NetLaplace(net, Classification(), "diag").load_state_dict(state)
    with pytest.raises(ValueError, match="its parameters is"):
        NetLaplace(net, Classification(), "kron", "last_layer").load_state_dict(state)
    with pytest.raises(ValueError, match="other weights"):
        NetLaplace(small_net(), Classification(), "kron").load_state_dict(state)


def test_evidence_is_tuned_to_its_maximum():
    net, X, Y, _ = linear_problem(1)
    posterior = NetLaplace(net, Regression(), "full").fit(X, Y).tune()

    def evidence(log_tau, log_scale):
        other = NetLaplace(net, Regression(math.exp(-0.5 * log_scale)), "full", prior_precision=math.exp(log_tau))
        return other.fit(X, Y).log_evidence

    at = math.log(posterior.tau), math.log(posterior.scale)
    assert posterior.log_evidence == pytest.approx(evidence(*at), rel=1e-10)
    for away in ((0.05, 0.0), (-0.05, 0.0), (0.0, 0.05), (0.0, -0.05)):
        assert evidence(at[0] + away[0], at[1] + away[1]) < posterior.log_evidence
    assert posterior.noise_variance == pytest.approx(0.09, rel=0.6)  # 36 degrees of freedom: 0.24 is one sd


def test_validation_is_tuned_to_its_maximum():
    net, X, y = small_net(), torch.randn(60, 4), torch.randint(3, (60,))
    posterior = NetLaplace(net, Classification(), "kron").fit(X[:40], y[:40]).tune(validation=(X[40:], y[40:]))

    def nll(tau):
        other = NetLaplace(net, Classification(), "kron", prior_precision=tau).fit(X[:40], y[:40])
        return -other.predict(X[40:]).mean.gather(1, y[40:, None]).log().sum()

    best = nll(posterior.tau)
    assert all(best <= nll(posterior.tau * factor) + 1e-9 for factor in (0.8, 1.25, 0.1, 10.0))


def test_probit_agrees_with_draws():
    likelihood, g = Classification(), torch.Generator().manual_seed(0)
    f = torch.tensor([[1.0, 0.0, -1.0]])
    root = torch.randn(1, 3, 3)
    # nearly certain outputs to first order in V, others to the few percent that the approximation is good for
    for size, tolerance in ((1e-8, 1e-6), (0.3, 0.06)):
        V = size * root @ root.mT
        mc, _ = likelihood.predict(f, V, "mc", g, 1.0)
        probit, _ = likelihood.predict(f, V.diagonal(dim1=1, dim2=2), "probit", g, 1.0)
        sd_of_draws = 0.25 * V.diagonal(dim1=1, dim2=2).max().sqrt() / 16  # 256 of them; dp/df <= 1/4
        assert (mc - probit).abs().max() < tolerance + 4 * sd_of_draws


def test_bridge_finds_the_dirichlet_distribution_whose_laplace_approximation_it_is_given():
    alpha = torch.tensor([0.7, 2.0, 5.0, 11.0])
    C = len(alpha)
    f = alpha.log() - alpha.log().mean()  # the mode in logits that sum to 0
    centre = torch.eye(C) - 1.0 / C
    V = centre @ (1.0 / alpha).diag() @ centre  # and the covariance there
    shifted, wider = f + 3.0, V + 0.4  # softmax sees neither a shift of all logits nor its variance
    for mean, covariance in ((f, V + 1e-9), (shifted, wider)):
        found, _ = Classification().predict(mean[None], covariance[None], "bridge", torch.Generator(), 1.0)
        torch.testing.assert_close(found[0], alpha / alpha.sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", ["probit", "bridge", "mc"])
def test_less_certain_outputs_give_less_certain_classes(method):
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    sure = NetLaplace(net, Classification(), "kron", prior_precision=1e6).fit(X, y).predict(X, method).mean
    unsure = NetLaplace(net, Classification(), "kron", prior_precision=0.01).fit(X, y).predict(X, method).mean
    if method != "bridge":  # whose variances would have to differ by class for that
        torch.testing.assert_close(sure, net(X).softmax(1).detach(), rtol=1e-3, atol=1e-3)
    assert unsure.max(1).values.mean() < sure.max(1).values.mean()


def test_the_network_is_left_as_it_was():
    net, X, y = (
        nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(6, 3)),
        torch.randn(9, 4),
        0,
    )
    net.train()
    before = {name: p.clone() for name, p in net.state_dict().items()}
    state = torch.random.get_rng_state()
    posterior = NetLaplace(net, Classification(), "kron").fit(X, torch.full((9,), y))
    posterior.predict(X, "mc")
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(before[name], p) for name, p in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_bad_input_is_refused_where_it_enters():
    net, X, y = small_net(), torch.randn(8, 4), torch.randint(3, (8,))
    with pytest.raises(InvalidInputError, match="structure, fisher: expected one of"):
        NetLaplace(net, Classification(), "krone")
    with pytest.raises(InvalidInputError, match=r"no such parameters: \['9\.weight'\]"):
        NetLaplace(net, Classification(), "kron", ["9.weight"])
    with pytest.raises(InvalidInputError, match="prior_precision: expected one number for each"):
        NetLaplace(net, Classification(), prior_precision={"0": 1.0})
    posterior = NetLaplace(net, Classification())
    with pytest.raises(InvalidInputError, match="call fit"):
        posterior.predict(X)
    with pytest.raises(InvalidInputError, match="Y: expected 8 observations, got 7"):
        posterior.fit(X, y[:7])
    with pytest.raises(InvalidInputError, match="index of one of at least 2 classes"):
        posterior.fit(X, y.double())
    with pytest.raises(InvalidInputError, match="gone over repeatedly"):
        posterior.fit(iter([(X, y)]))
    with pytest.raises(InvalidInputError, match="log likelihood is not finite"):
        posterior.fit(X * torch.nan, y)
    posterior.fit(X, y)
    with pytest.raises(InvalidInputError, match="without validation data"):
        posterior.tune()
    with pytest.raises(InvalidInputError, match=r"method: expected one of \['probit'"):
        posterior.predict(X, "probits")
    with pytest.raises(InvalidInputError, match="noise_sd: expected a positive number"):
        Regression(noise_sd=0.0)


@pytest.mark.gpu
@pytest.mark.parametrize("structure", STRUCTURES)
def test_gives_the_same_on_cuda(structure):
    net, X, y = small_net(), torch.randn(30, 4), torch.randint(3, (30,))
    here = NetLaplace(net, Classification(), structure, rank=200).fit(X, y).predict(X)
    there = NetLaplace(net.cuda(), Classification(), structure, rank=200).fit(X.cuda(), y.cuda()).predict(X.cuda())
    assert there.mean.device.type == "cuda"
    torch.testing.assert_close(there.mean.cpu(), here.mean, rtol=1e-6, atol=1e-8)


_PEAK = """
import resource, sys
import torch
from torch import nn
from inference.laplace.network import Classification, NetLaplace

torch.set_num_threads(1)
n = int(sys.argv[1])
net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).double()
X, y = torch.randn(n, 64).double(), torch.randint(10, (8,))
posterior = NetLaplace(net, Classification(), "low_rank", rank=10, chunk=256).fit(X[:8], y)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
posterior.predict(X)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_kilobytes(n_points):
    command = [sys.executable, "-c", _PEAK, str(n_points)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_test_points():
    of_500, of_2000 = peak_kilobytes(500), peak_kilobytes(2000)
    assert of_500 > 150_000  # the dense Jacobians of a chunk are 184 MB, those of all 2,000 points would be 1,435
    assert of_2000 < 1.5 * of_500
