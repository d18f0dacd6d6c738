"""The dependencies of coil for a WORKSPACE. (Under MODULE.bazel none of this is needed.)

    load("@coil//:deps.bzl", "coil_deps")
    coil_deps()

Each is taken only if the workspace has not defined a repository of that name before. `./bazelw` overrides all of them with
Debian's copies, so that they are never downloaded there.
"""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")
load("//third_party:system_library.bzl", "rules_shell_stand_in", "system_library")

def coil_deps():
    """What a project that uses coil needs."""
    maybe(
        http_archive,
        name = "com_google_absl",
        sha256 = "f50e5ac311a81382da7fa75b97310e4b9006474f9560ac46f54a9967f07d4ae3",
        strip_prefix = "abseil-cpp-20240722.0",
        urls = ["https://github.com/abseil/abseil-cpp/releases/download/20240722.0/abseil-cpp-20240722.0.tar.gz"],
    )

    # A normal dependency, not one of development: //task:testing is made of it, and is for users.
    maybe(
        http_archive,
        name = "com_google_googletest",
        sha256 = "78c676fc63881529bf97bf9d45948d905a66833fbfa5318ea2cd7478cb98f399",
        strip_prefix = "googletest-1.16.0",
        urls = ["https://github.com/google/googletest/releases/download/v1.16.0/googletest-1.16.0.tar.gz"],
    )
    maybe(
        http_archive,
        name = "rules_cc",
        sha256 = "58bff40957ace85c2de21ebfc72e53ed3a0d33af8cc20abd0ceec55c63be7de2",
        urls = ["https://github.com/bazelbuild/rules_cc/releases/download/0.0.2/rules_cc-0.0.2.tar.gz"],
    )
    maybe(
        http_archive,
        name = "bazel_skylib",
        sha256 = "74d544d96f4a5bb630d465ca8bbcfe231e3594e5aae57e1edbf17a6eb3ca2506",
        urls = ["https://github.com/bazelbuild/bazel-skylib/releases/download/1.3.0/bazel-skylib-1.3.0.tar.gz"],
    )
    maybe(
        http_archive,
        name = "platforms",
        sha256 = "218efe8ee736d26a3572663b374a253c012b716d8af0c07e842e82f238a0a7ee",
        urls = ["https://github.com/bazelbuild/platforms/releases/download/0.0.10/platforms-0.0.10.tar.gz"],
    )

    # //net/tls is made of it; nothing else needs it.
    maybe(
        system_library,
        name = "openssl",
        probe = "openssl/ssl.h",
        targets = {"ssl": ["-lssl", "-lcrypto"]},
    )

def coil_dev_deps():
    """What coil's own tests, benchmarks and scripts need besides."""
    maybe(
        http_archive,
        name = "com_github_google_benchmark",
        sha256 = "6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7",
        strip_prefix = "benchmark-1.7.1",
        urls = ["https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz"],
    )
    maybe(rules_shell_stand_in, name = "rules_shell")
    maybe(
        system_library,
        name = "relacy",
        headers = ["relacy"],
        probe = "relacy/relacy.hpp",
    )
