"""The macros of coil's own BUILD files.

They add warnings, the include path `coil/<package>/`, and what tests need. They add nothing that a consumer would have to repeat,
and no flag that changes the ABI.
"""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

# Warnings only. "-Werror" is not among them: it comes with --config=werror, in CI.
COIL_COPTS = [
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",  # TaskOptions{.name = "x"} is how options are written
]

# layering_check works with clang only; other toolchains ignore it.
COIL_FEATURES = ["layering_check"]

def _missing(wanted, present):
    return [label for label in wanted if label not in present]

def coil_cc_library(name, hdrs = [], srcs = [], deps = [], copts = [], features = [], visibility = ["//visibility:private"], **kwargs):
    """A cc_library whose headers are included as "coil/<package>/<file>". Private unless told otherwise."""
    package = native.package_name()

    # A program needs coil::Run() besides its lock, sleep or socket. It comes with each of them, so that one target is enough to depend on.
    if package.split("/")[0] in ["timers", "sync", "net"] and visibility == ["//visibility:public"]:
        deps = deps + _missing(["//task:run"], deps)
    cc_library(
        name = name,
        hdrs = hdrs,
        srcs = srcs,
        deps = deps,
        copts = COIL_COPTS + copts,
        features = COIL_FEATURES + features,
        include_prefix = kwargs.pop("include_prefix", "coil/" + package if package else "coil"),
        visibility = visibility,
        **kwargs
    )

def coil_cc_test(name, srcs, deps = [], copts = [], size = "small", main = True, bundle = "", tags = [], **kwargs):
    """A cc_test with googletest, and its main() unless main = False. A main() of its own may also come from deps.

    Args:
      name: of the test
      srcs: its sources
      deps: what it uses, googletest apart
      copts: more flags
      size: as for cc_test
      main: whether it needs a main()
      bundle: the test that runs its cases together with those of others, see coil_test_bundles(). This one is then built only if asked for.
      tags: as for cc_test
      **kwargs: as for cc_test
    """
    cc_test(
        name = name,
        srcs = srcs,
        deps = deps + _missing(
            ["@com_google_googletest//:gtest", "//tests:sanitizer_defaults"] + (["@com_google_googletest//:gtest_main"] if main else []),
            deps,
        ),
        copts = COIL_COPTS + copts,
        features = COIL_FEATURES + kwargs.pop("features", []),
        linkstatic = kwargs.pop("linkstatic", True),
        size = size,
        tags = tags + (["manual", _BUNDLE + bundle] if bundle else []),
        **kwargs
    )

_BUNDLE = "bundle="

def _own_tags(rule):
    """The tags of a member of a bundle, without those that make it one."""
    return sorted([tag for tag in rule["tags"] if tag != "manual" and not tag.startswith(_BUNDLE)])

def coil_test_bundles():
    """The bundles that the tests of this BUILD file name: one test each, which runs the cases of all its members. Called last.

    Half of the time that a test takes to compile goes into headers, and into what of them each test instantiates anew. A bundle is one
    source, so it pays once. `bazel test //...` builds the bundles; to work at one test, name it: `bazel test //tests/sync:lock_test`.
    """
    bundles = {}
    for rule in native.existing_rules().values():
        for tag in rule.get("tags", []):
            if tag.startswith(_BUNDLE):
                bundles.setdefault(tag[len(_BUNDLE):], []).append(rule)
    for name, members in bundles.items():
        tags = _own_tags(members[0])
        srcs, deps = [], {}
        for member in members:
            if _own_tags(member) != tags:
                fail("%s: the tests of a bundle have the same tags, not %s and %s" % (name, tags, _own_tags(member)))
            for attribute in ["args", "data", "env"]:
                if member.get(attribute):
                    fail("%s: %s has %s of its own, so it cannot be in a bundle" % (name, member["name"], attribute))
            srcs += list(member["srcs"])
            deps.update([(dep, True) for dep in member["deps"]])
        native.genrule(
            name = name + "_source",
            testonly = True,
            srcs = sorted(srcs),
            outs = [name + ".cc"],
            cmd = "python3 $(location //tests:bundle.py) $@ $(SRCS)",
            tags = ["manual"],
            tools = ["//tests:bundle.py"],
        )
        cc_test(
            name = name,
            srcs = [name + ".cc"],
            deps = sorted(deps.keys()),
            # g++, about lambdas: for it the tests are not in the main file, because they keep the lines of their sources.
            copts = COIL_COPTS + ["-Wno-subobject-linkage", "-Wno-unknown-warning-option"],
            features = COIL_FEATURES,
            linkstatic = True,
            size = "medium",
            tags = tags,
        )

def coil_cc_binary(name, srcs, deps = [], copts = [], **kwargs):
    """A cc_binary with coil's warnings."""
    cc_binary(
        name = name,
        srcs = srcs,
        deps = deps,
        copts = COIL_COPTS + copts,
        features = COIL_FEATURES + kwargs.pop("features", []),
        **kwargs
    )

def coil_cc_benchmark(name, srcs, deps = [], copts = [], tags = [], main = True, **kwargs):
    """A benchmark; run it with `./bazelw run -c opt`. Tagged "benchmark"."""
    cc_binary(
        name = name,
        srcs = srcs,
        deps = deps + _missing(
            ["@com_github_google_benchmark//:benchmark"] + (["@com_github_google_benchmark//:benchmark_main"] if main else []),
            deps,
        ),
        copts = COIL_COPTS + copts,
        features = COIL_FEATURES + kwargs.pop("features", []),
        tags = tags + ["benchmark"],
        testonly = True,
        **kwargs
    )

def coil_sources():
    """Every source file of the package, for the lint and the other tests that read the code. Each BUILD calls it once."""
    native.filegroup(
        name = "sources",
        srcs = native.glob(
            ["**/*.h", "**/*.cc", "**/BUILD", "**/*.md", "**/*.inc"],
            allow_empty = True,
        ),
        visibility = [
            "//examples:__subpackages__",
            "//tests:__subpackages__",
        ],
    )
