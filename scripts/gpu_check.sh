#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds, tests, checks memory and races, profiles and measures, in three calls of at
# most ten minutes each. The most important steps come first, and a call ends once it cannot succeed.
#
#   bash scripts/gpu_check.sh check       probe the machine, build, test, a minute of benchmarks with targets
#   bash scripts/gpu_check.sh sanitize    the four tools of compute-sanitizer in parallel, profiles of six kernels
#   bash scripts/gpu_check.sh measure     the benchmarks that have targets
#   bash scripts/gpu_check.sh             all three calls in order
#   bash scripts/gpu_check.sh test goals  single steps, each with all the time that is left
#   bash scripts/gpu_check.sh --dry-run [...]    print the steps and their time limits, run nothing
#
# `check` writes the built package to $OUT/package.tar.gz. Later calls use it from build/gpu/; copy it there on a
# machine that lacks it. Without it, or if a source has changed, a call builds again.
#
# Requirements: nvcc, CMake, Ninja, and a Python with its headers, NumPy, SciPy, scikit-learn, tqdm, CuPy, pybind11,
# pytest and hypothesis. compute-sanitizer, ncu and PyTorch are optional. The script downloads nothing, and changes no
# setting of the GPU. Environment:
#
#   PYTHON            the interpreter (python3)
#   STEEPEST_WHEELS   folder of wheels that the interpreter lacks; they are installed into build/gpu/, not into Python
#   STEEPEST_COMMIT   the commit, if the tree is a copy without its repository
#   STEEPEST_MNIST    folder of the four MNIST files (../shared/data/mnist); without it a whole fit is not measured
#   STEEPEST_SECONDS  time limit of a call in seconds (580)
#   STEEPEST_REHEARSE=1   run small sizes on the CPU, to try out this script
#   PYTEST_ARGS, BENCH_ARGS   further arguments, separated by blanks
#   OUT               folder of the logs, the rows and the summary (build/gpu/out)
#
# The rows are also added to bench/results/; `python -m bench.report` then puts them into the README.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$PWD/build/gpu
out=${OUT:-$work/out}
seconds=${STEEPEST_SECONDS:-580}
mnist=${STEEPEST_MNIST:-../shared/data/mnist}
# Steps joined by + run in parallel.
calls=(check sanitize measure)
declare -A steps_of=(
  [check]='probe build test goals'
  [sanitize]='probe build memcheck+racecheck+synccheck+initcheck profile'
  [measure]='probe build benchmarks'
)
# Time limit of each step in seconds; benchmarks get the rest, and start no case in the last `last_case` seconds.
declare -A limits=([probe]=30 [build]=200 [test]=250 [goals]=100 [profile]=150 [benchmarks]=10000
  [memcheck]=350 [racecheck]=350 [synccheck]=350 [initcheck]=350)
last_case=40
skipped=77 # exit status of a step for which something is missing
if [[ -n ${STEEPEST_REHEARSE-} ]]; then
  cuda=OFF device=cpu
else
  cuda=AUTO device=cuda
