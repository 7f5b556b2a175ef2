"""Nothing in `gp` reads or changes a global default of torch, GPyTorch or BoTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DEFAULTS = """
import json, sys
import torch, gpytorch, linear_operator
def defaults():
    from linear_operator import settings
    return {
        "dtype": str(torch.get_default_dtype()),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "grad": torch.is_grad_enabled(),
        "rng": int(torch.get_rng_state().to(torch.int64).sum()),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "max_cholesky_size": settings.max_cholesky_size.value(),
        "cholesky_max_tries": settings.cholesky_max_tries.value(),
        "cg_tolerance": settings.cg_tolerance.value(),
        "max_cg_iterations": settings.max_cg_iterations.value(),
        "max_eager_kernel_size": gpytorch.settings.max_eager_kernel_size.value(),
        "fast": [
            settings.fast_computations.covar_root_decomposition.on(),
            settings.fast_computations.log_prob.on(),
            settings.fast_computations.solves.on(),
        ],
    }
"""

WORK = """
from gp.models.kronecker import KroneckerGP
generator = torch.Generator().manual_seed(0)
def work():
    x = torch.linspace(0, 1, 12).double()
    Y = torch.sin(6 * x)[:, None] * torch.cos(3 * x)
    Y[3, 4] = torch.nan
    model = KroneckerGP([x, x], Y)
    model.fit(n_draws=1, generator=generator)
    X = torch.tensor([[0.21], [0.77]]).double()
    posterior = model.posterior(X)
    posterior.rsample(torch.Size([2]), generator=generator)
    model.draw_paths(2, generator)(X)
    return [*posterior.mean.flatten().tolist(), *posterior.variance.flatten().tolist()]
"""


def run(program):
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_fitting_and_predicting_leave_every_global_default_as_botorch_left_it():
    before, after = run(
        DEFAULTS + "import botorch\nbefore = defaults()\n" + WORK + "work()\nprint(json.dumps([before, defaults()]))"
    )
    assert before == after


@pytest.mark.slow
def test_defaults_that_importing_botorch_changes_do_not_change_a_number():
    # what plain GPyTorch starts from, set again after the import
    plain = """
import botorch
from linear_operator import settings
settings.max_cholesky_size._set_value(3)
settings.cholesky_max_tries._set_value(1)
gpytorch.settings.max_eager_kernel_size._set_value(1)
for switch in ("covar_root_decomposition", "log_prob", "solves"):
    getattr(settings.fast_computations, switch)._set_state(True)
"""
    printed = "\nprint(json.dumps(work()))"
    assert run(DEFAULTS + WORK + printed) == run(DEFAULTS + plain + WORK + printed)
