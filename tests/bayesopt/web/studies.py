"""Studies to watch: the usual one with everything in it, one whose every text is an attack, and a long one."""

import math

import numpy as np

import bayesopt as bo

SPACE = bo.Space({
    "lr": bo.Float(1e-5, 1e-1, log=True),
    "batch_size": bo.Int(16, 512, log=True),
    "layers": bo.Int(2, 8),
    "optimizer": bo.Choice(["adamw", "sgd"]),
    "momentum": bo.Float(0.0, 0.99, active_if={"optimizer": "sgd"}),
    "mixture": bo.Simplex(["web", "code", "math"]),
})

ATTACKS = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    '"><svg onload=window.hacked=3>',
    "javascript:window.hacked=4",
    "{{7*7}}${window.hacked=5}",
    "</title></script><script>window.hacked=6</script>",
    "\u202eevil\u202c \u0000 \ud800 end",
)


class Quick:
    """Stands for a strategy with a model, and leaves the record that one leaves, in no time: steps from the best."""

    def suggest(self, history, n, rng):
        best = history.best_observed
        if best is None or history.n_asked < 8:
            return bo.strategies.RandomSearch().suggest(history, n, rng)
        width = 0.5 / (1 + len(history.X) / 8)
        U = np.clip(history.X[best] + width * rng.standard_normal((n, history.space.dim)), 0.0, 1.0)
        return [bo.strategies.Suggestion(history.space.decode(u), {"fits": [1]}) for u in history.space.snap(U)]


def train(params):
    """Stands for a training run: loss and memory of a configuration."""
    lr, batch, layers = math.log10(params["lr"]), math.log2(params["batch_size"]), params["layers"]
    mix = params["mixture"]
    loss = 1.9 + 0.12 * (lr + 3.4) ** 2 + 0.02 * (batch - 6.5) ** 2 + 0.025 * (layers - 6) ** 2
    loss += 0.9 * (mix["code"] - 0.35) ** 2 + 0.7 * (mix["math"] - 0.2) ** 2
    loss += 0.18 + 0.2 * (params["momentum"] - 0.9) ** 2 if params["optimizer"] == "sgd" else 0.0
    return {"val_loss": loss, "memory_gb": 1.6 * layers + params["batch_size"] / 32}


def usual_study(n=32, **options):
    """Constraints, beliefs, a failure where the rate is high, one unmeasured outcome, pending and queued trials."""
    declared = {
        "minimize": "val_loss",
        "subject_to": [bo.AtMost("memory_gb", 16.0)],
        "priors": [
            bo.OptimumPrior({"lr": (3e-4, 3.0), "optimizer": {"adamw": 3, "sgd": 1}}),
            bo.OptimalValuePrior(at_most=1.95, softness=0.03),
        ],
        "budget": bo.Budget(trials=48, cost=1600.0),
        "name": "language model, 10M parameters",
        "seed": 3,
        "noise": 0.0,
        "strategy": Quick(),
    }
    study = bo.Study(SPACE, **(declared | options))
    for i in range(n):
        trial = study.ask()
        told = train(trial.params)
        if trial.params["lr"] > 2e-2 or i == 5:
            study.fail(trial, "loss became nan at step 120\nTraceback: the whole story", cost=6.0)
        else:
            study.tell(trial, told | {"memory_gb": None if i == 8 else told["memory_gb"]}, cost=20.0 + i % 7)
    study.ask()
    study.ask()
    first = dict(study.trials[0].params)
    study.enqueue(first | {"layers": 3})
    return study


def hostile_study(**options):
    """Every text that the user or a program of his chooses is an attack."""
    script, image, svg, link, template, title, odd = ATTACKS
    space = bo.Space({
        script: bo.Float(0.0, 1.0),
        image: bo.Choice([svg, title, "plain"]),
        "__proto__": bo.Float(0.0, 1.0),
        template: bo.Simplex([link, svg]),
    })
    study = bo.Study(
        space,
        minimize=title,
        subject_to=[bo.AtMost(svg, 0.5)],
        priors=[bo.OptimumPrior({script: (0.5, 0.1)})],
        name=image,
        seed=0,
        strategy=bo.strategies.RandomSearch(),
        **options,
    )
    for i in range(8):
        trial = study.ask()
        if i % 4 == 3:
            study.fail(trial, f"{script}\n{image}\n{odd}")
        else:
            study.tell(trial, {title: 1.0 / (i + 1), svg: 0.1 * i, link: 1.0})
    study.ask()
    return study


def long_study(n=5000, **options):
    """So many random trials of eight parameters from elsewhere, written at once; nearly a third is infeasible."""
    space = bo.Space({f"x{k}": bo.Float(0.0, 1.0) for k in range(8)})
    study = bo.Study(space, minimize="loss", subject_to=[bo.AtMost("size", 0.7)], name="long", seed=1, **options)

    def write(transaction):
        for i, x in enumerate(np.random.default_rng(0).random((n, 8)).tolist()):
            params = {f"x{k}": value for k, value in enumerate(x)}
            values = {"loss": sum((value - 0.4) ** 2 for value in x), "size": x[0]}
            transaction.insert(bo.Trial(i, params, "complete", values, cost=1.0, source="external", told_at=float(i)))

    study._store.transact(write)
    return study
