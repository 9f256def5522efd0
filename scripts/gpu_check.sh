#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds for it, tests on it, checks memory and races, and measures, in ten minutes.
#
#   bash scripts/gpu_check.sh                 all steps: build test memcheck racecheck synccheck initcheck bench
#   bash scripts/gpu_check.sh build bench     these alone, each with all the time that is left
#
# Needed: nvcc, CMake, Ninja, and a Python with NumPy, SciPy, scikit-learn, tqdm, CuPy, pybind11, pytest and
# hypothesis. PyTorch and JAX are compared with where they are installed. Nothing is fetched, and no setting of the GPU is
# touched. Environment:
#
#   PYTHON            the interpreter (python3)
#   STEEPEST_WHEELS   folder of wheels of what it lacks; they are installed beside it, not into it
#   STEEPEST_COMMIT   the commit, where the tree is a copy without its repository
#   STEEPEST_MNIST    folder of the four MNIST files, for the whole fit
#   STEEPEST_SECONDS  the time for all steps (580)
#   STEEPEST_REHEARSE=1   the same on the CPU and small: to try out this script
#   PYTEST_ARGS, BENCH_ARGS   more arguments, separated by blanks
#   OUT               folder of the logs, the rows and the summary (build/gpu/out)
#
# The rows are added to bench/results/ as well; `python -m bench.report` then brings them into the README.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$PWD/build/gpu
out=${OUT:-$work/out}
python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')
seconds=${STEEPEST_SECONDS:-580}
all_steps=(build test memcheck racecheck synccheck initcheck bench)
# The most seconds of each where all run; the benchmarks get what is left, and begin nothing in the last ones.
declare -A limits=([build]=200 [test]=120 [memcheck]=60 [racecheck]=60 [synccheck]=30 [initcheck]=30 [bench]=1000)
last_case=40
if [[ -n ${STEEPEST_REHEARSE-} ]]; then
  cuda=OFF device=cpu
else
  cuda=AUTO device=cuda
fi
read -ra pytest_args <<<"${PYTEST_ARGS-}"
read -ra bench_args <<<"${BENCH_ARGS-}"
export PYTHONPATH=$work/package:$work/site${PYTHONPATH:+:$PYTHONPATH}
export PYTHONUNBUFFERED=1
# The plugins that a machine happens to have would turn their warnings into failures.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1

step_build() {
  mkdir -p "$work"
  if [[ -n ${STEEPEST_WHEELS-} ]]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$work/site" \
      "$STEEPEST_WHEELS"/*.whl
  fi
  cmake -S . -B "$work/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSTEEPEST_CUDA=$cuda \
    -DPython_EXECUTABLE="$python" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)"
  cmake --build "$work/cmake"
  # The package as a wheel has it: what a build in the source tree may have left there stays out.
  rm -rf "$work/package"
  mkdir -p "$work/package"
  cp -r python/steepest "$work/package/"
  find "$work/package" -name '*.so' -delete
  cmake --install "$work/cmake" --prefix "$work/package"
  "$python" -c 'import steepest; steepest.show_config()'
  if [[ $device == cuda ]]; then
    "$python" -c 'import sys; from steepest import _backends; sys.exit(_backends.cuda_problem() or 0)'
  fi
}

run_pytest() {
  STEEPEST_TEST_DEVICE=$device "$@" -q -p no:cacheprovider "${pytest_args[@]}" tests
}

step_test() {
  local parallel=()
  # The tests copy a lot and launch little: processes share the GPU well.
  if "$python" -c 'import xdist' 2>/dev/null; then parallel=(-p xdist.plugin -n 8); fi
  run_pytest "$python" -m pytest "${parallel[@]}"
}

# sanitize TOOL TESTS: a selection of tests under compute-sanitizer.
sanitize() {
  local tool=(compute-sanitizer --tool "$1" --error-exitcode 86)
  # Without CuPy's pool every array is an allocation of its own, whose ends are watched.
  local main='import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))'
  if [[ $device == cuda ]]; then
    main="import cupy; cupy.cuda.set_allocator(None); $main"
    PATH=$PATH:/usr/local/cuda/bin
  else
    tool=()
  fi
  run_pytest "${tool[@]}" "$python" -c "$main" -k "$2"
}

