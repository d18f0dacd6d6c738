"""Tests that each public header compiles alone, and that the examples in headers and documents do.

Most headers are the first include of a source of their own, which proves it; here are the others.
"""

load("//:coil.bzl", "coil_cc_library", "coil_cc_test")

def coil_header_test(name, package, headers):
    """Compiles each header of a package as the first thing in a file, with nothing but its own target, and links them all.

    Args:
      name: of the test
      package: the folder
      headers: names without ".h"; a name that differs from its target is written "header:target"
    """
    libraries = []
    for entry in headers:
        header, target = (entry.split(":") + [entry])[:2]
        library = "%s_%s" % (package.replace("/", "_"), header)
        native.genrule(
            name = library + "_source",
            testonly = True,
            outs = [library + "_alone.cc"],
            cmd = 'for i in 1 2; do echo \'#include "coil/%s/%s.h"\'; done > $@' % (package, header),
        )
        coil_cc_library(
            name = library,
            testonly = True,
            srcs = [library + "_alone.cc"],
            deps = ["//%s:%s" % (package, target)],
            tags = ["build_check"],
            alwayslink = True,
        )
        libraries.append(library)
    coil_cc_test(
        name = name,
        srcs = ["headers_test.cc"],
        # Once is enough: the standard library is the same one in every configuration, and what a header lacks is lacking for each compiler.
        tags = [
            "build_check",
            "once",
        ],
        deps = libraries,
    )

def coil_snippets_test(name, sources, deps = []):
    """Compiles the examples of headers or documents, as extract_snippets.py finds them."""
    native.genrule(
        name = name + "_source",
        testonly = True,
        srcs = sources,
        outs = [name + "_snippets.cc"],
        cmd = "python3 $(location extract_snippets.py) $(SRCS) > $@",
        tools = ["extract_snippets.py"],
    )
    coil_cc_test(
        name = name,
        srcs = [name + "_snippets.cc"],
        # Examples show one thing each; that a variable is not used is not a mistake.
        copts = [
            "-Wno-unused-variable",
            "-Wno-unused-but-set-variable",
            "-Wno-unused-function",
            # g++, about lambdas: for it the examples are not in the main file, because they keep the line numbers of their document.
            "-Wno-subobject-linkage",
            "-Wno-unknown-warning-option",
            # In its namespace the main() of an example has no return of its own.
            "-Wno-return-type",
        ],
        # Of abseil they may use whatever coil's headers bring along.
        features = ["-layering_check"],
        tags = ["build_check"],
        deps = ["//:coil"] + deps,
    )
