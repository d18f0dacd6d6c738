"""The libraries of the machine, for MODULE.bazel."""

load(":system_library.bzl", "system_library")

def _system_libraries_impl(_ctx):
    system_library(
        name = "relacy",
        headers = ["relacy"],
        probe = "relacy/relacy.hpp",
        targets = {"relacy": []},
    )

system_libraries = module_extension(implementation = _system_libraries_impl)
