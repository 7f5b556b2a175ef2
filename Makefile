# Everything runs in .venv, which the first target that needs it makes, but the benchmarks: their peers need other packages
# and live in .venv-bench. Another interpreter: make setup PYTHON=python3.12
PYTHON ?= python3
PY := .venv/bin/python
BENCH_PY := .venv-bench/bin/python
EXTRAS := plot,postgresql,web,integrations,dev

.PHONY: help setup tune test test-all bench bench-setup tutorials screenshots lint clean

help:
	@echo "make setup      build .venv with the tested versions (every target below does it when needed)"
	@echo "make tune       tune the training of a small language model, within four minutes"
	@echo "make test       ruff, mypy and every test that is not slow"
	@echo "make test-all   the same with the slow tests"
	@echo "make lint       ruff and mypy alone"
	@echo "make bench-setup build .venv-bench: the library beside the optimizers that it is compared with"
	@echo "make bench      side-by-side comparisons, one table each (many hours; goes on where it was interrupted)"
	@echo "make tutorials  execute the notebooks at full size and render them as HTML into build/tutorials"
	@echo "make screenshots draw the page of bayesopt serve anew for the README (needs Chromium)"
	@echo "make clean      remove caches and build output; .venv stays"

setup: .venv/.stamp

# $(1): the folder. What the folder holds already is kept.
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "priorwise needs Python 3.11 or newer, and \`$(PYTHON)\` is $$($(PYTHON) --version 2>&1 || true)."; \
	    echo "Name another one: make setup PYTHON=/path/to/python3.12"; exit 1; }
	@$(1)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(1) || { \
	    echo "\`$(PYTHON) -m venv\` failed. Debian and Ubuntu ship it apart: apt-get install python3-venv"; exit 1; }
endef

# torch goes in on its own and first: what follows finds the pinned build in place and pulls no other.
.venv/.stamp: pyproject.toml constraints.txt
	$(call environment,.venv)
	$(PY) -m pip install -c constraints.txt torch
	$(PY) -m pip install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

tune: setup
	$(PY) tutorials/language_model/tune.py

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@echo "mypy reads torch the first time: about a minute without output"
	$(PY) -m mypy

test: lint
	$(PY) -m pytest -m "not slow" --durations=10

test-all: lint
	$(PY) -m pytest -v --durations=20

bench-setup: .venv-bench/.stamp

PEERS := optuna ax-platform smac bayesian-optimization

.venv-bench/.stamp: pyproject.toml benchmarks/constraints.txt
	$(call environment,.venv-bench)
	$(BENCH_PY) -m pip install -c benchmarks/constraints.txt torch
	$(BENCH_PY) -m pip install -c benchmarks/constraints.txt -e '.[pyamg]' 'botorch[pymoo]' $(PEERS) scikit-learn matplotlib lightgbm
	@touch $@

bench: bench-setup setup
	@echo "== benchmarks/postgresql.py"; scripts/with_postgresql.sh $(PY) -u benchmarks/postgresql.py
	@echo "== benchmarks/adapters.py"; $(PY) -u benchmarks/adapters.py   # its engines are in .venv, not in .venv-bench
	@set -e; for table in ask_time engine constrained beliefs budget ablation language_model structured_gp pde \
	    learning_curves solver training mixture approximate_inference gpu; do \
	    echo "== benchmarks/$$table.py"; $(BENCH_PY) -u "benchmarks/$$table.py"; done

tutorials: setup
	$(PY) scripts/render_tutorials.py

screenshots: setup
	$(PY) -m tests.bayesopt.web.screenshots

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find bayesopt gp inference tests tutorials benchmarks -name __pycache__ -type d -exec rm -rf {} + 2>/dev/null || true
