"""Every picture can be drawn of every study, and shows what the trials were."""

import io
import math
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import bayesopt as bo

pytest.importorskip("matplotlib")

from bayesopt import plot

ROOT = Path(__file__).parents[2]

PICTURES = [plot.best_so_far, plot.slices, plot.parallel_coordinates, plot.feasibility, plot.overview]

SPACE = bo.Space({
    "lr": bo.Float(1e-5, 1e-1, log=True),
    "layers": bo.Int(2, 8),
    "batch": bo.Int(16, 512, log=True),
    "optimizer": bo.Choice(["adamw", "sgd", None]),
    "momentum": bo.Float(0.0, 0.99, active_if={"optimizer": "sgd"}),
    "mix": bo.Simplex(["web", "code", "math"], caps={"web": 0.8}),
})


def study_of(outcome, n, space=SPACE, **options):
    """A study of `n` random trials; `outcome` makes what is told, or None for a failure."""
    declared = {"minimize": "loss", "subject_to": [bo.AtMost("memory", 6.0)], "seed": 0, "noise": 0.0} | options
    study = bo.Study(space, strategy=bo.strategies.RandomSearch(), **declared)
    for i in range(n):
        trial = study.ask()
        told = outcome(i, trial.params)
        if told is None:
            study.fail(trial, "broke", cost=1.0)
        else:
            study.tell(trial, told, cost=2.0)
    return study


def usual(i, params):
    if i % 5 == 3:
        return None
    return {"loss": math.log10(params["lr"]) ** 2, "memory": None if i % 7 == 6 else float(params["layers"])}


def named(name):
    return lambda i, params: {name: float(i % 4), "memory": 1.0}


def one_parameter(parameter):
    return bo.Space({"x": parameter})


def flat(n):
    return bo.Space({f"a_parameter_with_a_long_name_{i}": bo.Float(0.0, 1.0) for i in range(n)})


FREE = {"subject_to": []}
CONSTRAINED = bo.Space({"x": bo.Float(0.0, 1.0)}, constraints=[bo.LinearConstraint({"x": 1.0}, upper=0.5)])
UNICODE = bo.Space({"größe": bo.Float(0.0, 1.0), "$x_1$": bo.Int(1, 3), "a b\t%s{}": bo.Choice(["λ", "$", "^_"])})

STUDIES = {
    "no trial": lambda: study_of(usual, 0),
    "one trial": lambda: study_of(usual, 1),
    "two trials": lambda: study_of(usual, 2),
    "a usual study": lambda: study_of(usual, 12, budget=bo.Budget(trials=20, cost=60.0)),
    "a maximum": lambda: study_of(lambda i, p: p["lr"], 8, maximize="gain", minimize=None, **FREE),
    "failures alone": lambda: study_of(lambda i, p: None, 6),
    "nothing feasible": lambda: study_of(lambda i, p: {"loss": i, "memory": 7.0 + i}, 6),
    "nothing measured": lambda: study_of(lambda i, p: {"loss": i, "memory": None}, 6),
    "no constraint": lambda: study_of(lambda i, p: float(i), 6, **FREE),
    "equal values": lambda: study_of(lambda i, p: {"loss": 1.0, "memory": 6.0}, 5),
    "huge values": lambda: study_of(lambda i, p: {"loss": (-1.0) ** i * 1e300, "memory": (-1.0) ** i * 1e300}, 6),
    "one outlier": lambda: study_of(lambda i, p: {"loss": 1e9 if i == 2 else i, "memory": 1.0}, 9),
    "twenty parameters": lambda: study_of(named("loss"), 6, space=flat(20)),
    "names of all kinds": lambda: study_of(
        named("a rather long name of an objective (μs²) $"),
        6,
        space=UNICODE,
        minimize="a rather long name of an objective (μs²) $",
    ),
    "a constant": lambda: study_of(named("loss"), 3, space=bo.Space({"x": bo.Float(0, 1), "c": bo.Choice(["only"])})),
    "fixed shares": lambda: study_of(
        lambda i, p: {"loss": i, "memory": 1.0},
        3,
        space=one_parameter(bo.Simplex(["a", "b"], floors={"a": 0.5, "b": 0.499})),
    ),
    "many options": lambda: study_of(
        named("loss"), 6, space=one_parameter(bo.Choice([f"option {i}" for i in range(40)]))
    ),
    "a forbidden region": lambda: study_of(named("loss"), 6, space=CONSTRAINED),
    "a huge range": lambda: study_of(named("loss"), 6, space=one_parameter(bo.Float(1e-150, 1e150, log=True))),
    "a tiny range": lambda: study_of(named("loss"), 6, space=one_parameter(bo.Float(1.0, 1.000001))),
    "a log range below two": lambda: study_of(named("loss"), 6, space=one_parameter(bo.Float(1.0, 1.5, log=True))),
}


@pytest.fixture(scope="module")
def studies():
    made = {}

    def get(name):
        return made.setdefault(name, STUDIES[name]()) if name not in made else made[name]

    return get


