"""Tests once more, on io_uring."""

load("@rules_shell//shell:sh_test.bzl", "sh_test")

def on_io_uring(test, without = [], tags = []):
    """Runs the binary of a test with COIL_POLLER=io_uring. It links the poller through loop_testing or net_testing.

    Args:
      test: the name of a coil_cc_test of this package, or of a bundle of them.
      without: its cases that are about epoll, as a filter of googletest knows them.
      tags: further tags.
    """
    sh_test(
        name = test + "_on_io_uring",
        size = "medium",
        srcs = ["//tests/conformance:on_io_uring.sh"],
        args = ["$(rootpath :%s)" % test, "-" + ":".join(without)],
        data = [":" + test],
        tags = ["once"] + tags,
    )
