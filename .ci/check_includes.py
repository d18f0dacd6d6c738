#!/usr/bin/env python3
"""Whether each target of C++ names the targets whose headers it includes, and not only what brings them along.

    .ci/check_includes.py    says what is missing; exit code 1 if anything is

Bazel finds a header also through the dependencies of a dependency, until that one changes; a bundle of tests finds what any of them
names. So a target would break by itself, or for a consumer, while everything here builds.
"""

import collections
import os
import re
import sys

RULES = ('coil_cc_library', 'coil_cc_test', 'coil_cc_binary', 'coil_cc_benchmark', 'cc_library', 'cc_test', 'cc_binary')
Target = collections.namedtuple('Target', 'label package sources headers deps')


class Ignored:
    """What a BUILD file calls and this check has no use for: any function, whose result is empty."""

    def __call__(self, *args, **kwargs):
        return self

    def __getattr__(self, name):
        return self

    def __iter__(self):
        return iter(())

    def __add__(self, other):
        return other

    def __radd__(self, other):
        return other


def names_in(code):
    """All names that compiled code uses, those in its comprehensions included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            names |= names_in(constant)
    return names


def absolute(label, package):
    """//package:name for each way to write it."""
    if label.startswith(':'):
        return '//%s%s' % (package, label)
    if label.startswith('//') and ':' not in label:
        return '%s:%s' % (label, label.rsplit('/', 1)[-1])
    return label


def targets_of(path, package):
    """The targets of C++ of one BUILD file, which is read as Python: the part of the language that BUILD files use is the same."""
    targets = []

    def rule(name, srcs=(), hdrs=(), deps=(), **_):
        targets.append(Target('//%s:%s' % (package, name), package, list(srcs), list(hdrs), {absolute(d, package) for d in deps}))

    with open(path, encoding='utf-8') as f:
        code = compile(f.read(), path, 'exec')
    names = {name: rule if name in RULES else Ignored() for name in names_in(code)}
    exec(code, {'__builtins__': {}, **names})  # pylint: disable=exec-used
    return targets


def all_targets():
    found = []
    for folder, folders, files in os.walk('.'):
        relative = os.path.normpath(folder)
        folders[:] = [f for f in folders if not f.startswith(('.', 'bazel-'))]
        if relative == os.path.join('tests', 'consumer'):   # a workspace of its own
            folders[:] = []
        elif 'BUILD' in files:
            found += targets_of(os.path.join(folder, 'BUILD'), '' if relative == '.' else relative)
    return found


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    targets = all_targets()
    owners = collections.defaultdict(set)   # as included -> the targets that have it
    for target in targets:
        for header in target.headers:
            path = os.path.join(target.package, header)
            owners[path].add(target.label)
            owners['coil/' + path].add(target.label)
    missing = 0
    for target in targets:
        for source in target.sources + target.headers:
            path = os.path.join(target.package, source)
            if not os.path.isfile(path):   # made by a rule
                continue
            with open(path, encoding='utf-8') as f:
                includes = re.findall(r'^#include "([^"]+)"', f.read(), re.M)
            for include in includes:
                wanted = owners.get(include, set())
                if wanted and target.label not in wanted and not wanted & target.deps:
                    print('%s: %s includes %s, so it depends on %s' % (target.label, source, include, ' or '.join(sorted(wanted))))
                    missing += 1
    print('%d targets, %d dependencies missing' % (len(targets), missing))
    return 1 if missing or len(targets) < 100 else 0


if __name__ == '__main__':
    sys.exit(main())
