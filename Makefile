# Everything goes through one virtual environment, made on first use. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test check bench docs accuracy clean

run: $(BIN)/capgrid
	$(BIN)/capgrid run
	@echo
	@echo "How many sequences before it runs out of memory? (Llama 3.1 8B, chat)"
	@$(BIN)/capgrid ask max_batch --model llama-3.1-8b --workload chat --set limit=10
	@echo
	@echo "Next:"
	@echo "  $(BIN)/capgrid ask                                                       every question"
	@echo "  $(BIN)/capgrid ask cheapest_for_slo --model llama-3.1-70b --workload chat   the cheapest plan that is fast enough"
	@echo "  $(BIN)/capgrid explain batch_max --model llama-3.1-8b --accelerator h100    where a number comes from"

test: $(VENV)/.dev
	$(BIN)/pytest -n auto

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench_run.py
	$(BIN)/python benchmarks/bench_configs.py

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

# Estimates beside measurements: tables, a picture, what each term is worth; of ../shared/measurements where they are.
accuracy: $(VENV)/.report
	$(BIN)/python docs/accuracy.py

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/capgrid: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/.report: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[report]'
	@touch $@
