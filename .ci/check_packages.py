#!/usr/bin/env python3
"""Whether no package and no public header is forgotten by the tests that read all sources.

    .ci/check_packages.py          says what is forgotten; exit code 1 if anything is
    .ci/check_packages.py --fix    writes the lists in tests/packages.bzl, tests/headers/BUILD, coil.h and BUILD anew
"""

import os
import re
import sys

PACKAGES = ('loop', 'task', 'timers', 'sync', 'net', 'net/tls')
# They need a library of the machine, so //:coil does without them.
OUTSIDE_OF_COIL = ('net/tls',)
# A program that wants them names them: they are not part of the umbrella of their package.
OUTSIDE_OF_PACKAGE = ('//loop:io_uring_poller',)


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def find_packages():
    packages = set()
    for folder, folders, files in os.walk('.'):
        relative = os.path.normpath(folder)
        folders[:] = [f for f in folders if not f.startswith(('.', 'bazel-'))]
        if relative == os.path.join('tests', 'consumer'):   # a workspace of its own
            folders[:] = []
        elif 'BUILD' in files:
            packages.add('' if relative == '.' else relative)
    return packages - {'third_party'}


def umbrella(package):
    """The name of the target and of the header that bring all of a package."""
    return package.rsplit('/', 1)[-1]


def header_targets(package):
    """Header (without ".h") -> the library that has it."""
    targets = {}
    for rule in re.findall(r'^coil_cc_library\(\n(.*?)^\)', read(package + '/BUILD'), re.M | re.S):
        name = re.search(r'name = "([^"]+)"', rule).group(1)
        if name == umbrella(package):
            continue
        headers = re.search(r'\bhdrs = (\[.*?\])', rule, re.S)
        for header in re.findall(r'"([\w/]+)\.h"', headers.group(1)) if headers else []:
            targets[header] = name
    return targets


def for_tests(package):
    """The libraries that are for tests only, and so are not part of any umbrella."""
    rules = re.findall(r'^coil_cc_library\(\n(.*?)^\)', read(package + '/BUILD'), re.M | re.S)
    return {re.search(r'name = "([^"]+)"', rule).group(1) for rule in rules if 'testonly = True' in rule}


def umbrella_deps(package):
    """The targets of the package that its umbrella, //package, brings along; None if there is no umbrella."""
    for rule in re.findall(r'^coil_cc_library\(\n(.*?)^\)', read(package + '/BUILD'), re.M | re.S):
        if 'name = "%s",' % umbrella(package) in rule:
            deps = re.search(r'\bdeps = (\[.*?\])', rule, re.S)
            return set(re.findall(r'":([^"]+)"', deps.group(1))) if deps else set()
    return None


def public_headers(package):
    return sorted(f[:-2] for f in os.listdir(package) if f.endswith('.h'))


def package_list(packages):
    return 'PACKAGES = [\n%s]\n' % ''.join('    "%s",\n' % p for p in sorted(packages))


def compiled_alone(package, header):
    """Whether a source of its own, which includes it before all else, compiles it alone."""
    path = '%s/%s.cc' % (package, header)
    if not os.path.exists(path):
        return False
    first = re.search(r'^#include .*', read(path), re.M)
    return first is not None and first.group() == '#include "coil/%s/%s.h"' % (package, header)


def header_list(package):
    targets = header_targets(package)
    entries = []
    for header in public_headers(package):
        if compiled_alone(package, header):
            continue
        target = targets.get(header, header if header == umbrella(package) else None)
        if target:
            entries.append(header if target == header else '%s:%s' % (header, target))
    return ('coil_header_test(\n    name = "%s_headers_test",\n    headers = [\n%s    ],\n    package = "%s",\n)\n' %
            (package.replace('/', '_'), ''.join('        "%s",\n' % e for e in entries), package))


def umbrella_headers():
    """(header, label) of all that coil/coil.h includes: every public header but the umbrellas of the packages."""
    for package in PACKAGES:
        if package in OUTSIDE_OF_COIL:
            continue
        targets = header_targets(package)
        for header in public_headers(package):
            path = '%s/%s' % (package, header)
            if header in targets and targets[header] not in for_tests(package):
                yield path, '//%s:%s' % (package, targets[header])


def umbrella_includes():
    return '// IWYU pragma: begin_exports\n%s' % ''.join(
        '#include "coil/%s.h"\n' % path for path in sorted(p for p, _ in umbrella_headers()))


def umbrella_target():
    labels = sorted({label for _, label in umbrella_headers()}, key=lambda label: label.replace(':', '!'))
    return ('coil_cc_library(\n    name = "coil",\n    hdrs = ["coil.h"],\n    visibility = ["//visibility:public"],\n    deps = [\n%s    ],\n)\n' %
            ''.join('        "%s",\n' % label for label in labels))


def replace_block(path, pattern, text, fix, problems):
    """The part of the file that matches must be `text`."""
    contents = read(path)
    m = re.search(pattern, contents, re.M | re.S)
    if m and m.group() == text:
        return
    if fix:
        contents = contents[:m.start()] + text + contents[m.end():] if m else contents.rstrip('\n') + '\n\n' + text
        with open(path, 'w', encoding='utf-8') as f:
            f.write(contents)
    else:
        problems.append('%s is not up to date; .ci/check_packages.py --fix writes:\n%s' % (path, text))


def main(fix):
    problems = []
    packages = find_packages()
    replace_block('tests/packages.bzl', r'^PACKAGES = \[\n.*?^\]\n', package_list(packages), fix, problems)
    for package in sorted(packages - {''}):
        if 'coil_sources()' not in read(package + '/BUILD'):
            problems.append('%s/BUILD does not call coil_sources()' % package)
    for package in PACKAGES:
        targets = header_targets(package)
        for header in public_headers(package):
            if header == umbrella(package) and header not in targets:   # the umbrella header, loop/loop.h and so on
                continue
            if header not in targets:
                problems.append('%s/BUILD has no target with %s.h' % (package, header))
        brought = umbrella_deps(package)
        if brought is None:
            problems.append('%s/BUILD has no umbrella target //%s' % (package, package))
        else:
            for header in public_headers(package):
                target = targets.get(header)
                if '//%s:%s' % (package, target) in OUTSIDE_OF_PACKAGE:
                    continue
                if target and target not in brought | for_tests(package):
                    problems.append('the umbrella //%s lacks :%s' % (package, target))
        replace_block('tests/headers/BUILD', r'^coil_header_test\(\n    name = "%s_headers_test".*?^\)\n' % package.replace('/', '_'),
                      header_list(package), fix, problems)
    replace_block('BUILD', r'^coil_cc_library\(\n    name = "coil",.*?^\)\n', umbrella_target(), fix, problems)
    replace_block('coil.h', r'^// IWYU pragma: begin_exports\n(?:#include[^\n]*\n)*', umbrella_includes(), fix, problems)
    for problem in problems:
        print(problem)
    print('packages: %d, %d problems' % (len(packages), len(problems)))
    return 1 if problems else 0


if __name__ == '__main__':
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    sys.exit(main('--fix' in sys.argv[1:]))
