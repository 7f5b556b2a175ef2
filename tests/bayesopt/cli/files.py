"""Files to read: one with every key, and a small one; and what their trials look like."""

from bayesopt.record.trial import Trial

FULL = """\
space:
  lr: {type: float, low: 1e-5, high: 1e-1, log: yes}
  batch_size: {type: int, low: 16, high: 512, log: true}
  optimizer:
    type: choice
    options: [adamw, sgd]
  momentum: {type: float, low: 0, high: .99, active_if: {optimizer: sgd}}
  mixture: {type: simplex, names: [web, code, math], floors: 0.01, caps: {web: 0.8}}
linear_constraints:
  - {coefficients: {batch_size: 1, mixture.web: 100}, upper: 500}
minimize: val_loss
subject_to:
  memory_gb: {at_most: 24}
  accuracy: {at_least: 0.9}
priors:
  lr: {center: 3e-4, spread: 3.0}
  optimizer: {weights: {adamw: 3, sgd: 1}}
  mixture: {center: {web: 0.5, code: 0.3, math: 0.2}, concentration: 10}
budget: {trials: 40, cost: 3600}
storage: runs/tune.db
name: digits
seed: 7
noise: 0.01
workers: 2
time_limit: 600
cost: gpu_seconds
environment: {OMP_NUM_THREADS: 1, CONFIG: "{params}"}
logs: logs
command: python3 train.py --lr {lr} --batch={batch_size} {optimizer} --momentum {momentum} --mix {mixture} {trial}
"""

SMALL = """\
space:
  x: {type: float, low: 0, high: 1}
minimize: loss
budget: {trials: 3}
command: [python3, train.py, "{x}"]
"""

PARAMS = {"lr": 3e-4, "batch_size": 32, "optimizer": "sgd", "momentum": 0.9}
MIX = {"web": 0.5, "code": 0.25, "math": 0.25}


def trial(params, number=7):
    return Trial(number, params)
