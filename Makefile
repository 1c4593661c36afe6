# Each command installs what it needs into .venv first, and again only when the requirements change.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
# Stamps: what training needs is installed; what tests and checks need, too; what the site needs.
RUN := .venv/.run
DEVELOP := .venv/.develop
DOCS := .venv/.docs

.PHONY: demo demo-reid demo-both serve serve-both test bench fuzz mutants check docs docs-check clean

demo: $(RUN)  ## draw synthetic pedestrians, train on them, evaluate
	$(BIN)/python -m misc.synthetic --layout cuhk-pedes --output data/synthetic $(DEMO_DATA)
	$(BIN)/python main.py --config config/demo.yaml

demo-reid: $(RUN)  ## the same for re-identification
	$(BIN)/python -m misc.synthetic --layout market1501 --output data/synthetic-reid $(DEMO_REID_DATA)
	$(BIN)/python main.py --config config/demo_reid.yaml

demo-both: $(RUN)  ## one model for sentences and pictures, on people who are described and re-identified
	$(BIN)/python -m misc.synthetic --layout cuhk-pedes market1501 --output data/synthetic-both $(DEMO_BOTH_DATA)
	$(BIN)/python main.py --config config/demo_both.yaml

serve: DEMO := demo
serve-both: DEMO := demo-both
serve serve-both: $(RUN)  ## a web page that searches pictures of drawn strangers with the model of the last demo, or demo-both
	@test -n "$(MODEL)" || { echo "error: runs/ has no finished $(DEMO); run \`make $(DEMO)\` first" >&2; exit 2; }
	$(BIN)/python -m misc.synthetic --layout rstpreid --output data/synthetic $(STRANGERS)
	$(BIN)/python search.py index --checkpoint $(MODEL) --images data/synthetic/RSTPReid/imgs \
		--output $(dir $(MODEL))strangers.index --camera '_c(\d+)_'
	$(BIN)/python search.py serve --index $(dir $(MODEL))strangers.index

test: $(DEVELOP)  ## all tests that need no GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations 5

mutants: $(DEVELOP)  ## 20 minutes of small faults put into the code: at least 90 % must be noticed
	$(BIN)/python -m tests.mutants

check: $(DEVELOP)  ## style, types and calls that let foreign code run
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r *.py model text_utils misc benchmarks

docs: $(DOCS)  ## the documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-check: $(DEVELOP)  ## the documented commands: the short ones run, on drawn stand-ins; `make test` parses all
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.docs_check

bench: $(DEVELOP)  ## the figures of docs/performance.md that a CPU can give, against their bars: 15 minutes; AUTHORS=DIR: a clone of TBPS-CLIP's repository
	$(BIN)/python -m benchmarks.loader --output benchmarks/results/loader.json
	$(BIN)/python -m benchmarks.metrics --output benchmarks/results/metrics.json
	$(BIN)/python -m benchmarks.start --output benchmarks/results/start.json
	$(BIN)/python -m benchmarks.step --output benchmarks/results/step.json $(if $(AUTHORS),--authors "$(AUTHORS)")
	$(BIN)/python -m benchmarks.tables

fuzz: $(DEVELOP)  ## hostile input in bulk: 20 minutes, of which `make test` tries a sample
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(FUZZ)

clean:  ## remove what the other commands made, but for the runs
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build/site data/synthetic data/synthetic-reid data/synthetic-both
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

DEMO_DATA := --train 1600 --val 100 --test 120 --images 3 3 --height 96 128 --difficulty 0.2 --workers 2
DEMO_REID_DATA := --train 400 --test 100 --images 4 6 --height 64 96 --difficulty 0.2 --workers 2
DEMO_BOTH_DATA := --train 800 --val 100 --test 100 --images 4 6 --height 96 128 --difficulty 0.2 --workers 2
# People whom the demo has not seen, and the newest model that it has trained.
STRANGERS := --train 0 --val 0 --test 120 --images 3 3 --height 96 128 --difficulty 0.2 --seed 1
MODEL = $(lastword $(sort $(wildcard $(RUNS_OF_$(DEMO)))))
RUNS_OF_demo := runs/demo-*/checkpoint_best.pt
RUNS_OF_demo-both := runs/demo_both-*/checkpoint_last.pt

.venv/bin/python:
	$(PYTHON) -m venv .venv

$(RUN): requirements.txt requirements-page.txt | .venv/bin/python
	$(INSTALL) -r requirements.txt
	$(INSTALL) --no-deps -r requirements-page.txt
	touch $@

$(DEVELOP): requirements-dev.txt requirements.txt requirements-page.txt | .venv/bin/python
	$(INSTALL) -r requirements-dev.txt
	$(INSTALL) --no-deps -r requirements-page.txt
	touch $@

$(DOCS): requirements-docs.txt | .venv/bin/python
	$(INSTALL) -r requirements-docs.txt
	touch $@
