#!/usr/bin/env bash
# Starts a comparison beside the programs that it compares: as compare, compare.py; as
# compare_network, compare_network.py.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$here
script=$(basename "$0" .sh).py
if [ -d "$0.runfiles/coil/tests/benchmarks" ]; then
  folder="$0.runfiles/coil/tests/benchmarks"
elif [ -d "$0.runfiles/_main/tests/benchmarks" ]; then
  folder="$0.runfiles/_main/tests/benchmarks"
fi
exec python3 "$folder/$script" --folder="$folder" "$@"
