#!/usr/bin/env bash
# Starts compare.py beside the programs that it compares.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$here
if [ -d "$0.runfiles/coil/tests/benchmarks" ]; then
  folder="$0.runfiles/coil/tests/benchmarks"
elif [ -d "$0.runfiles/_main/tests/benchmarks" ]; then
  folder="$0.runfiles/_main/tests/benchmarks"
fi
exec python3 "$folder/compare.py" --folder="$folder" "$@"
