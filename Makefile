# make demo    a lab of real hosts, and the console on it (or, without a terminal, one live migration)
# make test    lint and every test but the long ones, those on real hosts included; needs root
# make faults  the long tests: every fault at every step, hosts that die in every way
# make lint    ruff, mypy, import layers
# make down    end what `make demo` started
PYTHON ?= /usr/bin/python3
VENV := .venv
READY := $(VENV)/.ready

.PHONY: demo test faults lint down install screenshots
.DELETE_ON_ERROR:

demo:
	@lab/check-privileges "make demo"
	@$(MAKE) --no-print-directory install
	@$(VENV)/bin/python -m lab.demo

test:
	@lab/check-privileges "make test"
	@$(MAKE) --no-print-directory lint
	$(VENV)/bin/pytest -m "not long" --numprocesses 5 --dist loadgroup --durations 25

faults: install
	@lab/check-privileges "make faults"
	$(VENV)/bin/pytest -m long --numprocesses 4 --dist loadgroup --durations 25

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

down: install
	@$(VENV)/bin/godwit-lab down --name demo

screenshots: install
	$(VENV)/bin/python screenshots/take.py

install: $(READY)

$(READY): pyproject.toml constraints.txt lab/install-packages
	@lab/install-packages
	@echo "Installing Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[backend,hostagent,lab,dev]'
	@touch $@
