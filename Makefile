# Every target works from a fresh clone: it makes .venv, builds the extension there and installs what it needs.
# Needed beforehand: Python 3.10 or newer with its headers, and a C++20 compiler. CMake and Ninja come from PyPI.
#
#   make help                               lists the targets
#   PYTHON=python3.12 make test              another interpreter (after `make clean`)

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Index from which `make bench` installs PyTorch, e.g. https://download.pytorch.org/whl/cpu for the CPU-only build.
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BUILD_DIR := build/dev
STANDIN_DIR := build/standin

BUILD_REQUIREMENTS := "scikit-build-core>=0.10" "pybind11>=2.13" cmake ninja
CXX_SOURCES := $(shell find csrc cmake -type f) CMakeLists.txt
STANDIN_SOURCES := $(shell find tests/standin -name '*.h' -o -name '*.cpp' -o -name CMakeLists.txt)
CXX_FILES := $(shell find csrc tests/standin -name '*.h' -o -name '*.hpp' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')
PACKAGE_SOURCES := $(shell find python -type f -not -name '*.pyc') $(CXX_SOURCES) pyproject.toml README.md LICENSE

# clang-tidy checks each source once: CPU sources as compiled for AVX-512, CUDA sources as compiled for the stand-in.
TIDY_CUDA_SOURCES ?= $(filter csrc/cuda/%.cpp csrc/bindings/cuda.cpp %.cu,$(CXX_FILES))
TIDY_SOURCES ?= $(filter-out tests/% $(TIDY_CUDA_SOURCES),$(filter %.cpp,$(CXX_FILES)))
TIDY_FLAGS = -std=c++20 -Icsrc $$($(BIN)/python -m pybind11 --includes)
TIDY_CPU_FLAGS = -march=x86-64-v4 -DSTEEPEST_SIMD_AVX512 -DSTEEPEST_COMPILER='""'
TIDY_CUDA_FLAGS = -x c++ -Itests -DSTEEPEST_STANDIN -DSTEEPEST_TARGET=cuda -DSTEEPEST_CUDA_TARGETS='""' -DSTEEPEST_CUDA_MAJOR='""'

# Tests whose results instruction sets, threads and sanitizers can change: kernels, graphs, networks and optimizers.
KERNEL_TESTS ?= tests/arguments tests/kernels tests/runtime tests/nn tests/fisher
# Tests on the stand-in for CUDA: KERNEL_TESTS, its own tests, and the estimators with CuPy arrays.
STANDIN_TESTS ?= $(KERNEL_TESTS) tests/standin tests/estimators
# Small shapes in one dtype suffice to find invalid memory accesses, and everything is slow here.
SANITIZE_STANDIN_TESTS ?= tests/kernels -k "not (float64 or large or threads or row_shapes) or first_work"
# Tests under the thread sanitizer: every kernel on thread teams, graphs, and Python threads.
THREAD_TESTS ?= tests/runtime/test_threads.py tests/runtime/test_graph.py tests/runtime/test_interrupts.py
# One test process for each processor; idle processes take tests from others (pytest-xdist's worksteal).
TEST_PROCESSES ?= auto
PYTEST_OPTIONS := --numprocesses $(TEST_PROCESSES) --dist worksteal --maxprocesses 16
PYTEST := $(BIN)/python -m pytest $(PYTEST_OPTIONS)
# One BLAS thread for each process, since more threads than processors would wait for one another.
test quick test-deep test-matrix sklearn-versions standin sanitize sanitize-standin sanitize-threads: \
  export OPENBLAS_NUM_THREADS := 1
# Compilers use ccache if it is installed; CCACHE_BASEDIR and NOHASHDIR let clones in different folders share it.
ifneq ($(shell command -v ccache),)
export CMAKE_CXX_COMPILER_LAUNCHER := ccache
export CMAKE_CUDA_COMPILER_LAUNCHER := ccache
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
endif

.DEFAULT_GOAL := help
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*  \#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))
.DELETE_ON_ERROR:

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*  ## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*  ## (.*)/  make \1\t\2/' | expand -t 26

# CI runs these two targets before the tests, each as a separate part.
build: $(VENV)/.extension  ## compile the kernels into .venv
environment: $(VENV)/.test $(VENV)/.lint $(VENV)/.docs  ## install what tests, linters and docs need into .venv

demo: $(VENV)/.plot  ## train on scikit-learn's digits and compare solvers
	$(BIN)/steepest train --output build/demo
	$(BIN)/steepest compare

# Builds the pages, the reference and the gallery, which runs all examples. The reference is generated anew each time.
docs: $(VENV)/.docs  ## build the documentation with reference and gallery in docs/_build/html
	rm -rf docs/api docs/_build/html
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -b html -d docs/_build/doctrees docs docs/_build/html
	@# Fails on lists with letters as numbers, which arise from an initial such as "A." at the start of a line.
	@! grep -rl --include='*.html' '<ol class="\(upper\|lower\)' docs/_build/html
	@echo "docs/_build/html/index.html"

test: $(VENV)/.test  ## build and run the tests; PYTEST_ARGS="tests/kernels/test_matmul.py -k float32" selects some
	$(PYTEST) $(PYTEST_ARGS)

# The changes since the last commit decide, or those of the last commit if nothing has changed.
quick: $(VENV)/.test  ## run the tests that belong to the changed files
	$(PYTEST) -q $$($(BIN)/python scripts/related_tests.py) $(PYTEST_ARGS)

# More random inputs, long fits, all kernel tests in each setting, planted faults and mutants.
test-deep: $(VENV)/.test $(STANDIN_DIR)/.built  ## run all tests that take too long for every change
	STEEPEST_TEST_DEEP=1 $(PYTEST) -q $(PYTEST_ARGS)
	$(MAKE) --no-print-directory test-matrix TESTS="$(KERNEL_TESTS)"
	STEEPEST_TEST_DEEP=1 STEEPEST_STANDIN=$(STANDIN_DIR) $(PYTEST) -q $(KERNEL_TESTS) tests/standin tests/estimators
	$(MAKE) --no-print-directory standin-faults mutants

# The kernel tests with the instruction sets that `make test` does not use, each with another number of threads.
ISAS ?=
test-matrix: $(VENV)/.test  ## run the kernel tests with the other instruction sets; ISAS=avx2
	@set -e; \
	for setting in $$($(BIN)/python scripts/test_settings.py $(ISAS)); do \
	  echo "== $$setting" | tr , ' '; \
	  env $$(echo $$setting | tr , ' ') $(PYTEST) -q $(or $(TESTS),tests/kernels) $(PYTEST_ARGS); \
	done

# Mutation testing: plants random faults in the kernels of a copy of this tree, and lists those that the tests miss.
MUTANTS ?= 48
MUTANTS_SEED ?= 1
MUTANTS_DIR := build/mutants
mutants: $(VENV)/.test  ## plant random faults in the kernels and show which of them the tests miss
	MUTANTS=$(MUTANTS) SEED=$(MUTANTS_SEED) bash scripts/mutants.sh $(MUTANTS_DIR)

# Writes docs/scikit-learn-tests.md.
sklearn-tests: $(VENV)/.test  ## run scikit-learn's own tests on this package's classes
	$(BIN)/python -m tests.sklearn_suite

# Tests the estimators on each supported release of scikit-learn: its estimator checks, its tests and ours.
SKLEARN_VERSIONS ?= 1.6 1.7 1.8 1.9
SKLEARN_TESTS ?= tests/estimators tests/tools/test_sklearn_suite.py
sklearn-versions: $(VENV)/.test  ## test the estimators on each supported release of scikit-learn
	@set -e; \
	for version in $(SKLEARN_VERSIONS); do \
	  folder=build/sklearn-$$version; \
	  echo "== scikit-learn $$version"; \
	  $(PYTHON) -m venv $$folder; \
	  $$folder/bin/python -m pip --disable-pip-version-check --quiet install $(BUILD_REQUIREMENTS) \
	    --requirement $(VENV)/.test.txt "scikit-learn==$$version.*"; \
	  $$folder/bin/python -m pip --disable-pip-version-check --quiet install --no-build-isolation . \
	    "scikit-learn==$$version.*" --config-settings=build-dir=$(BUILD_DIR); \
	  $$folder/bin/python -m pytest $(PYTEST_OPTIONS) -q $(SKLEARN_TESTS); \
	done

# The stand-in for CUDA runs the CUDA kernels on the host.
standin: $(STANDIN_DIR)/.built $(VENV)/.test  ## test the CUDA kernels without a GPU
	STEEPEST_STANDIN=$(STANDIN_DIR) $(PYTEST) -q $(STANDIN_TESTS) $(PYTEST_ARGS)

# The tests on the stand-in must find each planted fault, with the right message; FAULTS=races plants missing barriers.
FAULTS ?= all
standin-faults: $(STANDIN_DIR)/.built $(VENV)/.test  ## plant faults in the CUDA kernels that the tests must find; FAULTS=races
	$(BIN)/python tests/standin/faults.py $(STANDIN_DIR) $(FAULTS)

# STRESS=--short runs a small part of each program.
STRESS ?=
stress: $(VENV)/.test  ## stress tests: signals, limits on memory and threads, killed processes; STRESS=--short
	@set -e; for program in $(sort $(wildcard tests/stress/stress_*.py)); do $(BIN)/python $$program $(STRESS); done

lint: $(VENV)/.lint $(VENV)/.extension  ## check format, types, names and warnings without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/check_house.py
	$(BIN)/python -m mypy.stubtest steepest._cpu --mypy-config-file pyproject.toml --allowlist scripts/stubtest_allowlist.txt
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	printf '%s\n' $(TIDY_SOURCES) | xargs -P 2 -I {} $(BIN)/clang-tidy --quiet {} -- $(TIDY_FLAGS) $(TIDY_CPU_FLAGS)
	printf '%s\n' $(TIDY_CUDA_SOURCES) | xargs -P 2 -I {} $(BIN)/clang-tidy --quiet {} -- $(TIDY_CUDA_FLAGS) $(TIDY_FLAGS)
	$(BIN)/python scripts/check_isa_symbols.py $(BUILD_DIR)

format: $(VENV)/.lint  ## format Python, C++ and CUDA
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

wheel: $(VENV)/.venv  ## build the wheel for this machine in dist/
	rm -rf dist/*.whl
	rm -rf build/wheel
	$(PIP) wheel . --no-deps --wheel-dir dist --config-settings=build-dir=build/wheel
	$(BIN)/python scripts/check_wheel.py dist/*.whl build/wheel-check

# STEEPEST_CUDA_TARGETS selects GPU architectures (all by default).
wheel-cuda: $(VENV)/.venv  ## build the wheel with CUDA kernels; requires nvcc, but no GPU
	rm -rf dist/cuda
	STEEPEST_CUDA=ON $(PIP) wheel . --no-deps --wheel-dir dist/cuda --no-build-isolation --config-settings=build-dir=$(BUILD_DIR)
	$(PIP) install nvidia-cuda-cuobjdump
	$(BIN)/python scripts/check_cuda_code.py dist/cuda/*.whl
	$(BIN)/python scripts/check_wheel.py --cuda dist/cuda/*.whl build/wheel-check

gpu:  ## on a machine with a GPU: build, test, check memory and races, run benchmarks
	bash scripts/gpu_check.sh $(GPU_STEPS)

# Seen on any machine, however busy: the same program takes the same number of instructions.
instructions: $(VENV)/.extension  ## count the instructions of kernels under valgrind, and compare them with the record
	$(BIN)/python -m bench.instructions

bench: $(VENV)/.bench  ## run the benchmarks against other libraries; BENCH_ARGS="matmul --quick"
	$(BIN)/python -m bench $(BENCH_ARGS)

clean:  ## remove everything that was built
	rm -rf $(VENV) build dist docs/_build docs/api docs/gallery .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --- the stand-in for CUDA ---------------------------------------------------------------------------------------

# $(call build_standin,PYTHON,FOLDER,CMAKE OPTIONS,BUILD OPTIONS)
define build_standin
	export PATH="$(abspath $(dir $(1))):$$PATH" && \
	cmake -S tests/standin -B $(2) -G Ninja -Dpybind11_DIR="$$(python -m pybind11 --cmakedir)" \
	  -DPython_EXECUTABLE="$(abspath $(1))" $(3) && \
	cmake --build $(2) $(4)
endef

$(STANDIN_DIR)/.built: $(VENV)/.venv $(CXX_SOURCES) $(STANDIN_SOURCES)
	$(call build_standin,$(BIN)/python,$(STANDIN_DIR),)
	touch $@

# --- the sanitizer build ---------------------------------------------------------------------------------------

SANITIZE_DIR := build/sanitize
SANITIZE_BIN := $(SANITIZE_DIR)/venv/bin
# The interpreter is not instrumented, so the sanitizer runtimes are preloaded, with libstdc++, in which the address
# sanitizer must find __cxa_throw at its start. Leak checks are off, since CPython does not free all memory at exit.
# --capture=sys leaves fault reports visible, which the runtime writes to the file descriptor.
SANITIZED = LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

sanitize: $(SANITIZE_DIR)/.installed  ## test the kernels under the address and undefined-behaviour sanitizers
	$(SANITIZED) OMP_NUM_THREADS=3 $(SANITIZE_BIN)/python -m pytest $(PYTEST_OPTIONS) -q --capture=sys -p no:cacheprovider $(KERNEL_TESTS) $(PYTEST_ARGS)

# PYTHONMALLOC=malloc, since Python's own allocator would hide reads past the end of an array.
sanitize-standin: $(SANITIZE_DIR)/standin/.built  ## test the CUDA kernels on the stand-in under these sanitizers
	$(SANITIZED) PYTHONMALLOC=malloc STEEPEST_STANDIN=$(SANITIZE_DIR)/standin \
	$(SANITIZE_BIN)/python -m pytest $(PYTEST_OPTIONS) -q --capture=sys -p no:cacheprovider $(SANITIZE_STANDIN_TESTS) $(PYTEST_ARGS)

$(SANITIZE_DIR)/standin/.built: $(SANITIZE_DIR)/.installed $(CXX_SOURCES) $(STANDIN_SOURCES)
	$(call build_standin,$(SANITIZE_BIN)/python,$(SANITIZE_DIR)/standin,"-DSTEEPEST_SANITIZE=address;undefined",--target cuda_standin)
	touch $@

# Tests the thread team, the pool and graphs. OpenBLAS runs a single thread, since it is not instrumented and its
# threads would look like races. `setarch -R` turns off address randomisation, since the sanitizer needs fixed addresses.
sanitize-threads: $(SANITIZE_DIR)-threads/.installed  ## test threads and graphs under the thread sanitizer
	LD_PRELOAD="$$($(CXX) -print-file-name=libtsan.so)" TSAN_OPTIONS=halt_on_error=1:exitcode=66:die_after_fork=0 \
	OMP_NUM_THREADS=3 setarch -R $(SANITIZE_DIR)-threads/venv/bin/python -m pytest $(PYTEST_OPTIONS) -q --capture=sys -p no:cacheprovider $(THREAD_TESTS) $(PYTEST_ARGS)

# $(call install_sanitized,FOLDER,SANITIZERS)
# Makes an environment with only the instrumented build. A .pth file adds the packages of the test environment, but not
# its build. The generic kernels are plain C++, so the sanitizers see all their loads and stores.
define install_sanitized
	$(BIN)/python -m venv --without-pip $(1)/venv
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > $$($(1)/venv/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/tests.pth
	PATH="$(abspath $(BIN)):$$PATH" $(PIP) --python $(1)/venv/bin/python install --no-deps --no-build-isolation . \
	  --config-settings=build-dir=$(1)/cmake \
	  --config-settings=cmake.build-type=RelWithDebInfo \
	  --config-settings=install.strip=false \
	  --config-settings=cmake.define.STEEPEST_CUDA=OFF \
	  --config-settings=cmake.define.STEEPEST_GENERIC_ONLY=ON \
	  --config-settings="cmake.define.STEEPEST_SANITIZE=$(2)"
endef

$(SANITIZE_DIR)/.installed: $(VENV)/.test $(PACKAGE_SOURCES)
	$(call install_sanitized,$(SANITIZE_DIR),address;undefined)
	touch $@

$(SANITIZE_DIR)-threads/.installed: $(VENV)/.test $(PACKAGE_SOURCES)
	$(call install_sanitized,$(SANITIZE_DIR)-threads,thread)
	touch $@

# --- the environment -------------------------------------------------------------------------------------------

$(VENV)/.venv:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" \
	  || { echo "$(PYTHON) is older than Python 3.10: set PYTHON to a newer one" >&2; exit 1; }
	@echo "make: an environment in $(VENV), with CMake and Ninja"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install $(BUILD_REQUIREMENTS)
	@touch $@

# Without build isolation the build folder stays valid, and only changed sources are recompiled.
$(VENV)/.extension: $(VENV)/.venv $(CXX_SOURCES) pyproject.toml
	@echo "make: compiling the kernels into $(BUILD_DIR): some three minutes on two processors, less for what has changed"
	@$(PIP) install --no-build-isolation --editable . --config-settings=build-dir=$(BUILD_DIR)
	@# Type checkers look for stubs beside the sources.
	@$(BIN)/python cmake/stubs.py $(BUILD_DIR)/_cpu.*.so python/steepest
	@touch $@

$(VENV)/.plot $(VENV)/.docs $(VENV)/.test $(VENV)/.lint: $(VENV)/.%: $(VENV)/.extension pyproject.toml
	@echo "make: installing what \`make $*\` needs"
	@$(BIN)/python scripts/extra_requirements.py $* > $@.txt
	@$(PIP) install --requirement $@.txt
	@touch $@

# PyTorch is installed first, from TORCH_INDEX if it is set; the other requirements then find it installed.
$(VENV)/.bench: $(VENV)/.extension pyproject.toml
	$(if $(TORCH_INDEX),$(PIP) install torch --index-url $(TORCH_INDEX))
	$(BIN)/python scripts/extra_requirements.py bench > $@.txt
	$(PIP) install --requirement $@.txt
	touch $@
