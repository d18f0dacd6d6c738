"""The packages whose sources the lint and the other tests of the tree read. .ci/run checks that none is missing."""

PACKAGES = [
    "",
    "examples",
    "loop",
    "net",
    "sync",
    "task",
    "tests",
    "tests/compile_fail",
    "tests/headers",
    "tests/lint",
    "timers",
]
