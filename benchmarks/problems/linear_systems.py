"""Sequences of linear systems for solvers that tune themselves: a heat equation, and families with one varying number.

Alphabet. nx: cells a side; n: unknowns. c: diffusion coefficient. dt: time step. context: what a family varies.
"""

import csv
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, diags_array, eye_array, kron

FloatArray = NDArray[np.float64]

TABLE = Path(os.environ.get("BAYESOPT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "solver"
"""Folder of the measured iteration counts; BAYESOPT_DATA names another one."""
OMEGAS = np.linspace(1.0, 1.95, 20)
"""The columns of that table."""


def measured_counts() -> tuple[FloatArray, FloatArray] | None:
    """Contexts, `T`, and iteration counts, `T x 20`, of the published experiment; None without the file."""
    file = TABLE / "ssor_heat_25.csv.gz"
    if not file.exists():
        return None
    with gzip.open(file, "rt") as lines:
        rows = np.array(list(csv.reader(lines))[1:], dtype=np.float64)
    return rows[:, 1], rows[:, 2:]


def published_path(t: float) -> float:
    """The diffusion coefficient of the published experiment."""
    return float(max(0.1 * np.sin(2 * np.pi * t), -10.0 * np.sin(2 * np.pi * t)))


def other_path(t: float) -> float:
    """Another one: bursts on a slow rise, never twice the same."""
    return float(0.02 + 0.6 * t * np.sin(np.pi * 1.7 * t) ** 2 + 4.0 * np.exp(-((t - 2.3) ** 2) / 0.3))


class Heat:
    """`u_t = c(t) Laplace(u) + f` on the unit square by Crank-Nicolson, with a bump of heat that goes round."""

    def __init__(self, nx: int, dt: float, path: Callable[[float], float]) -> None:
        """A plate at time 0."""
        self.nx, self.dt, self.path = nx, dt, path
        x = np.arange(1, nx) / nx
        self._X, self._Y = (part.ravel() for part in np.meshgrid(x, x, indexing="ij"))
        second = diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(nx - 1, nx - 1)) * nx**2
        identity = eye_array(nx - 1)
        self._laplace = csc_array(kron(second, identity) + kron(identity, second))
        self.u = _bump(np.hypot(self._X - 0.5, self._Y - 0.5) / 0.25)
        self.step = 0

    def system(self) -> tuple[csc_array, FloatArray, float]:
        """Matrix, right-hand side and coefficient of the next step; a coefficient of 0 has the identity as matrix."""
        t = (self.step + 0.5) * self.dt
        c = self.path(t)
        angle = 16.0 * np.pi * t
        distance = np.hypot(self._X - 0.5 - 0.25 * np.cos(angle), self._Y - 0.5 - 0.25 * np.sin(angle))
        diffusion = (0.5 * self.dt * c) * self._laplace
        A = csc_array(eye_array(len(self.u)) - diffusion)
        return A, self.u + diffusion @ self.u + self.dt * 32.0 * _bump(8.0 * distance), c

    def advance(self, u: FloatArray) -> None:
        """Take a solution as the next state."""
        self.u = u
        self.step += 1


def _bump(r: FloatArray) -> FloatArray:
    inside = np.maximum(1.0 - r**2, 1e-12)
    return np.where(r < 1, np.exp(1.0 - 1.0 / inside), 0.0)


def convection(context: float, rng: np.random.Generator, nx: int = 32) -> csc_array:
    """Diffusion with a wind of any direction; 10 to the context is the wind's strength."""
    angle, h = rng.uniform(0, 2 * np.pi), 1.0 / nx
    wind = 10.0**context * np.array([np.cos(angle), np.sin(angle)])
    one = [diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(nx - 1, nx - 1)) for _ in wind]
    for i, w in enumerate(wind):  # upwind, so that A stays an M-matrix
        flow = [-abs(w) * h, abs(w) * h]
        one[i] = one[i] + diags_array(flow, offsets=[-1 if w > 0 else 1, 0], shape=(nx - 1, nx - 1))
    identity = eye_array(nx - 1)
    return csc_array(kron(one[0], identity) + kron(identity, one[1]))


def anisotropic(context: float, rng: np.random.Generator, nx: int = 32) -> csc_array:
    """Diffusion that is 10 to the context times as strong along one axis."""
    second = diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(nx - 1, nx - 1))
    identity = eye_array(nx - 1)
    return csc_array(10.0**context * kron(second, identity) + kron(identity, second))


def jumps(context: float, rng: np.random.Generator, nx: int = 32) -> csc_array:
    """Diffusion through blocks of two materials, one 10 to the context times as conductive."""
    coarse = np.where(rng.random((8, 8)) < 0.5, 1.0, 10.0**context)
    k = np.kron(coarse, np.ones((nx // 8, nx // 8)))
    n = nx * nx
    number = np.arange(n).reshape(nx, nx)
    rows, columns, values = [], [], []
    for a, b, ka, kb in (
        (number[1:], number[:-1], k[1:], k[:-1]),
        (number[:, 1:], number[:, :-1], k[:, 1:], k[:, :-1]),
    ):
        rows.append(a.ravel())
        columns.append(b.ravel())
        values.append((2.0 * ka * kb / (ka + kb)).ravel())
    off = csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n))
    off = off + off.T
    edge = np.zeros((nx, nx))
    edge[0] = edge[-1] = 1.0
    edge[:, [0, -1]] += 1.0
    return csc_array(diags_array(off.sum(axis=1) + 2.0 * (edge * k).ravel()) - off)


def shifted(context: float, rng: np.random.Generator, nx: int = 32) -> csc_array:
    """The Laplacian plus 10 to the context."""
    A = anisotropic(0.0, rng, nx)
    return csc_array(A + 10.0**context * eye_array(A.shape[0]))
