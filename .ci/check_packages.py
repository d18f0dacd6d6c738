#!/usr/bin/env python3
"""Whether no package and no public header is forgotten by the tests that read all sources."""

import os
import re
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
problems = []

packages = set()
for folder, folders, files in os.walk('.'):
    relative = os.path.normpath(folder)
    folders[:] = [f for f in folders if not f.startswith(('.', 'bazel-'))]
    if relative == 'tests/consumer':   # a workspace of its own
        folders[:] = []
        continue
    if 'BUILD' in files or 'BUILD.bazel' in files:
        packages.add('' if relative == '.' else relative)

listed = set(re.findall(r'^    "([^"]*)",', open('tests/packages.bzl').read(), re.M))
for package in sorted(packages - listed - {'third_party'}):
    problems.append('tests/packages.bzl does not list "%s"' % package)
for package in sorted(listed - packages):
    problems.append('tests/packages.bzl lists "%s", which is no package' % package)
for package in sorted(packages - {'', 'third_party'}):
    if 'coil_sources()' not in open(os.path.join(package, 'BUILD')).read():
        problems.append('%s/BUILD does not call coil_sources()' % package)

tested = open('tests/headers/BUILD').read()
for package in ('loop', 'task', 'timers', 'sync', 'net'):
    m = re.search(r'package = "%s",\s*headers = \[(.*?)\]' % package, tested, re.S)
    names = set(n.split(':')[0] for n in re.findall(r'"([^"]+)"', m.group(1))) if m else set()
    headers = {f[:-2] for f in os.listdir(package) if f.endswith('.h')}
    for header in sorted(headers - names):
        problems.append('tests/headers/BUILD does not test %s/%s.h' % (package, header))
    build = open(os.path.join(package, 'BUILD')).read()
    for header in sorted(headers):
        if '"%s.h"' % header not in build:
            problems.append('%s/BUILD has no target with %s.h' % (package, header))

for problem in problems:
    print(problem)
print('packages: %d, %d problems' % (len(packages), len(problems)))
sys.exit(1 if problems else 0)
