#!/usr/bin/env bash
# Mutation testing: plants random faults in the kernels of a copy of this tree, and shows which of them the tests find.
#
#   bash scripts/mutants.sh FOLDER      FOLDER holds the copy, its builds, the lists and the results; a run resumes
#
# Environment: MUTANTS, number for each device (48); SEED of the random choice (1). The tests of the mutant's operation
# run first, then all tests that instruction sets, threads and the stand-in for CUDA can change.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
tree=$folder/tree
if [[ ! -d $tree ]]; then git clone --quiet . "$tree"; fi
make --no-print-directory -C "$tree" .venv/.test build/standin/.built

python=$PWD/.venv/bin/python
pytest=".venv/bin/python -m pytest -x -q -p no:cacheprovider -n 2 --dist worksteal"

examine() {
  local device=$1 list=$folder/$1.json
  shift
  if [[ ! -e $list ]]; then
    "$python" scripts/mutants.py list --device "$device" --count "${MUTANTS:-48}" --seed "${SEED:-1}" --output "$list"
  fi
  "$python" scripts/mutants.py run "$list" --tree "$tree" --results "$folder/$device.jsonl" "$@"
}

examine cpu --build 'make .venv/.extension' \
  --suite own "$pytest {tests}" --suite test "$pytest tests/arguments tests/kernels tests/runtime tests/nn tests/fisher" \
  --suite test-matrix 'make test-matrix PYTEST_ARGS=-x'
examine cuda --build 'make build/standin/.built' \
  --suite own "STEEPEST_STANDIN=build/standin $pytest {tests}" --suite standin 'make standin PYTEST_ARGS=-x'
"$python" scripts/mutants.py report "$folder"/*.jsonl
