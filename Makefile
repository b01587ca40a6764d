# `make demo` and `make test` need git, make and Python >= 3.10 with venv; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint check dist wheels clean

demo: .venv/ready
	$(BIN)/mct demo --out demo-out --force

test: .venv/ready
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

# The wheel and the source distribution.
dist: .venv/ready
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

# Try both in empty environments, of every supported Python on the PATH.
wheels: dist
	.ci/wheels dist

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[mct,dev]'
	touch $@

clean:
	rm -rf .venv demo-out build dist *.egg-info
