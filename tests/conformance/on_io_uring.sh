#!/usr/bin/env bash
# on_io_uring.sh TEST FILTER: runs a test of googletest on io_uring where that is to be had, and on epoll otherwise.
set -euo pipefail
export COIL_POLLER=io_uring
exec "./$1" --gtest_filter="$2"
