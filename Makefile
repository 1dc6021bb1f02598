# Short names for what contributors do often; `make` lists them.

PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))

.DEFAULT_GOAL := help
.PHONY: help setup app check format test slow bench chaos models paper fuzz load sbom audit readme screenshots \
        changes container container-lint

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: ## a virtual environment in .venv with all that development needs
	python3 -m venv .venv
	.venv/bin/pip install -r requirements-dev.txt

app: ## the explorer on http://localhost:8501
	$(PYTHON) -m streamlit run app/main.py

check: container-lint ## all that .ci/run checks: format, lint, types, Dockerfile, fast tests
	$(BIN)ruff format --check
	$(BIN)ruff check
	$(BIN)pyright
	$(PYTHON) -m pytest -n auto --dist loadfile

format: ## format the code and fix what can be fixed
	$(BIN)ruff format
	$(BIN)ruff check --fix

test: ## the fast tests
	$(PYTHON) -m pytest -n auto --dist loadfile

slow: ## the slow tests
	$(PYTHON) -m pytest -m slow

bench: ## the speed of PGD and AutoAttack on this machine, beside libraries (AUTO="--checkpoint NAME --images 1000": an hour)
	$(PYTHON) -m benchmarks.attacks
	$(PYTHON) -m benchmarks.ceiling
	$(PYTHON) -m benchmarks.auto $(AUTO)

chaos: ## kill -9 at 100 random moments in a sweep, a training, the store and a download (ARGS="--kills 20")
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.chaos $(ARGS)

models: ## train and sweep the built-in checkpoints where that is not done yet (hours; resumable)
	sh runs/queue.sh

paper: ## the paper's claims on every family whose images are here (ARGS="--n 500 --unofficial")
	$(PYTHON) -m engine paper $(ARGS)

fuzz: ## 10,000 damaged inputs for every parser (five minutes on one core; ARGS="--cases 1000 --jobs 1")
	$(PYTHON) -m benchmarks.fuzz $(ARGS)

load: ## thirty visitors on one real server (on an idle machine; ARGS="--small")
	$(PYTHON) -m benchmarks.load $(ARGS)

changes: ## memory over a thousand changes of controls, and idle afterwards (on an idle machine; ARGS="--changes 60")
	$(PYTHON) -m benchmarks.changes $(ARGS)

sbom: ## what is installed, as CycloneDX JSON on standard output
	$(PYTHON) -m docs.sbom

audit: ## known weaknesses of the pinned packages (asks a network service, so CI does not); fails where it cannot ask
	$(BIN)pip-audit --strict --requirement requirements.txt --no-deps

readme: ## the README's tables, from the checkpoints' cards and findings
	$(PYTHON) -m docs.readme

screenshots: ## the pictures in docs/, from the running app
	$(PYTHON) -m docs.screenshots

container: ## the Dockerfile built and started without a Docker engine (as root; needs buildah and mmdebstrap)
	$(PYTHON) -m benchmarks.container $(ARGS)

container-lint: ## hadolint on the Dockerfile
	$(BIN)hadolint Dockerfile
