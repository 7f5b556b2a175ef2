"""Pieces of the Jacobian against autograd of one output at a time."""

import pytest
import torch
from torch import nn

from inference.errors import InvalidInputError
from inference.laplace.network import Classification, NetLaplace, Regression
from inference.laplace.network.groups import select
from inference.laplace.network.jacobians import Outer, jacobian, linearise


class Attention(nn.Module):
    """One block of attention built of linear layers, and a layer norm, over tokens."""

    def __init__(self, d=6):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(d, d) for _ in range(4))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 3)

    def forward(self, x):
        weights = (self.query(x) @ self.key(x).mT / x.shape[-1] ** 0.5).softmax(-1)
        return self.head(self.norm(x + self.out(weights @ self.value(x))).mean(1))


class Fused(nn.Module):
    """torch's own attention, whose output layer never runs as a module."""

    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.head(torch.tanh(self.two(torch.tanh(self.one(x)))))


class Twice(nn.Module):
    """A layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.one, self.head = nn.Linear(4, 4), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return self.head(torch.tanh(self.one(torch.tanh(self.one(x)))))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 4, (2, 1), dilation=(1, 2), bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


NETS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)), (4,)),
    "convolutions": (convolutions, (2, 7, 6)),
    "attention": (Attention, (5, 6)),
    "torch's attention": (Fused, (5, 6)),
    "tied": (Tied, (4,)),
    "twice": (Twice, (4,)),
}
each_net = pytest.mark.parametrize("name", NETS)


def by_autograd(net, groups, X):
    """One backward pass for each output of each point."""
    net.eval()
    names = dict(net.named_parameters())
    rows = []
    for x in X:
        outputs = net(x[None])[0]
        for c in range(len(outputs)):
            grads = torch.autograd.grad(outputs[c], list(names.values()), retain_graph=True, allow_unused=True)
            tensors = {
                n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(names.items(), grads, strict=True)
            }
            rows.append(torch.cat([group.flatten(tensors) for group in groups]))
    return torch.stack(rows).view(len(X), -1, len(rows[0]))


@each_net
def test_the_jacobian_is_that_of_autograd(name):
    make, shape = NETS[name]
    net, X = make(), torch.randn(7, *shape)
    groups = select(net, "all")
    f, pieces = linearise(net, groups, X)
    expected = by_autograd(net, groups, X)
    torch.testing.assert_close(torch.cat([piece.dense() for piece in pieces], -1), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(jacobian(net, groups, X), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(f, net(X).detach())


@each_net
@pytest.mark.parametrize("structure", ["kron", "diag", "function_space"])
def test_every_structure_takes_every_network(name, structure):
    make, shape = NETS[name]
    net, X, y = make(), torch.randn(12, *shape), torch.randint(3, (12,))
    posterior = NetLaplace(net, Classification(), structure, prior_precision=0.5).fit(X, y)
    exact = NetLaplace(net, Classification(), "full", prior_precision=0.5).fit(X, y)
    V, W = posterior.covariance(X), exact.covariance(X)
    torch.testing.assert_close(posterior.predict(X).f_variance, V.diagonal(dim1=1, dim2=2), rtol=1e-8, atol=1e-10)
    if structure == "function_space":
        torch.testing.assert_close(V, W, rtol=1e-6, atol=1e-9)
    if structure == "kron":  # an approximation, of the right size: a lost factor of the positions would be 5 to 42
        ratio = V.diagonal(dim1=1, dim2=2).mean() / W.diagonal(dim1=1, dim2=2).mean()
        assert 0.4 < ratio < 2.5


def test_the_kronecker_factors_of_a_convolution_are_exact_where_its_positions_are_independent():
    # one image, of which every window but one is blank: the sum over positions has one term
    net = nn.Sequential(nn.Conv2d(1, 2, 2, stride=2, bias=False), nn.Flatten(), nn.Linear(8, 1, bias=False))
    image = torch.zeros(1, 1, 4, 4)
    image[..., :2, :2] = torch.randn(2, 2)
    (group, *_), (piece, *_) = (select(net, "all"), linearise(net, select(net, "all"), image)[1])
    assert isinstance(piece, Outer) and piece.a.shape == (1, 4, 4) and group.shape == (2, 4)
    gradient = piece.dense()[0]
    posterior = NetLaplace(net, Regression(1.0), "kron", ["0.weight"]).fit(image, torch.zeros(1, 1))
    e = posterior.state_dict()["tensors"]["spectrum"]
    # A = a a^T and G = mean over 4 positions of b b^T, whose first one alone makes the true curvature
    B = piece.B[0, 0]
    expected = float(piece.a[0, 0].square().sum() * torch.linalg.eigvalsh(B.T @ B / 4).max())
    assert float(e.max()) == pytest.approx(expected, rel=1e-9)
    assert float(gradient.square().sum()) == pytest.approx(float(piece.a[0, 0].square().sum() * B[0].square().sum()))


def test_the_jacobian_can_be_derived_in_its_points():
    net = nn.Sequential(nn.Linear(2, 4), nn.SiLU(), nn.Linear(4, 2))
    groups = select(net, "all")
    X = torch.randn(3, 2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: jacobian(net, groups, x), X)


def test_a_frozen_layer_is_left_out_unless_it_is_named():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    net[0].requires_grad_(False)
    assert [group.name for group in select(net, "all")] == ["2"]
    groups = select(net, ["0.weight", "0.bias"])
    X = torch.randn(6, 4)
    _, (piece,) = linearise(net, groups, X)
    torch.testing.assert_close(piece.dense(), jacobian(net, groups, X))
    assert not net[0].weight.requires_grad


def test_a_layer_that_does_not_run_is_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    for structure, params in (("kron", "all"), ("full", "last_layer")):
        with pytest.raises(InvalidInputError, match="'idle' took no part"):
            NetLaplace(Idle(), Regression(1.0), structure, params).fit(torch.randn(3, 2), torch.randn(3, 2))


def test_a_last_layer_with_something_after_it_is_refused():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    with pytest.raises(InvalidInputError, match="does not give the network's outputs"):
        NetLaplace(net, Regression(1.0), "full", "last_layer").fit(torch.randn(3, 2), torch.randn(3, 2))


def test_the_batch_has_to_come_first():
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x):
            return self.layer(x.transpose(0, 1)).mean(0)

    with pytest.raises(InvalidInputError, match="the batch has to come first"):
        NetLaplace(Sequence(), Regression(1.0)).fit(torch.randn(3, 5, 2), torch.randn(3, 1))
