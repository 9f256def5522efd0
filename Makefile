# Every target works from a fresh clone: it makes .venv, builds the extension there and installs what it needs.
# Needed beforehand: Python 3.10 or newer with its headers, and a C++20 compiler. CMake and Ninja come from PyPI.
#
#   make demo                                train on scikit-learn's digits
#   make docs                                the documentation, with the gallery
#   make standin                             the CUDA kernels, tested without a GPU
#   make test PYTEST_ARGS="tests/test_matmul.py -k float32"
#   PYTHON=python3.12 make test              another interpreter (after `make clean`)

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Where `make bench` takes PyTorch from, e.g. https://download.pytorch.org/whl/cpu for the CPU-only build.
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

# clang-tidy sees each source once: those of the CPU as compiled for AVX-512, those of CUDA as for the stand-in.
TIDY_CUDA_SOURCES ?= $(filter csrc/cuda/%.cpp csrc/bindings/cuda.cpp %.cu,$(CXX_FILES))
TIDY_SOURCES ?= $(filter-out tests/% $(TIDY_CUDA_SOURCES),$(filter %.cpp,$(CXX_FILES)))
TIDY_FLAGS = -std=c++20 -Icsrc $$($(BIN)/python -m pybind11 --includes)
TIDY_CPU_FLAGS = -march=x86-64-v4 -DSTEEPEST_SIMD_AVX512 -DSTEEPEST_COMPILER='""'
TIDY_CUDA_FLAGS = -x c++ -Itests -DSTEEPEST_STANDIN -DSTEEPEST_TARGET=cuda -DSTEEPEST_CUDA_TARGETS='""' -DSTEEPEST_CUDA_MAJOR='""'

# The estimators' logic, and what is around the package: instruction sets, threads and sanitizers do not change these.
ESTIMATOR_TESTS := autoencoder callbacks classifier_targets discriminant_analysis estimator_errors labels lda_cross_validation \
  linear_regimes linear_regression logistic_regression model_files natural_gradient_rules natural_perceptrons neural_network neural_network_parity pca perceptron_options regressor_losses saving sgd \
  sgd_mini_batches validation
TOOL_TESTS := bench bench_report cli datasets docs examples import isa plots pytorch sklearn_suite
# The tests that they can change: kernels, graphs, nn, optim, training.
KERNEL_TESTS ?= $(filter-out $(ESTIMATOR_TESTS:%=tests/test_%.py) $(TOOL_TESTS:%=tests/test_%.py),$(wildcard tests/test_*.py))
# Those of them that say something about the CUDA kernels on the stand-in, and the estimators' with tests of CuPy's arrays.
DEVICE_TESTS := discriminant_analysis lda_cross_validation
STANDIN_TESTS ?= $(filter-out tests/test_processes.py tests/test_threads.py,$(KERNEL_TESTS)) $(DEVICE_TESTS:%=tests/test_%.py)

.DEFAULT_GOAL := help
.PHONY: help demo docs test test-matrix sklearn-tests sklearn-versions standin lint format sanitize sanitize-standin wheel wheel-cuda gpu bench clean
.DELETE_ON_ERROR:

help:
	@echo "make demo | docs | test | lint | format | test-matrix | sklearn-tests | sklearn-versions | standin | sanitize | sanitize-standin | wheel | wheel-cuda | gpu | bench | clean"

demo: $(VENV)/.plot
	$(BIN)/steepest train --output build/demo
	$(BIN)/steepest compare

# The pages, the reference and the gallery, whose examples all run. The reference's pages are written anew each time.
docs: $(VENV)/.docs
	rm -rf docs/api docs/_build/html
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The same kernels with each instruction set of this CPU and with 1, 2 and 3 threads: a pair of these a run.
test-matrix: $(VENV)/.test
	@set -e; \
	for setting in $$($(BIN)/python scripts/test_settings.py); do \
	  echo "== $$setting" | tr , ' '; \
	  env $$(echo $$setting | tr , ' ') $(BIN)/python -m pytest -q $(KERNEL_TESTS); \
	done