every_kernel=test_every_kernel
layouts='(float32 and (test_layouts or test_every_length or test_every_number))'
step_memcheck() { sanitize memcheck "$every_kernel or $layouts"; }
step_racecheck() { sanitize racecheck "$every_kernel"; }
step_synccheck() { sanitize synccheck "$every_kernel"; }
step_initcheck() { sanitize initcheck "$every_kernel"; }

step_bench() {
  local commit
  commit=$("$python" -c 'from bench import environment; print(environment.commit())')
  if [[ $commit == unknown ]]; then
    echo "gpu_check: this tree has no repository: say by STEEPEST_COMMIT which commit it is a copy of" >&2
    return 2
  fi
  local left=$1 arguments=(--device "$device" --results "$work/rows")
  arguments+=(--seconds $((left > last_case ? left - last_case : 0)))
  if [[ -n ${STEEPEST_MNIST-} ]]; then arguments+=(--data "$STEEPEST_MNIST"); fi
  if [[ $device == cpu ]]; then arguments+=(--quick); fi
  rm -rf "$work/rows"
  "$python" -m bench "${arguments[@]}" "${bench_args[@]}"
}

# A step runs in a process of its own, so that it can be ended and so that an error in it ends it.
if [[ ${1-} == --step ]]; then
  "step_$2" "$3"
  exit
fi

steps=("$@")
for step in "${steps[@]}"; do
  if [[ " ${all_steps[*]} " != *" $step "* ]]; then
    echo "gpu_check: no step '$step'; there are ${all_steps[*]}" >&2
    exit 2
  fi
done
if [[ ${#steps[@]} == 0 ]]; then
  steps=("${all_steps[@]}")
else
  for step in "${steps[@]}"; do limits[$step]=100000; done
fi

mkdir -p "$out"
rm -f "$out"/{build,test,sanitize,bench}.log "$out"/rows.jsonl "$out"/summary.txt
summary=("$(nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,temperature.gpu --format=csv,noheader \
  2>/dev/null || echo 'no GPU')")
failed=0
for step in "${steps[@]}"; do
  began=$SECONDS
  limit=$((seconds - began < limits[$step] ? seconds - began : limits[$step]))
  log=$out/$step.log
  if [[ $step == *check ]]; then log=$out/sanitize.log; fi
  status=0
  if ((limit > 0)); then
    echo "=== $step"
    timeout -k 10 "$limit" bash scripts/gpu_check.sh --step "$step" "$limit" >>"$log" 2>&1 || status=$?
  else
    status=124
  fi
  case $status in
    0) result=ok ;;
    124 | 137) result='TIME RAN OUT' ;;
    *) result="FAILED ($status)" ;;
  esac
  # The last line that says something: pytest's count, the sanitizer's, the number of rows.
  note=$([[ -e $log ]] && grep -aE 'passed|failed|ERROR SUMMARY|RACECHECK SUMMARY| rows in ' "$log" | tail -n 1 || true)
  summary+=("$(printf '%-10s %-13s %4d s  %s' "$step" "$result" $((SECONDS - began)) "${note:0:100}")")
  if ((status != 0)); then
    failed=1
    tail -n 25 "$log" 2>/dev/null || true
    if [[ $step == build ]]; then break; fi
  fi
done

if compgen -G "$work/rows/*.jsonl" >/dev/null && [[ " ${steps[*]} " == *" bench "* ]]; then
  cat "$work"/rows/*.jsonl >"$out/rows.jsonl"
  if [[ $device == cuda ]]; then
    "$python" -m bench.report --add "$out/rows.jsonl" --targets >/dev/null
    summary+=("$("$python" -m bench.report --results "$work/rows" --targets)")
  fi
fi
printf '%s\n' "${summary[@]}" | tee "$out/summary.txt"
exit $failed
