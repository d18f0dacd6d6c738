"""Fuzz targets."""

load("//:coil.bzl", "coil_cc_binary", "coil_cc_test")
load("@rules_cc//cc:defs.bzl", "cc_library")

def coil_fuzz_target(name, deps, **kwargs):
    """NAME_corpus_test runs NAME.cc over corpus/ with any compiler; NAME is the fuzzer, see docs/reliability.md for the command."""
    cc_library(
        name = name + "_target",
        testonly = True,
        srcs = [name + ".cc"],
        deps = deps + [":fuzz_target"],
        alwayslink = True,
    )
    native.filegroup(
        name = name + "_corpus",
        srcs = native.glob(["corpus/%s/*" % name[:-len("_fuzz")]]),
    )
    coil_cc_test(
        name = name + "_corpus_test",
        srcs = ["corpus_main.cc"],
        args = ["$(rootpaths :%s_corpus)" % name],
        data = [":%s_corpus" % name],
        main = False,
        deps = [
            ":%s_target" % name,
            ":fuzz_target",
        ],
        **kwargs
    )
    coil_cc_binary(
        name = name,
        testonly = True,
        srcs = [],
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = [":%s_target" % name],
    )