# scikit-learn's own tests, on this package's classes; writes docs/scikit-learn-tests.md.
sklearn-tests: $(VENV)/.test
	$(BIN)/python -m tests.sklearn_suite

# The estimators on each release of scikit-learn that is supported: its checks of estimators, its tests, ours.
SKLEARN_VERSIONS ?= 1.6 1.7 1.8 1.9
SKLEARN_TESTS ?= $(patsubst %,tests/test_%.py,$(ESTIMATOR_TESTS) sklearn_suite)
sklearn-versions: $(VENV)/.test
	@set -e; \
	for version in $(SKLEARN_VERSIONS); do \
	  folder=build/sklearn-$$version; \
	  echo "== scikit-learn $$version"; \
	  $(PYTHON) -m venv $$folder; \
	  $$folder/bin/python -m pip --disable-pip-version-check --quiet install $(BUILD_REQUIREMENTS) \
	    --requirement $(VENV)/.test.txt "scikit-learn==$$version.*"; \
	  $$folder/bin/python -m pip --disable-pip-version-check --quiet install --no-build-isolation . \
	    "scikit-learn==$$version.*" --config-settings=build-dir=$(BUILD_DIR); \
	  $$folder/bin/python -m pytest -q $(SKLEARN_TESTS); \
	done

# The CUDA kernels on the stand-in for CUDA, which runs them on the host: the operation tests, and planted faults.
standin: $(STANDIN_DIR)/.built $(VENV)/.test
	STEEPEST_STANDIN=$(STANDIN_DIR) $(BIN)/python -m pytest -q $(STANDIN_TESTS)
	$(BIN)/python tests/standin/faults.py $(STANDIN_DIR)

lint: $(VENV)/.lint $(VENV)/.extension
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest steepest._cpu --mypy-config-file pyproject.toml --allowlist scripts/stubtest_allowlist.txt
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	printf '%s\n' $(TIDY_SOURCES) | xargs -P 2 -I {} $(BIN)/clang-tidy --quiet {} -- $(TIDY_FLAGS) $(TIDY_CPU_FLAGS)
	printf '%s\n' $(TIDY_CUDA_SOURCES) | xargs -P 2 -I {} $(BIN)/clang-tidy --quiet {} -- $(TIDY_CUDA_FLAGS) $(TIDY_FLAGS)
	$(BIN)/python scripts/check_isa_symbols.py $(BUILD_DIR)

format: $(VENV)/.lint
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