def drawn(figure):
    """Draws the figure, as saving it does, and returns every text that is seen."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), dpi=30)
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("picture", PICTURES[:4], ids=lambda picture: picture.__name__)
def test_every_picture_can_be_drawn_of_every_study(studies, name, picture):
    assert drawn(picture(studies(name)))


@pytest.mark.parametrize("name", ["no trial", "one trial", "a usual study", "failures alone", "twenty parameters"])
def test_the_overview_has_all_four(studies, name):
    texts = "\n".join(drawn(plot.overview(studies(name))))
    for title in ("so far (minimize)", "Constraints over trials", "along", "Every trial through all parameters"):
        assert title in texts


def panel(figure, title):
    return next(ax for ax in figure.axes if ax.get_title(loc="left").startswith(title))


def labelled(ax):
    return {handle.get_label(): handle for handle in ax.get_legend_handles_labels()[0]}


def test_the_curve_is_the_best_feasible_value_so_far():
    losses, memory = [5.0, 4.0, 1.0, 3.0, 3.5], [1.0, 1.0, 9.0, 1.0, 1.0]  # the third is infeasible
    study = study_of(lambda i, p: {"loss": losses[i], "memory": memory[i]}, 5, budget=bo.Budget(trials=8, cost=99.0))
    by_trials, by_cost = plot.best_so_far(study).axes
    for ax, x in ((by_trials, [1, 2, 3, 4, 5]), (by_cost, [2, 4, 6, 8, 10])):
        curve = labelled(ax)["best so far"]
        assert list(curve.get_xdata()) == x
        assert list(curve.get_ydata()) == [5.0, 4.0, 4.0, 3.0, 3.0]
        assert labelled(ax)["infeasible"].get_offsets().tolist() == [[x[2], 1.0]]
    assert [text.get_text() for ax in (by_trials, by_cost) for text in ax.texts] == ["budget 8", "budget 99"]


def test_a_maximum_goes_up():
    study = study_of(lambda i, p: [1.0, 3.0, 2.0][i], 3, maximize="gain", minimize=None, **FREE)
    assert list(labelled(plot.best_so_far(study).axes[0])["best so far"].get_ydata()) == [1.0, 3.0, 3.0]


def test_failed_trials_are_marked_and_lost_ones_are_not():
    study = study_of(usual, 5)  # the fourth fails
    study.abandon(study.ask())
    assert labelled(plot.best_so_far(study).axes[0])["failed"].get_offsets()[:, 0].tolist() == [4]


def test_an_outlier_is_drawn_at_the_edge_and_flattens_nothing(studies):
    ax = plot.best_so_far(studies("one outlier")).axes[0]
    assert ax.get_ylim()[1] < 100
    assert labelled(ax)["off the scale"].get_offsets()[:, 0].tolist() == [3]


def test_the_band_is_what_the_surrogate_predicts(studies):
    from bayesopt.surrogate import fit_surrogate

    study = studies("a usual study")
    figure = plot.slices(study)
    ax = next(ax for ax in figure.axes if ax.get_xlabel().startswith("lr"))
    curve = labelled(ax)["posterior mean"]
    surrogate = fit_surrogate(study.history)
    rows = [study.space.encode(study.best.params | {"lr": lr}) for lr in curve.get_xdata()]
    Z = surrogate.tensor(surrogate.features(np.array(rows)))
    mean = surrogate.objective.predictor.predict(Z).mean[:, 0].numpy()
    # the same formula on the same rows: equal to rounding
    np.testing.assert_allclose(curve.get_ydata(), -(surrogate.offset + surrogate.scale * mean), rtol=1e-9)


def test_the_slices_run_through_the_best_trial(studies):
    study = studies("a usual study")
    figure = plot.slices(study)
    stars = {ax.get_xlabel(): labelled(ax)["the trial itself"].get_offsets()[0] for ax in figure.axes if ax.axison}
    best = study.best
    assert stars["lr"].tolist() == pytest.approx([best.params["lr"], best.values["loss"]])
    assert stars["mix.code"].tolist() == pytest.approx([best.params["mix"]["code"], best.values["loss"]])


def test_a_forbidden_region_and_an_infeasible_one_are_shaded(studies):
    (ax,) = plot.slices(studies("a forbidden region")).axes
    assert "not allowed" in labelled(ax)
    curve = labelled(ax)["posterior mean"]
    assert np.isnan(curve.get_ydata()[curve.get_xdata() > 0.51]).all()
    (ax, *_) = plot.slices(studies("nothing feasible")).axes
    assert "probably infeasible" in labelled(ax)


def test_the_overview_shows_only_the_slices_that_matter_most():
    space = bo.Space({f"x{i}": bo.Float(0.0, 1.0) for i in range(11)})
    study = study_of(lambda i, p: {"loss": 10 * p["x7"], "memory": 1.0}, 12, space=space)
    texts = drawn(plot.overview(study))
    assert any("the 8 of 11 parameters that matter most" in text for text in texts)
    assert texts.count("x7") == 2  # its slice and its axis
    assert sum(text.startswith("x") for text in texts) == 8 + 11


def test_parallel_lines_end_where_the_parameters_are():
    study = study_of(lambda i, p: {"loss": float(i), "memory": 1.0}, 3)
    ax = plot.parallel_coordinates(study).axes[0]
    best = study.best.params
    heights = labelled(ax)["best observed"].get_ydata()
    assert heights[0] == pytest.approx((math.log10(best["lr"]) + 5) / 4)
    assert list(heights[-3:]) == pytest.approx(list(best["mix"].values()))
    assert heights[4] == (plot._INACTIVE_AT if "momentum" not in best else pytest.approx(best["momentum"] / 0.99))


def test_the_constraint_panels_tell_held_from_broken(studies):
    study = study_of(lambda i, p: {"loss": 1.0, "memory": [1.0, 6.0, 6.5, None][i]}, 4)
    figure = plot.feasibility(study)
    marks = labelled(panel(figure, "memory ≤ 6"))
    assert marks["holds"].get_offsets()[:, 0].tolist() == [1, 2]
    assert marks["is broken"].get_offsets()[:, 0].tolist() == [3]
    assert marks["not measured"].get_offsets()[:, 0].tolist() == [4]
    assert panel(figure, "share feasible so far: 2 of 4")
    assert "no outcome is constrained" in drawn(plot.feasibility(studies("no constraint")))


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
