# `make demo` and `make test` need git, make and Python >= 3.10 with venv; everything else goes into .venv.
PYTHON ?= python3
# Tests start some hundred processes, which would otherwise compile the packages one by one.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin

.PHONY: demo test lint check reference docs dist wheels clean

demo: .venv/ready
	$(BIN)/mct demo --out demo-out --force

# COVERAGE=1 measures which lines and branches of each package the tests run; `.venv/bin/coverage report` lists files.
test: .venv/ready
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist worksteal $(if $(COVERAGE),--cov --cov-report=)
ifdef COVERAGE
	@echo "Covered, lines and branches:"
	@for package in trajfmt mct cli; do \
	  printf '  %-8s %s%%\n' $$package "$$($(BIN)/coverage report --format=total --include="$$package/*")"; \
	done
	@printf '  %-8s %s%%\n' all "$$($(BIN)/coverage report --format=total)"
endif

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

# The pages that are generated from the commands' help, and from the imports between folders.
reference: .venv/ready
	$(BIN)/python docs/commands.py > docs/commands.md
	$(BIN)/python docs/commands.py traj > docs/man/traj.1
	$(BIN)/python docs/commands.py mct > docs/man/mct.1
	$(BIN)/python docs/architecture.py --write

# The documentation as a web site, in site/. Every warning is an error.
docs: .venv/ready
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html -c docs/site . site

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
	rm -rf .venv demo-out site build dist *.egg-info
