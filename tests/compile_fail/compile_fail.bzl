"""coil_compile_fail_test: code that must not compile, and the message that says why."""

load("@rules_cc//cc:defs.bzl", "CcInfo", "cc_common")

def _compile_fail_test_impl(ctx):
    toolchain = ctx.attr._cc_toolchain[cc_common.CcToolchainInfo]
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        # Module maps are inputs of their own, which this action would not have.
        unsupported_features = ctx.disabled_features + ["layering_check", "module_maps", "header_modules"],
    )
    context = cc_common.merge_cc_infos(cc_infos = [dep[CcInfo] for dep in ctx.attr.deps]).compilation_context
    source = ctx.file.src
    action = "c++-compile"
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = toolchain,
        source_file = source.path,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts,
        include_directories = context.includes,
        quote_include_directories = context.quote_includes,
        system_include_directories = context.system_includes,
        preprocessor_defines = context.defines,
    )
    command = [cc_common.get_tool_for_action(feature_configuration = features, action_name = action)]
    command += [
        flag
        for flag in cc_common.get_memory_inefficient_command_line(
            feature_configuration = features,
            action_name = action,
            variables = variables,
        )
        if flag != "-c"
    ] + ["-fsyntax-only"]

    # g++ leaves coroutines on if another standard follows -std=c++20, so the standard is replaced, not repeated.
    new_standard = [flag for flag in ctx.attr.bad_copts if flag.startswith("-std=")]
    bad_command = [
        flag
        for flag in command
        if not (new_standard and flag.startswith("-std="))
    ] + ctx.attr.bad_copts

    log = ctx.actions.declare_file(ctx.label.name + ".log")
    ctx.actions.run_shell(
        inputs = depset([source], transitive = [context.headers, toolchain.all_files]),
        outputs = [log],
        # The source as it is must compile, or the failure would prove nothing; then it must fail.
        command = """
log=$1
count=$2
shift 2
if "${@:1:$count}" >"$log" 2>&1; then
  "${@:$count + 1}" >"$log" 2>&1
  code=$?
  echo "compiler: $("$1" --version | head -n 1)" >>"$log"
  echo "exit code: $code" >>"$log"
else
  echo "does not compile without the mistake" >>"$log"
fi
""",
        arguments = [log.path, str(len(command))] + command + bad_command,
        env = cc_common.get_environment_variables(
            feature_configuration = features,
            action_name = action,
            variables = variables,
        ),
        mnemonic = "CompileFail",
        progress_message = "Compiling %s, which must fail" % source.short_path,
    )

    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(
        script,
        "#!/bin/sh\nexec sh %s %s %s '%s'\n" % (ctx.file._check.short_path, log.short_path, source.short_path, ctx.attr.expected),
        is_executable = True,
    )
    return [DefaultInfo(
        executable = script,
        runfiles = ctx.runfiles([log, source, ctx.file._check]),
    )]

_compile_fail_test = rule(
    implementation = _compile_fail_test_impl,
    attrs = {
        "bad_copts": attr.string_list(),
        "deps": attr.label_list(providers = [CcInfo]),
        "expected": attr.string(),
        "src": attr.label(allow_single_file = [".cc"], mandatory = True),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
        "_check": attr.label(default = "//tests/compile_fail:check.sh", allow_single_file = True),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    test = True,
)

def coil_compile_fail_test(name, src, deps = [], bad_copts = ["-DCOMPILE_FAIL"], expected = "", tags = [], **kwargs):
    """A test that `src` compiles as it is, and fails with `bad_copts`, by default with the code under #ifdef COMPILE_FAIL.

    The source says what the compiler must print, one extended regular expression on each line:

        // EXPECT-ERROR: Run\\(\\) may not be called from a coroutine

    or `expected` is the only such expression. What only one compiler refuses is marked EXPECT-ERROR-GCC-12 or EXPECT-ERROR-CLANG;
    where no expectation is left for the compiler that runs, it must compile.
    """
    _compile_fail_test(
        name = name,
        src = src,
        deps = deps,
        bad_copts = bad_copts,
        expected = expected,
        size = "small",
        tags = tags + ["build_check"],
        **kwargs
    )
