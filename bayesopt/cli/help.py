"""What `bayesopt tune --help` says below its options."""

from typing import Final

EXAMPLE: Final = """\
space:
  lr: {type: float, low: 1e-5, high: 1e-1, log: true}
  batch_size: {type: int, low: 16, high: 512, log: true}
  optimizer: {type: choice, options: [adamw, sgd]}             # ordered: true, where the order means something
  momentum: {type: float, low: 0, high: 0.99, active_if: {optimizer: sgd}}
  mixture: {type: simplex, names: [web, code, math], floors: 0.05, caps: {web: 0.8}}
linear_constraints:                                            # what must not be tried
  - {coefficients: {batch_size: 1, mixture.web: 100}, upper: 500}
minimize: val_loss                                             # or maximize
subject_to:                                                    # outcomes, known only after a trial
  memory_gb: {at_most: 24}                                     # or at_least
priors:                                                        # where you believe the best is
  lr: {center: 3e-4, spread: 3.0}                              # with log: give or take a factor of 3
  optimizer: {weights: {adamw: 3, sgd: 1}}
  mixture: {center: {web: 0.5, code: 0.3, math: 0.2}, concentration: 10}
optimal_value: {at_most: 2.1, softness: 0.05}                  # what you believe can be reached; or mean and sd
preferences:                                                   # what you believe to be better than what
  softness: 0.05                                               # by how much of the objective you may err
  pairs:
    - better: {lr: 3e-4, batch_size: 64, optimizer: adamw, mixture: {web: 0.5, code: 0.3, math: 0.2}}
      worse: {lr: 1e-1, batch_size: 64, optimizer: adamw, mixture: {web: 0.5, code: 0.3, math: 0.2}}
enqueue:                                                       # what a new study tries first
  - {lr: 3e-4, batch_size: 64, optimizer: adamw, mixture: {web: 0.5, code: 0.3, math: 0.2}}
budget: {trials: 40, cost: 3600}                               # one of them will do
command: >-
  python3 train.py --lr {lr} --batch-size {batch_size} --optimizer {optimizer} --momentum {momentum} --mix {mixture}

# From here on everything has a default.
environment: {OMP_NUM_THREADS: 1}                              # placeholders work here too
time_limit: 600                                                # seconds; then the command is ended, and the trial fails
cost: seconds                                                  # or the name of an outcome that is charged
workers: 1                                                     # trials at the same time
stop_early: false                                              # true: lines with "step" and the objective are a curve
storage: tune.db                                               # or postgresql://user:secret@host/database
name: study                                                    # its name within the storage
logs: tune-logs                                                # one log file a trial
folder: .                                                      # where the command runs; paths start at this file
seed: 0
noise: 0.02                                                    # sd of the objective; 0: deterministic; default: learned
"""
"""A YAML file with everything that may stand in one."""

TUNE_HELP: Final = """\
The command runs once a trial, without a shell, and prints its outcomes as a JSON object on the last line:

  {"val_loss": 2.31, "memory_gb": 18.2}

Its placeholders: {lr} is a parameter, {mixture.web} a share, {mixture} all shares as JSON, {params} everything as
JSON, {trial} the trial's number; {{ and }} are braces. PRIORWISE_TRIAL and PRIORWISE_PARAMS are set, too. An
argument with an inactive parameter is left out, together with a bare --option before it.

The first Ctrl-C lets running trials finish, the second ends them; the same command goes on from there.

A file with everything:

"""