fi
read -ra pytest_args <<<"${PYTEST_ARGS-}"
read -ra bench_args <<<"${BENCH_ARGS-}"
export PYTHONPATH=$work/package:$work/site${PYTHONPATH:+:$PYTHONPATH}
export PYTHONUNBUFFERED=1
# Warnings of other installed pytest plugins would count as failures.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
# Adds the usual folders of CUDA's tools to the path: without nvcc on it CMake would leave out the CUDA module.
for folder in "${CUDA_HOME:-/usr/local/cuda}"/{bin,compute-sanitizer} /opt/nvidia/nsight-compute/*; do
  if [[ -d $folder ]]; then PATH=$PATH:$folder; fi
done
python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')

# skip REASON: ends a step for which something is missing.
skip() {
  echo "skipped: $1"
  exit $skipped
}

has_module() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }

step_probe() {
  local missing=() absent=() name
  mkdir -p "$work"
  if [[ -n ${STEEPEST_WHEELS-} ]]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$work/site" \
      "$STEEPEST_WHEELS"/*.whl
  fi
  for name in cmake ninja; do command -v $name >/dev/null || missing+=("$name"); done
  "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    missing+=(Python.h)
  for name in numpy scipy sklearn tqdm pybind11 pytest hypothesis; do has_module $name || missing+=("$name"); done
  if [[ $device == cuda ]]; then
    for name in nvidia-smi nvcc; do command -v $name >/dev/null || missing+=("$name"); done
    if has_module cupy; then
      "$python" -c 'import cupy; cupy.ones(3).sum().get()' || missing+=('a GPU that CuPy can use')
    else
      missing+=(cupy)
    fi
    for name in compute-sanitizer ncu; do command -v $name >/dev/null || absent+=("$name"); done
  fi
  for name in xdist torch; do has_module $name || absent+=("$name"); done
  if [[ ! -d $mnist ]]; then absent+=(MNIST); fi
  if ((${#absent[@]})); then echo "not here, and done without: ${absent[*]}"; fi
  if ((${#missing[@]})); then
    echo "missing: ${missing[*]}"
    return 1
  fi
}

# Checksum of the sources of the package.
sources() { find csrc cmake python CMakeLists.txt -type f -not -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum; }

has_package() {
  if [[ ! -d $work/package && -e $work/package.tar.gz ]]; then tar -xzf "$work/package.tar.gz" -C "$work"; fi
  [[ -e $work/package/sources && $(<"$work/package/sources") == "$(sources)" ]]
}

step_build() {
  if has_package; then
    echo "there already, from these sources"
    return
  fi
  # nvcc compiles the largest file, which takes longest, on all processors.
  local flags=()
  if [[ $device == cuda ]]; then flags+=(-DCMAKE_CUDA_FLAGS=--split-compile=0); fi
  cmake -S . -B "$work/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSTEEPEST_CUDA=$cuda "${flags[@]}" \
    -DPython_EXECUTABLE="$python" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)"
  if [[ $device == cuda ]] && ! grep -q '^CMAKE_CUDA_COMPILER:' "$work/cmake/CMakeCache.txt"; then
    echo "CMake left the CUDA module out"
    return 1
  fi
  cmake --build "$work/cmake"
  # The package as in a wheel, without modules that an earlier build may have left in the source tree.
  rm -rf "$work/package"
  mkdir -p "$work/package"
  cp -r python/steepest "$work/package/"
  find "$work/package" -name '*.so' -delete
  cmake --install "$work/cmake" --prefix "$work/package"
  "$python" -c 'import steepest; steepest.show_config()'
  if [[ $device == cuda ]]; then
    "$python" -c 'import sys; from steepest._runtime import backends; sys.exit(backends.cuda_problem() or 0)'
  fi
  sources >"$work/package/sources"
  tar -czf "$work/package.tar.gz" -C "$work" package
  cp "$work/package.tar.gz" "$out/"
}

run_pytest() {
  STEEPEST_TEST_DEVICE=$device "$@" -q -W default -p no:cacheprovider "${pytest_args[@]}"
}

step_test() {
  local parallel=()
  # The tests copy a lot and launch little, so processes share the GPU well. A sticky CUDA error makes all later tests of
  # a process fail.
  if has_module xdist; then parallel=(-p xdist.plugin -n 8); fi
  run_pytest "$python" -m pytest "${parallel[@]}" --maxfail=40 tests/arguments tests/kernels tests/runtime \
    tests/nn tests/fisher tests/estimators
}

# sanitize TOOL TESTS: a selection of tests under compute-sanitizer.
sanitize() {
  local tool=(compute-sanitizer --tool "$1" --error-exitcode 86)
  # Without CuPy's memory pool every array is a separate allocation, whose bounds the tool checks.
  local main='import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))'
  if [[ $device == cuda ]]; then
    command -v compute-sanitizer >/dev/null || skip "there is no compute-sanitizer"
    main="import cupy; cupy.cuda.set_allocator(None); $main"
  else
    tool=()
  fi
  run_pytest "${tool[@]}" "$python" -c "$main" -k "$2" tests/kernels tests/runtime
}

every_kernel=test_every_kernel
layouts='(float32 and (test_layouts or test_every_length or test_every_number))'
step_memcheck() { sanitize memcheck "$every_kernel or $layouts"; }
step_racecheck() { sanitize racecheck "$every_kernel"; }
step_synccheck() { sanitize synccheck "$every_kernel"; }
step_initcheck() { sanitize initcheck "$every_kernel"; }

# Runs the kernels that have targets, for the profiler.
profiled='
import cupy as cp
from steepest import kernels as K

def normal(*shape):
    return cp.random.standard_normal(shape, dtype=cp.float32)

a, b, logits, labels = normal(4096, 4096), normal(4096, 4096), normal(4096, 32768), cp.arange(4096)
tensors = [[normal(10_000_000)] for _ in range(2)] + [[cp.zeros(10_000_000, cp.float32)] for _ in range(2)]
step, rows = cp.array(1), cp.random.permutation(4096)[:32]
for precision in ("float32", "high", "bfloat16"):
    K.matmul(a, b, precision=precision)
K.softmax_cross_entropy(logits, labels)
K.adam_update(*tensors, step)
K.take_rows(a, rows)
cp.cuda.Device().synchronize()
'
step_profile() {
  if [[ $device != cuda ]]; then skip "it is a rehearsal"; fi
  command -v ncu >/dev/null || skip "there is no ncu"
  ncu --set full --force-overwrite --export "$out/profile" --kernel-name-base demangled \
    --kernel-name 'regex:steepest::' "$python" -c "$profiled"
  ncu --import "$out/profile.ncu-rep" --page details >"$out/profile.txt"
}

# benchmark SECONDS FOLDER ARGUMENTS...: runs benchmarks, starting no case after SECONDS - last_case.
benchmark() {
  local left=$1 folder=$2 arguments=(--device "$device")
  shift 2
  arguments+=(--seconds $((left > last_case ? left - last_case : 0)) --results "$folder")
  if [[ -d $mnist ]]; then arguments+=(--data "$mnist"); fi
  if [[ $device == cpu ]]; then arguments+=(--quick); fi
  rm -rf "$folder"
  "$python" -m bench "$@" "${arguments[@]}" "${bench_args[@]}"
}

# A quick run of the benchmarks with targets, compared with CuPy alone.
step_goals() {
  local peers=cupy
  if [[ $device == cpu ]]; then peers=numpy; fi
  benchmark "$1" "$work/first_rows" train_step softmax_cross_entropy adam matmul --peers $peers --rounds 5
}

step_benchmarks() {
  local commit names=(train_step softmax_cross_entropy adam matmul) peers=(cupy torch)
  commit=$("$python" -c 'from bench import environment; print(environment.commit())')
  if [[ $commit == unknown ]]; then
    echo "this tree has no repository: say by STEEPEST_COMMIT which commit it is a copy of"
    return 2
  fi
  if [[ $device == cpu ]]; then peers=(numpy torch); fi
  # The target of a whole fit is for MNIST alone.
  if [[ -d $mnist ]]; then names+=(fit); else echo "without MNIST the goal of a whole fit stays unanswered"; fi
  benchmark "$1" "$work/rows" "${names[@]}" --peers "${peers[@]}" --rounds 10
}

# Each step runs in a process of its own, so that a timeout or an error ends only this step.
if [[ ${1-} == --step ]]; then
  "step_$2" "$3"
  exit
fi

# run_step NAME SECONDS: writes the log, the line for the summary and the status into files.
run_step() {
  local step=$1 limit=$2 status=0 result began=$SECONDS log=$out/$1.log note
  if ((limit > 0)); then
    timeout -k 10 "$limit" bash scripts/gpu_check.sh --step "$step" "$limit" >"$log" 2>&1 || status=$?
  else
    status=124
    : >"$log"
  fi
  case $status in
    0) result=ok ;;
    "$skipped") result=SKIPPED ;;
    124 | 137) result='TIME RAN OUT' ;;
    *) result="FAILED ($status)" ;;
  esac
  # The last informative line of the log: the counts of pytest or the sanitizer, the number of rows, missing tools.
  note=$(grep -aE 'passed|failed|ERROR SUMMARY|RACECHECK SUMMARY| rows in |^missing:|^skipped:|^there already|^not here' \
    "$log" | tail -n 1 || true)
  printf '%-10s %-13s %4d s  %s\n' "$step" "$result" $((SECONDS - began)) "${note:0:100}" >"$out/$step.line"
  echo "$status" >"$out/$step.status"
}

# run_call STEPS...: runs steps within the time of a call; returns false if a step failed.
run_call() {
  local began=$SECONDS group step left whole=0 status
  for group in "$@"; do
    left=$((seconds - (SECONDS - began)))
    echo "=== ${group//+/ }"
    for step in ${group//+/ }; do
      run_step "$step" $((left < limits[$step] ? left : limits[$step])) &
    done
    wait
    for step in ${group//+/ }; do
      status=$(<"$out/$step.status")
      cat "$out/$step.line" >>"$out/summary.txt"
      if ((status != 0 && status != skipped)); then
        whole=1
        tail -n 25 "$out/$step.log"
        # The following steps could not succeed.
        if [[ $step == probe || $step == build ]]; then return 1; fi
      fi
    done
  done
  return $whole
}

dry=
if [[ ${1-} == --dry-run ]]; then
  dry=1
  shift
fi
# The plan: whole calls, or one call with single steps.
plan=()
singles=
for name in "${@:-${calls[@]}}"; do
  if [[ -n ${steps_of[$name]-} ]]; then
    plan+=("${steps_of[$name]}")
  elif [[ -n ${limits[$name]-} ]]; then
    singles+="${singles:+ }$name"
    limits[$name]=10000
  else
    echo "gpu_check: no call or step '$name'; there are ${calls[*]} and ${!limits[*]}" >&2
    exit 2
  fi
done
if [[ -n $singles ]]; then plan+=("$singles"); fi

if [[ -n $dry ]]; then
  for steps in "${plan[@]}"; do
    printf 'call of %d s\n' "$seconds"
    for group in $steps; do
      for step in ${group//+/ }; do
        printf '  %-10s %5d s\n' "$step" $((limits[$step] < seconds ? limits[$step] : seconds))
      done
    done
  done
  exit
fi

mkdir -p "$out"
rm -f "$out"/*.log "$out"/*.line "$out"/*.status "$out"/rows.jsonl
(nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,temperature.gpu --format=csv,noheader 2>/dev/null ||
  echo 'no GPU') >"$out/summary.txt"
failed=0
for steps in "${plan[@]}"; do
  read -ra groups <<<"$steps"
  run_call "${groups[@]}" || failed=1
done
rm -f "$out"/*.line "$out"/*.status

if [[ " ${plan[*]} " == *" benchmarks "* ]] && compgen -G "$work/rows/*.jsonl" >/dev/null; then
  cat "$work"/rows/*.jsonl >"$out/rows.jsonl"
  if [[ $device == cuda ]]; then
    "$python" -m bench.report --add "$out/rows.jsonl" --targets >/dev/null
    "$python" -m bench.report --results "$work/rows" --targets >>"$out/summary.txt"
  fi
fi
cat "$out/summary.txt"
exit $failed
