#!/bin/sh
# Runs the lint on the files that it is given, and on its own samples.
set -e
exec python3 tests/lint/lint.py "$@"
