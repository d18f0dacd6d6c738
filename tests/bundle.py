#!/usr/bin/env python3
"""Joins the sources of several tests to one, for coil_test_bundles() in coil.bzl: bundle.py OUTPUT SOURCE...

Each source keeps its own names: its unnamed namespace gets the name of its file. Messages name the lines of the sources.
"""

import os
import re
import sys


def renamed(path):
    """The text of a test, with the name of its file in the place of its unnamed namespace."""
    with open(path, encoding='utf-8') as f:
        text = f.read()
    name = re.sub(r'\W', '_', os.path.splitext(os.path.basename(path))[0])
    text, count = re.subn(r'^namespace \{$', 'namespace %s {' % name, text, flags=re.M)
    if count != 1:
        sys.exit('%s: a test of a bundle has one unnamed namespace, not %d' % (path, count))
    if re.search(r'^#define ', text, flags=re.M):
        sys.exit('%s: a test of a bundle defines no macro, which the tests behind it would see' % path)
    return '#line 1 "%s"\n%s' % (path, text)


def main():
    with open(sys.argv[1], 'w', encoding='utf-8') as f:
        f.write('\n'.join(renamed(path) for path in sys.argv[2:]))


if __name__ == '__main__':
    main()
