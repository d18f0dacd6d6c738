#!/usr/bin/env python3
"""Counts the googletest cases of one `bazel test`: prints "PASSED FAILED" on stdout, and what failed on stderr.

    count_results.py --configuration NAME --events FILE --log FILE --status N --allowed-skips FILE

The events are those of --build_event_json_file. A target that did not build, that crashed, or that failed without a failed case is one
failure. A case that was skipped or disabled is a failure unless the list of allowed skips names it. So is a warning about our files.
"""

import argparse
import fnmatch
import json
import os
import re
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


def allowed_skips(path):
    """Lines "CONFIGURATION Suite.Case  # reason"; both may hold wildcards."""
    entries = []
    with open(path, encoding='utf-8') as f:
        for line in f:
            if not line.strip() or line.startswith('#'):
                continue
            entry, _, reason = line.partition('#')
            if len(entry.split()) != 2 or not reason.strip():
                sys.exit('%s: not "CONFIGURATION Suite.Case  # reason": %s' % (path, line))
            entries.append(tuple(entry.split()))
    return entries


def count_xml(path, configuration, skips, say):
    """(passed, failed, whether googletest wrote it) of one test.xml."""
    passed = failed = 0
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as e:
        say('no readable result: %s' % e)
        return 0, 1, False
    if root.tag != 'testsuites' or root.get('name') != 'AllTests':
        return 0, 0, False   # a shell test, or the program died; its status decides
    for suite in root.iter('testsuite'):
        for case in suite.iter('testcase'):
            name = '%s.%s' % (case.get('classname') or suite.get('name'), case.get('name'))
            if case.find('failure') is not None:
                failed += 1
                say('failed: %s' % name)
            elif case.find('skipped') is not None or case.get('status') == 'notrun' or case.get('result') in ('skipped', 'suppressed'):
                if not any(fnmatch.fnmatchcase(configuration, c) and fnmatch.fnmatchcase(name, n) for c, n in skips):
                    failed += 1
                    say('skipped, and .ci/allowed_skips does not name it: %s' % name)
            else:
                passed += 1
    return passed, failed, True


def main():
    parser = argparse.ArgumentParser()
    for option in ('--configuration', '--events', '--log', '--allowed-skips'):
        parser.add_argument(option, required=True)
    parser.add_argument('--status', type=int, required=True)
    options = parser.parse_args()
    skips = allowed_skips(options.allowed_skips)

    results, summaries, broken = {}, {}, {}
    try:
        with open(options.events, encoding='utf-8') as f:
            events = [json.loads(line) for line in f if line.strip()]
    except (OSError, ValueError) as e:
        sys.stderr.write('no events of the build: %s\n' % e)
        events = []
    for event in events:
        identity = event.get('id', {})
        if 'testResult' in event and 'testResult' in identity:
            key = identity['testResult']
            for output in event['testResult'].get('testActionOutput', []):
                if output.get('name') == 'test.xml' and output.get('uri', '').startswith('file://'):
                    path = urllib.parse.unquote(output['uri'][len('file://'):])
                    # A flaky test has several attempts; the last one counts.
                    results.setdefault(key['label'], {})[(key.get('run', 1), key.get('shard', 1))] = path
        elif 'testSummary' in event:
            summaries[identity['testSummary']['label']] = event['testSummary'].get('overallStatus')
        elif 'targetCompleted' in identity and ('aborted' in event or not event.get('completed', {}).get('success', False)):
            broken[identity['targetCompleted']['label']] = event.get('aborted', {}).get('reason', 'did not build')

    passed = failed = targets = 0
    for label, paths in sorted(results.items()):
        targets += 1
        target_failed = 0

        def say(text):
            sys.stderr.write('%s: %s: %s\n' % (options.configuration, label, text))

        for path in paths.values():
            p, f, _ = count_xml(path, options.configuration, skips, say)
            passed += p
            target_failed += f
        status = summaries.get(label)
        if status not in ('PASSED', 'FLAKY') and not target_failed:
            target_failed = 1
            say('the test is %s' % status)
        failed += target_failed
    for label, status in sorted(summaries.items()):
        if label not in results and label not in broken and status not in ('PASSED', 'FLAKY'):
            failed += 1
            sys.stderr.write('%s: %s: %s\n' % (options.configuration, label, status))
    for label, reason in sorted(broken.items()):
        # A test that ran and failed is reported as a target that did not complete, too; and what is incompatible is left out on purpose.
        if label not in results and reason not in ('SKIPPED',):
            failed += 1
            sys.stderr.write('%s: %s: %s\n' % (options.configuration, label, reason))

    with open(options.log, encoding='utf-8', errors='replace') as f:
        warnings = sorted({line.strip() for line in f
                           if re.match(r'(?!external/|/usr/)\S+:\d+(:\d+)?: warning: ', line) and '/external/' not in line.split(': warning')[0]})
    if warnings:
        failed += 1
        sys.stderr.write('%s: %d warnings in our files, the first: %s\n' % (options.configuration, len(warnings), warnings[0]))
    # 4 is "no tests found", which is right only where the filters leave none.
    if options.status not in (0,) and not failed:
        failed += 1
        sys.stderr.write('%s: bazel ended with exit code %d\n' % (options.configuration, options.status))
    if targets == 0 and not failed:
        failed += 1
        sys.stderr.write('%s: no test ran\n' % options.configuration)
    sys.stderr.write('%s: %d targets, %d cases passed, %d failed\n' % (options.configuration, targets, passed, failed))
    print(passed, failed)


if __name__ == '__main__':
    main()
