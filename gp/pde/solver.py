"""Gaussian processes that solve differential equations: a spectral prior, then one least squares problem.

Alphabet. d: dimensions, 1 or 2. n: points of the grid along each axis. u: the solution; f: the source. r: functions of
the basis, Z (flattened z) their coefficients, a priori independent. c: bandwidth of a spectral component, in
half-waves a domain. J: derivative of the equations with respect to z, each row over its standard deviation.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, overload

import torch
from torch import Tensor

from gp.errors import InvalidDataError
from gp.kernels.spectral_mixture import SpectralMixtureKernel
from gp.pde.basis import AxisBasis, Basis, JoinedBasis
from gp.pde.equations import Data, Equations, Side, grid_points, spread
from gp.pde.frequencies import peaks
from gp.pde.least_squares import Preconditioner, solve_conjugate, solve_dense
from gp.pde.problem import PDEProblem
from gp.pde.published import PublishedSolution, solve_published
from gp.pde.solution import Belief, PDESolution, Setting, believe, believe_within

_BANDWIDTHS: Final = {1: (0.3, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0), 2: (0.5, 1.0, 2.0)}
"""Bandwidths c tried, by dimensions: too small a one cannot bend, too large a one loosens the interior from the
boundary, and the residual tells. On a plane the functions multiply, and a wide component has too many of them."""
_SPECTRA: Final = {1: ("gaussian", "student"), 2: ("gaussian",)}
"""Spectra tried, by dimensions; 'student' is for solutions with kinks, whose functions a plane has no room for."""
_CUT: Final = {1: 1e-15, 2: 1e-13}
"""Least variance of a function of the basis, relative to the largest; on a plane it is paid for once an axis."""
_MOST: Final = {1: 4096, 2: 64}
"""Functions along each axis at most; on a plane their products make a dense matrix of 4096 x 4096."""
_NOISY_CUT: Final = 1e-8
"""The same where data are noisy: what varies less is below any noise that matters."""
_NOISY_MOST: Final = {1: 400, 2: 32}
"""Functions along an axis at most where data are noisy, of all components: their matrix is factored dozens of times."""
_UPDATES_A_ROUND: Final = 3
"""Of the prior variances, after each linearisation but the first, at which they settle."""
_STILL: Final = 1e-4
"""Relative change of noisy coefficients that is below any standard deviation that matters."""
_LEAST_FREE: Final = 2.0
"""Bandwidth at least of the component about frequency 0 where data are noisy: it stands for whatever the noise hides,
and a narrow one would be sure that this is a straight line."""
_HALVINGS: Final = 8
"""Of a step that makes the fit worse."""
_BOUNDARY_WEIGHT: Final = 100.0
"""Weight of an exact boundary value relative to an exact value of the source, both over their size."""
_EXACT: Final = 1e-6
"""Standard deviation of an exact value beside noisy ones, relative to its size: their squares still fit one float."""
_ROUNDS: Final = 12
"""Linearisations at most."""
_SETTLED: Final = 1e-12
"""Relative change of the coefficients at which they stand still."""
_STALLED: Final = 1e-6
"""Relative change below which one that no longer halves is rounding."""
_LINES: Final = 9
"""Lines of the source along an axis whose spectra are averaged."""


@dataclass(frozen=True)
class _Solved:
    """A solution at one setting."""

    bases: Sequence[Basis]
    Z: Tensor
    score: float
    on_grid: Tensor
    belief: Callable[[], Belief]


class GPPDESolver:
    """Solves a `PDEProblem` of one or two dimensions, and says how sure the solution is.

    Frequencies of the prior are those of the source and the boundary values. The solution is the posterior mean of a
    process with that spectrum given the equation on a grid and the boundary values: linear least squares, or a few of
    them in turn where there is a reaction (Gauss-Newton). Bandwidth and shape of the spectrum are chosen without the
    exact solution: by the residual half way between the points of the grid, or, where data are noisy, by the evidence.

    A small residual alone does not prove a small error, as one function may solve the equation away from the boundary
    and another at it: look at `PDESolution.disagreement` too, which is how far the two best settings are apart.

    On a box with exact data Chebyshev collocation (Chebfun) is faster and has more digits: reach for a process where
    data are noisy, where uncertainty counts, or where frequencies are high and few.

    References: Fang et al. 2024, "Solving High Frequency and Multi-Scale PDEs with Gaussian Processes", for spectral
    mixtures as priors of a solution, whose objective is `gp.pde.published`; Cockayne et al. 2016, "Probabilistic
    Numerical Methods for PDE-constrained Bayesian Inverse Problems", for the closed form.

    Example:
        >>> problem = PDEProblem(
        ...     domain=[(0.0, 1.0)],
        ...     terms={(2,): 1.0},
        ...     source=lambda X: -400.0 * torch.sin(20.0 * X[:, 0]),
        ...     boundary=lambda X: torch.sin(20.0 * X[:, 0]),
        ... )
        >>> solution = GPPDESolver(problem, n=100).solve()
        >>> X = torch.rand(50, 1, dtype=torch.float64)
        >>> bool((solution.mean(X) - torch.sin(20.0 * X[:, 0])).abs().max() < 1e-6)
        True
    """

    def __init__(
        self,
        problem: PDEProblem,
        *,
        n: int = 400,
        frequencies: Sequence[Sequence[float]] | None = None,
        bandwidths: Sequence[float] | None = None,
        spectra: Sequence[str] | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        """Evaluate the problem's fields on the grid.

        Args:
            problem: What to solve.
            n: Points along each axis, at least 8; some four a period of the fastest oscillation.
            frequencies: For each axis those of the prior, in cycles a unit of x; None to read them off the data.
            bandwidths: Those to choose from, in half-waves a domain; None for a range.
            spectra: Those to choose from, of 'gaussian' and 'student'; None for both in one dimension.
            dtype: Of the computation; single precision leaves about three digits.
            device: Where it runs.

        Raises:
            InvalidDataError: If an argument, or a value of the source or the boundary, cannot be used.
        """
        if n < 8:
            raise InvalidDataError(f"n: expected at least 8 points along an axis, got {n}.")
        if bandwidths is not None and not (bandwidths and all(c > 0 for c in bandwidths)):
            raise InvalidDataError(f"bandwidths: expected positive numbers, got {bandwidths}.")
        if frequencies is not None and not (len(frequencies) == problem.dims and all(map(len, frequencies))):
            raise InvalidDataError(f"frequencies: expected some for each of {problem.dims} axes, got {frequencies}.")
        self.problem = problem
        self._bandwidths = _BANDWIDTHS[problem.dims] if bandwidths is None else tuple(bandwidths)
        self._spectra = _SPECTRA[problem.dims] if spectra is None else tuple(spectra)
        self._axes = [torch.linspace(low, high, n, dtype=dtype, device=device) for low, high in problem.domain]
        self._data = Data(self._source(self._axes), self._sides())
        self.frequencies = (
            self._found() if frequencies is None else [self._axes[0].new_tensor(mu) for mu in frequencies]
        )
        """Of the prior along each axis, in cycles a unit of x."""
        self._source_size, self._size = self._sizes()

    @overload
    def solve(self, *, method: Literal["least_squares"] = "least_squares") -> PDESolution: ...

    @overload
    def solve(
        self, *, method: Literal["gphm"], highest: float | None = None, spectrum: str = "student", seconds: float = 60.0
    ) -> PublishedSolution: ...

    def solve(
        self,
        *,
        method: Literal["least_squares", "gphm"] = "least_squares",
        highest: float | None = None,
        spectrum: str = "student",
        seconds: float = 60.0,
    ) -> PDESolution | PublishedSolution:
        """Solve the equation.

        Args:
            method: 'least_squares' for the posterior mean at every setting of the prior, of which that is kept which
                the data speak for; 'gphm' for the published objective and Adam, for comparison: it needs some 1e5 to
                1e6 steps. What follows is for 'gphm' alone.
            highest: Highest frequency that it starts from, in cycles a unit of x; None for the highest one found.
            spectrum: 'gaussian' or 'student'.
            seconds: Processor time to spend.

        Returns:
            The solution; by 'gphm' where the optimiser is when the time is over.

        Raises:
            InvalidDataError: If the method is neither.
        """
        if method == "least_squares":
            return self._solve()
        if method != "gphm":
            raise InvalidDataError(f"method: expected 'least_squares' or 'gphm', got {method!r}.")
        if highest is None:
            highest = max(float(mu.max()) for mu in self.frequencies)
        return solve_published(
            self.problem, self._data, self._axes, highest=highest, spectrum=spectrum, seconds=seconds
        )

    def _solve(self) -> PDESolution:
        began = time.process_time()
        between = None if self.problem.noisy else self._between()
        tried = []
        for spectrum in self._spectra:
            for c in self._bandwidths:
                if between is None:
                    solved = self._with_noise(self._joined_bases(spectrum, c))
                else:
                    solved = self._exactly(self._bases(spectrum, c), between)
                tried.append((Setting(spectrum, c, solved.score), solved))
        tried.sort(key=lambda each: each[0].score)
        _, best = tried[0]
        return PDESolution(
            best.bases,
            best.Z,
            best.belief,
            settings=tuple(setting for setting, _ in tried),
            disagreement=_disagreement([solved.on_grid for _, solved in tried[:2]]),
            cpu_seconds=time.process_time() - began,
        )

    # -- data -----------------------------------------------------------------------------------------------------

    def _source(self, axes: Sequence[Tensor]) -> Tensor:
        X = grid_points(axes)
        return self.problem.checked("source", self.problem.source(X), len(X)).reshape([len(axis) for axis in axes])

    def _sides(self) -> tuple[Side, ...]:
        sides = []
        for axis in range(self.problem.dims):
            for end in (0, -1):
                axes = list(self._axes)
                axes[axis] = axes[axis][[end]]
                X = grid_points(axes)
                sides.append(Side(axis, end, self.problem.checked("boundary", self.problem.boundary(X), len(X))))
        return tuple(sides)

    def _between(self) -> Data:
        return Data(self._source([0.5 * (axis[1:] + axis[:-1]) for axis in self._axes]), self._data.sides)

    def _found(self) -> list[Tensor]:
        """Frequencies that the source and the boundary show along each axis."""
        found = []
        largest = max(float(side.values.abs().max()) for side in self._data.sides)
        for axis, grid in enumerate(self._axes):
            lines = self._data.source.movedim(axis, -1).reshape(-1, len(grid))
            at = torch.linspace(0, len(lines) - 1, _LINES, device=grid.device).round().long().unique()
            seen = [(lines[at], self.problem.source_sd)]
            for side in self._data.sides:
                # a side that is 0 but for rounding has the spectrum of rounding
                if side.axis != axis and float(side.values.abs().max()) > 1e-9 * largest:
                    seen.append((side.values[None], self.problem.boundary_sd))
            found.append(peaks(seen, float(grid[1] - grid[0]), self.problem.dims))
        return found

    def _sizes(self) -> tuple[float, float]:
        """Sizes of the source and of the solution, so that equations of any units can be weighed."""
        largest_side = max(float(side.values.abs().max()) for side in self._data.sides)
        largest_source = float(self._data.source.abs().max())
        rates = [
            2.0 * math.pi * (float(mu[mu > 0][0]) if bool((mu > 0).any()) else 0.5 / (high - low))
            for mu, (low, high) in zip(self.frequencies, self.problem.domain, strict=True)
        ]
        gain = max(
            abs(c) * math.prod(rate**order for rate, order in zip(rates, orders, strict=True))
            for orders, c in self.problem.terms.items()
        )
        size = max(largest_side, largest_source / gain) or 1.0
        return largest_source or gain * size, size

    def _bases(self, spectrum: str, c: float) -> list[AxisBasis]:
        dims = self.problem.dims
        return [
            AxisBasis(self._kernel(axis, mu, spectrum, c), self._axes[axis], _CUT[dims], _MOST[dims])
            for axis, mu in enumerate(self.frequencies)
        ]

    def _joined_bases(self, spectrum: str, c: float) -> list[JoinedBasis]:
        """A basis of each component for itself."""
        bases = []
        for axis, mu in enumerate(self.frequencies):
            most = max(2, _NOISY_MOST[self.problem.dims] // len(mu))
            kernels = [
                self._kernel(axis, one, spectrum, c if bool(one) else max(c, _LEAST_FREE)) for one in mu.split(1)
            ]
            bases.append(JoinedBasis([AxisBasis(kernel, self._axes[axis], _NOISY_CUT, most) for kernel in kernels]))
        return bases

    def _kernel(self, axis: int, mu: Tensor, spectrum: str, c: float) -> SpectralMixtureKernel:
        low, high = self.problem.domain[axis]
        kernel = SpectralMixtureKernel(len(mu), spectrum=spectrum).to(mu).requires_grad_(False)
        kernel.frequencies = mu
        # with c = 1 an envelope falls to e^-2 (Gaussian) or 0.52 (Student) across the domain
        kernel.bandwidths = mu.new_tensor(c / (math.pi * (high - low)) * (1.0 if spectrum == "gaussian" else 0.5))
        return kernel

    # -- solving --------------------------------------------------------------------------------------------------

    def _exactly(self, bases: list[AxisBasis], between: Data) -> _Solved:
        """The shortest coefficients of least residual, and what they leave half way between the points."""
        sds = self._source_size, self._size / _BOUNDARY_WEIGHT
        equations = Equations.on_grid(self.problem, self._data, bases, sds)
        Z = torch.zeros([basis.size for basis in bases], dtype=self._axes[0].dtype, device=self._axes[0].device)
        preconditioner, change = None, math.inf
        for step in range(_ROUNDS):
            slope, b = equations.residuals(Z)
            if self.problem.dims == 1:
                moved = solve_dense(equations.jacobian(slope), torch.cat([part.flatten() for part in b]))
            else:
                # a slope that has hardly changed makes as good a preconditioner
                if preconditioner is None or (self.problem.reaction is not None and step < 3):
                    preconditioner = Preconditioner(equations.gram(slope))
                moved = solve_conjugate(equations, slope, b, preconditioner)
            Z = Z + moved
            before, change = change, float(moved.norm() / Z.norm().clamp_min(1e-300))
            linear = self.problem.reaction is None
            if change < _SETTLED or (change < _STALLED and change > 0.5 * before) or (linear and step == 2):
                break
        _, left = Equations.on_grid(self.problem, between, bases, sds, shift=0.5).residuals(Z)
        rms = [float(part.square().mean().sqrt()) for part in left]
        score = rms[0] + max(rms[1:]) / _BOUNDARY_WEIGHT
        return _Solved(bases, Z, score, spread(equations.values, Z), partial(believe_within, equations, Z, score))

    def _with_noise(self, bases: list[JoinedBasis]) -> _Solved:
        """The posterior mean at the prior variances of greatest evidence, and minus that evidence."""
        sds = (
            self.problem.source_sd or _EXACT * self._source_size,
            self.problem.boundary_sd or _EXACT * self._size,
        )
        equations = Equations.on_grid(self.problem, self._data, bases, sds)
        groups = bases[0].groups
        if len(bases) == 2:
            n_second = int(bases[1].groups.max()) + 1
            groups = (n_second * groups[:, None] + bases[1].groups).flatten()
        Z = torch.zeros([basis.size for basis in bases], dtype=self._axes[0].dtype, device=self._axes[0].device)
        belief = believe(equations, Z, groups, torch.full_like(Z.flatten(), self._size**2))
        for _ in range(_ROUNDS):
            before = Z
            Z = _towards(equations, Z, belief)
            change = float((Z - before).norm() / Z.norm().clamp_min(1e-300))
            if self.problem.reaction is None or change < _STILL:
                break
            belief = believe(equations, Z, groups, belief.variances, _UPDATES_A_ROUND)
        return _Solved(bases, Z, -belief.evidence, spread(equations.values, Z), lambda: belief)


def _towards(equations: Equations, Z: Tensor, belief: Belief) -> Tensor:
    """The linearised problem's solution, or as much of the way there as does not make the true fit worse."""
    if equations.problem.reaction is None:
        return belief.mean

    def misfit(at: Tensor) -> float:
        left = sum(float(part.square().sum()) for part in equations.residuals(at)[1])
        return left + float((at.flatten().square() / belief.variances).sum())

    here, step = misfit(Z), belief.mean - Z
    for _ in range(_HALVINGS):
        if misfit(Z + step) <= here:
            return Z + step
        step = 0.5 * step
    return Z


def _disagreement(solutions: Sequence[Tensor]) -> float:
    """Root mean square difference of two solutions on the grid, relative to the first."""
    if len(solutions) < 2:
        return math.nan
    first, second = solutions
    return float((first - second).norm() / first.norm().clamp_min(1e-300))
