"""Libraries of the machine as Bazel repositories, and stand-ins for rules that an old Bazel has built in."""

_FOUND = """\
load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "{target}",
    hdrs = glob({patterns}),
    includes = ["."],
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
"""

# Where the library is not installed, what depends on it is left out of "//..." instead of breaking it.
_MISSING = """\
load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "{target}",
    target_compatible_with = ["@platforms//:incompatible"],
    visibility = ["//visibility:public"],
)
"""

_ROOTS = ["/usr/include", "/usr/local/include"]

def _system_library_impl(ctx):
    targets = ctx.attr.targets or {ctx.name.split("~")[-1].split("+")[-1]: []}
    root = None
    for candidate in _ROOTS:
        if root == None and ctx.path(candidate + "/" + ctx.attr.probe).exists:
            root = candidate
    ctx.file("WORKSPACE", "")
    if root != None:
        for header in ctx.attr.headers:
            ctx.symlink(root + "/" + header, header)
    build = ""
    for target, linkopts in targets.items():
        build += (_FOUND if root != None else _MISSING).format(
            target = target,
            patterns = repr([header + "/**" for header in ctx.attr.headers]),
            linkopts = repr(linkopts),
        )
    ctx.file("BUILD", build)

system_library = repository_rule(
    implementation = _system_library_impl,
    doc = "A library that the machine has: its headers from /usr/include and the flags that link it.",
    attrs = {
        "headers": attr.string_list(doc = "Folders below the include folder; empty if the compiler finds them by itself."),
        "probe": attr.string(mandatory = True, doc = "The header whose presence says that the library is installed."),
        "targets": attr.string_list_dict(doc = "The targets with their linkopts; by default one, named as the repository."),
    },
    local = True,
    configure = True,
)

def _rules_shell_stand_in_impl(ctx):
    ctx.file("WORKSPACE", "")
    ctx.file("shell/BUILD", "")
    for rule in ["sh_binary", "sh_library", "sh_test"]:
        ctx.file("shell/%s.bzl" % rule, "def {0}(**kwargs):\n    native.{0}(**kwargs)\n".format(rule))

rules_shell_stand_in = repository_rule(
    implementation = _rules_shell_stand_in_impl,
    doc = "@rules_shell for a Bazel that has the shell rules built in and cannot load the real one.",
)
