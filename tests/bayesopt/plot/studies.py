"""Studies to draw, and what is read off a drawn figure."""

import math
import warnings

import bayesopt as bo

SPACE = bo.Space({
    "lr": bo.Float(1e-5, 1e-1, log=True),
    "layers": bo.Int(2, 8),
    "batch": bo.Int(16, 512, log=True),
    "optimizer": bo.Choice(["adamw", "sgd", None]),
    "momentum": bo.Float(0.0, 0.99, active_if={"optimizer": "sgd"}),
    "mix": bo.Simplex(["web", "code", "math"], caps={"web": 0.8}),
})
SMALL = bo.Space({"x": bo.Float(0.0, 1.0)})
"""Where the study's outcomes are the point: every further parameter is a panel more to draw."""
FREE = {"subject_to": []}


def study_of(outcome, n, space=SMALL, cost=None, **options):
    """A study of `n` random trials, each of which cost `cost`; `outcome` makes what is told, or None for a failure."""
    declared = {"minimize": "loss", "subject_to": [bo.AtMost("memory", 6.0)], "seed": 0, "noise": 0.0} | options
    study = bo.Study(space, strategy=bo.strategies.RandomSearch(), **declared)
    for i in range(n):
        trial = study.ask()
        told = outcome(i, trial.params)
        if told is None:
            study.fail(trial, "broke", cost=cost)
        else:
            study.tell(trial, told, cost=cost)
    return study


def usual(i, params):
    if i % 5 == 3:
        return None
    return {"loss": math.log10(params["lr"]) ** 2, "memory": None if i % 7 == 6 else float(params["layers"])}


def usual_study():
    return study_of(usual, 12, space=SPACE, cost=2.0, budget=bo.Budget(trials=20, cost=60.0))


def drawn(figure, *, laid_out=True):
    """Draws the figure, as saving it does but once instead of twice, and returns every text that is seen.

    Finding room for the texts is more than half of the work; `laid_out=False` leaves it out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    figure.set_dpi(30)
    if not laid_out:
        figure.set_layout_engine("none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def panel(figure, title):
    return next(ax for ax in figure.axes if ax.get_title(loc="left").startswith(title))


def labelled(ax):
    return {handle.get_label(): handle for handle in ax.get_legend_handles_labels()[0]}
