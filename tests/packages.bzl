"""The packages whose sources the lint and the other tests of the tree read. .ci/run checks that none is missing."""

PACKAGES = [
    "",
    "examples",
    "examples/cheatsheet",
    "loop",
    "net",
    "sync",
    "task",
    "tests",
    "tests/benchmarks",
    "tests/compile_fail",
    "tests/compiler",
    "tests/examples",
    "tests/headers",
    "tests/lint",
    "tests/loop",
    "tests/net",
    "tests/sync",
    "tests/task",
    "tests/timers",
    "timers",
]
