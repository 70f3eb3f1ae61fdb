# Every target works on a fresh machine with Python 3.10 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# Engines that must not be missing: names in tests/integration/labs.py, or all.
REQUIRE ?=
# Processes that share the tests; 0 runs them in pytest's own process.
WORKERS ?= auto
# Further arguments: make test ARGS="-k podman"
ARGS ?=
# Another checkout, for make bench.
AGAINST ?=

.PHONY: demo test lint fuzz determinism bench docs engines clean

demo: $(INSTALLED)  ## Compose an image with the python backend from generated source images, and request an inference
	tests/engines.sh demo
	$(BIN)/python -m tests.demo

test: $(INSTALLED)  ## Run all tests; those of missing engines are skipped with the reason
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder \
		$(foreach engine,$(REQUIRE),--require-engine=$(engine)) $(ARGS)

lint: $(INSTALLED)  ## Check style, types, spelling, unused code and generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/vulture
	$(BIN)/python docs/generate.py --check

fuzz: $(INSTALLED)  ## Parsers on 100,000 mutated inputs each; ARGS="--cases=1000 tar" for fewer
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(INSTALLED)  ## Measure, as ratios in one run; AGAINST=DIR: compare this checkout with the one in DIR
	$(BIN)/python -m $(if $(AGAINST),benchmarks.checkouts $(AGAINST),benchmarks) $(ARGS)

determinism: $(INSTALLED)  ## Compress a million times, and compare
	TRITONBUILD_COMPRESSIONS=1000000 $(BIN)/python -m pytest tests/layers/test_compression.py

docs: $(INSTALLED)  ## Write the generated pages
	$(BIN)/python docs/generate.py

engines:  ## Install every engine that the tests use (Debian, as root)
	tests/engines.sh all

clean:  ## Remove the files that these targets create in this folder
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache *.egg-info

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test,lint]'
	touch $@