wheel: $(VENV)/.venv
	rm -rf dist/*.whl
	$(PIP) wheel . --no-deps --wheel-dir dist
	$(BIN)/python scripts/check_wheel.py dist/*.whl build/wheel-check

# The wheel with CUDA kernels, for the GPUs of STEEPEST_CUDA_TARGETS (all by default); needs nvcc, but no GPU.
wheel-cuda: $(VENV)/.venv
	rm -rf dist/cuda
	STEEPEST_CUDA=ON $(PIP) wheel . --no-deps --wheel-dir dist/cuda --no-build-isolation --config-settings=build-dir=$(BUILD_DIR)
	$(BIN)/python scripts/check_wheel.py --cuda dist/cuda/*.whl build/wheel-check

# On a machine with a GPU: builds, tests, checks memory and races, measures.
gpu:
	bash scripts/gpu_check.sh $(GPU_STEPS)

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist docs/_build docs/api docs/gallery .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --- the stand-in for CUDA ---------------------------------------------------------------------------------------

# $(call build_standin,PYTHON,FOLDER,CMAKE OPTIONS)
define build_standin
	export PATH="$(abspath $(dir $(1))):$$PATH" && \
	cmake -S tests/standin -B $(2) -G Ninja -Dpybind11_DIR="$$(python -m pybind11 --cmakedir)" \
	  -DPython_EXECUTABLE="$(abspath $(1))" $(3) && \
	cmake --build $(2)
endef

$(STANDIN_DIR)/.built: $(VENV)/.venv $(CXX_SOURCES) $(STANDIN_SOURCES)
	$(call build_standin,$(BIN)/python,$(STANDIN_DIR),)
	touch $@

# --- the sanitizer build ---------------------------------------------------------------------------------------

SANITIZE_DIR := build/sanitize
SANITIZE_BIN := $(SANITIZE_DIR)/venv/bin
SANITIZE_TESTS ?= $(KERNEL_TESTS)
# What the kernels read and write is seen best in the tests that walk over layouts and edges.
SANITIZE_STANDIN_TESTS ?= $(patsubst %,tests/test_%.py,activation class_scatter fusion gaussian_loss gradient_gram gradient_norms linear linear_backward linear_tangent matmul pointwise_loss precision \
  output_divergence output_fisher prelu random reduce sampled_score second_moment softmax softmax_cross_entropy standin take_rows take_sparse_rows update zero_one_loss)

# The interpreter is not instrumented, so the run-times are preloaded; libstdc++ is among them because the
# address sanitizer must find __cxa_throw when it starts. CPython itself does not free all at exit: no leak check.
# Capture by sys leaves the report of a fault, which the run-time writes to the descriptor itself, visible.
SANITIZED = LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

sanitize: $(SANITIZE_DIR)/.installed
	$(SANITIZED) $(SANITIZE_BIN)/python -m pytest -q --capture=sys -p no:cacheprovider $(SANITIZE_TESTS)

# The CUDA kernels under the same sanitizers. Python's own allocator would hide what is read behind an array.
sanitize-standin: $(SANITIZE_DIR)/standin/.built
	$(SANITIZED) PYTHONMALLOC=malloc STEEPEST_STANDIN=$(SANITIZE_DIR)/standin \
	$(SANITIZE_BIN)/python -m pytest -q --capture=sys -p no:cacheprovider $(SANITIZE_STANDIN_TESTS)

$(SANITIZE_DIR)/standin/.built: $(SANITIZE_DIR)/.installed $(CXX_SOURCES) $(STANDIN_SOURCES)
	$(call build_standin,$(SANITIZE_BIN)/python,$(SANITIZE_DIR)/standin,"-DSTEEPEST_SANITIZE=address;undefined")
	touch $@

# -O2, or following variables for a debugger, would take the compiler ten times as long over instrumented kernels.
$(SANITIZE_DIR)/.installed: $(PACKAGE_SOURCES)
	$(PYTHON) -m venv $(SANITIZE_DIR)/venv
	$(SANITIZE_BIN)/python -m pip --disable-pip-version-check --quiet install $(BUILD_REQUIREMENTS)
	$(SANITIZE_BIN)/python -m pip --disable-pip-version-check --quiet install --no-build-isolation ".[test]" \
	  --config-settings=build-dir=$(SANITIZE_DIR)/cmake \
	  --config-settings=cmake.build-type=RelWithDebInfo \
	  --config-settings=cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1 -fno-var-tracking" \
	  --config-settings=install.strip=false \
	  --config-settings=cmake.define.STEEPEST_CUDA=OFF \
	  --config-settings="cmake.define.STEEPEST_SANITIZE=address;undefined"
	touch $@

# --- the environment -------------------------------------------------------------------------------------------

$(VENV)/.venv:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" \
	  || { echo "$(PYTHON) is older than Python 3.10: set PYTHON to a newer one" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(BUILD_REQUIREMENTS)
	touch $@

# Without build isolation the build folder stays valid, and only what changed is compiled again.
$(VENV)/.extension: $(VENV)/.venv $(CXX_SOURCES) pyproject.toml
	$(PIP) install --no-build-isolation --editable . --config-settings=build-dir=$(BUILD_DIR)
	touch $@

$(VENV)/.plot $(VENV)/.docs $(VENV)/.test $(VENV)/.lint: $(VENV)/.%: $(VENV)/.extension pyproject.toml
	$(BIN)/python scripts/extra_requirements.py $* > $@.txt
	$(PIP) install --requirement $@.txt
	touch $@

# PyTorch first, from its own index if one is given; the rest then finds it installed.
$(VENV)/.bench: $(VENV)/.extension pyproject.toml
	$(if $(TORCH_INDEX),$(PIP) install torch --index-url $(TORCH_INDEX))
	$(BIN)/python scripts/extra_requirements.py bench > $@.txt
	$(PIP) install --requirement $@.txt
	touch $@
