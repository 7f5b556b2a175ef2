"""The package of pictures: what it offers, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path
from types import FunctionType

import bayesopt as bo

ROOT = Path(__file__).parents[3]


def test_the_pictures_are_functions_and_no_module_takes_their_name():
    from bayesopt.plot import slices

    assert slices is bo.plot.slices
    assert bo.plot.__all__ == [
        "beliefs",
        "best_so_far",
        "feasibility",
        "feasible_region",
        "importance",
        "overview",
        "parallel_coordinates",
        "slices",
    ]
    assert all(isinstance(getattr(bo.plot, name), FunctionType) for name in bo.plot.__all__)
    modules = {path.stem for path in (ROOT / "bayesopt" / "plot").glob("*.py")}
    assert not modules & set(bo.plot.__all__)


def test_a_figure_touches_no_global_state():
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import matplotlib
# reading the backend's entry would choose one
settings = lambda: {{key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}}
before = settings()
import bayesopt as bo
study = bo.Study(bo.Space({{"x": bo.Float(0, 1)}}), minimize="loss", seed=0)
study.tell(study.ask(), 1.0)
bo.plot.best_so_far(study).savefig({"/dev/null"!r}, format="png")
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_says_what_to_install():
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules["matplotlib"] = None
import bayesopt
try: bayesopt.plot
except ImportError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'priorwise[plot]'" in done.stdout
