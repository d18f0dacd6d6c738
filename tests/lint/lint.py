#!/usr/bin/env python3
"""The project's lint: coroutine shapes that g++ 12 miscompiles, dropped guards, and the house style that a machine can check.

    tests/lint/lint.py [--root DIR] FILE...     prints "file:line: rule: text" for each finding; exit code 1 if there is one
    tests/lint/lint.py --tree                   the same for every source file below the root (--runfiles: in a Bazel test)
    tests/lint/lint.py --samples DIR            the lint's own test: samples mark the lines that must be found, "// BAD: rule"

A finding that is right as it stands is excused on its own line or on the line above it, with the reason:

    // lint: allow temporary-lambda (captures one int)

It reads C++ as tokens, without types, so that it needs no compiler; CONTRIBUTING.md lists the rules.
"""

import os
import re
import sys

PACKAGES = ('loop', 'task', 'timers', 'sync', 'net', 'net/tls')
HEADINGS = ('Ordering', 'Cancellation', 'Threads', 'Lifetime')
LANGUAGE = 'loop/internal/language.h'
MAX_HEADER_LINES = 300
MAX_FILE_LINES = 800

# Probes of compilers and samples of mistakes hold the forbidden shapes on purpose.
SHAPES_ALLOWED_IN = ('tests/compiler/', 'tests/compile_fail/', 'tests/lint/samples/')

RULES = {
    'temporary-lambda': 'a lambda that captures by value, as a temporary in a full expression with co_await: g++ 12 destroys its '
                        'captures twice; name the lambda first',
    'braced-argument': 'a braced argument in a full expression with co_await: g++ 12 destroys it twice or rejects it; '
                       'name the value first',
    'aggregate-awaiter': 'co_await of Type{...}: g++ 12 destroys an aggregate twice; give it a constructor and use parentheses',
    'ternary': 'a conditional expression in a full expression with co_await: g++ 12 destroys an operand of class type twice; '
               'use if and else',
    'co-return-in-catch': 'co_return in a catch block crashes g++ 12: set a local and return after the block',
    'statement-expression': 'co_await in a statement expression crashes g++ 12',
    'dropped-guard': 'the guard that this returns is dropped at once, so nothing is held; keep it in a variable',
    'invoked-lambda': 'the closure dies before the coroutine does: pass the lambda itself, without calling it',
    'fence': 'atomic_thread_fence is not understood by ThreadSanitizer: put the order on the atomics',
    'long-header': 'a header has more than %d lines' % MAX_HEADER_LINES,
    'long-file': 'a file has more than %d lines' % MAX_FILE_LINES,
    'heading': 'a public header lacks one of the headings ' + ', '.join(HEADINGS),
    'example': 'a public header lacks an example ("// Example:") in its top comment',
    'todo': 'work left for later in the code',
    'sleep-in-test': 'a test that sleeps: use the virtual clock',
    'fixed-port': 'a fixed port: bind port 0 and ask which one it became',
    'include': 'headers of coil are included as "coil/..."',
    'language': 'a public header that does not include %s, neither directly nor through another of coil\'s' % LANGUAGE,
    'guard-name': 'the include guard is not COIL_<PATH>_H_',
}

TOKEN = re.compile(r'''
    (?P<space>[ \t\r\f\v]+)
  | (?P<newline>\n)
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<raw>(?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)")
  | (?P<string>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
  | (?P<char>(?:u8|[uUL])?'(?:\\.|[^'\\\n])+')
  | (?P<number>\.?\d(?:[eEpP][+-]|'(?=[0-9a-fA-F])|[\w.])*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<punct>->\*?|::|\.\.\.|<=>|&&|\|\||[-+*/%&|^=!<>]=|\+\+|--|.)
''', re.X | re.S)

KEYWORDS_BEFORE_OPERAND = {'return', 'co_return', 'co_await', 'co_yield', 'case', 'throw', 'else', 'do', 'in', 'and', 'or', 'not'}


class Token:
    __slots__ = ('kind', 'text', 'line', 'match', 'brace', 'lambda_')

    def __init__(self, kind, text, line):
        self.kind, self.text, self.line = kind, text, line
        self.match = None      # index of the other bracket
        self.brace = None      # of "{": 'block' or 'list'
        self.lambda_ = False   # of "[": begins a lambda


class Findings:
    def __init__(self, path, lines):
        self.path, self.lines, self.found = path, lines, []

    def add(self, line, rule, text=None, last_line=None):
        pattern = re.compile(r'//\s*lint:\s*allow\s+([\w, -]*?)\s*\((.+)')
        for n in range(max(1, line - 1), (last_line or line) + 1):
            if n <= len(self.lines):
                excuse = pattern.search(self.lines[n - 1])
                if excuse and rule in re.split(r'[,\s]+', excuse.group(1)):
                    return
        self.found.append((line, rule, text or RULES[rule]))


def tokenize(text):
    """The tokens without comments and preprocessor directives (whose continued lines go with them)."""
    tokens, line, at, line_start = [], 1, 0, True
    while at < len(text):
        m = TOKEN.match(text, at)
        kind, value = m.lastgroup, m.group()
        if kind == 'delimiter':
            kind = 'raw'
        if kind == 'punct' and value == '#' and line_start:
            end = at
            while True:
                end = text.find('\n', end)
                if end < 0:
                    end = len(text)
                    break
                if text[end - 1] != '\\':
                    break
                end += 1
            value = text[at:end]
            line += value.count('\n')
            at = end
            continue
        if kind == 'newline':
            line_start = True
        elif kind not in ('space', 'comment'):
            line_start = False
            tokens.append(Token('string' if kind == 'raw' else kind, value, line))
        line += value.count('\n')
        at = m.end()
    return tokens


def classify(tokens):
    """Pairs the brackets; tells lambdas from subscripts and blocks from braced lists. Returns False if brackets do not pair."""
    stack = []
    for i, t in enumerate(tokens):
        if t.kind != 'punct':
            continue
        if t.text in '([{':
            before = tokens[i - 1] if i else None
            if t.text == '[':
                operand = before is not None and (
                    before.kind in ('number', 'string') or before.text in (')', ']') or
                    (before.kind == 'name' and before.text not in KEYWORDS_BEFORE_OPERAND))
                attribute = (i + 1 < len(tokens) and tokens[i + 1].text == '[') or (before is not None and before.text == '[')
                t.lambda_ = not operand and not attribute
            elif t.text == '{':
                t.brace = brace_kind(tokens, i, stack)
            stack.append(i)
        elif t.text in ')]}':
            if not stack:
                return False
            opening = stack.pop()
            if tokens[opening].text + t.text not in ('()', '[]', '{}'):
                return False
            t.match, tokens[opening].match = opening, i
    return not stack


def brace_kind(tokens, i, stack):
    if i == 0:
        return 'block'
    before = tokens[i - 1]
    parent = tokens[stack[-1]] if stack else None
    in_list = parent is not None and (parent.text in '([' or parent.brace == 'list')
    if before.text in ('}', ';', ':'):
        return 'list' if in_list and before.text != ';' else 'block'
    if before.text == '{':
        return 'list' if in_list else 'block'
    if before.text == ')':
        return 'block'
    if before.text == ']':
        return 'block' if before.match is not None and tokens[before.match].lambda_ else 'list'
    if before.kind == 'string':
        return 'block' if i > 1 and tokens[i - 2].text == 'extern' else 'list'
    if before.text in ('else', 'do', 'try', 'const', 'noexcept', 'mutable', 'override', 'final', '&', '&&') and before.text not in ('&', '&&'):
        return 'block'
    if before.kind == 'name' and before.text in KEYWORDS_BEFORE_OPERAND:
        return 'list'
    if before.kind == 'name' or before.text in ('>', '*', '&', '&&', '...'):
        # A type and an initializer, the head of a class or namespace, or a function with "-> type".
        j = i - 1
        while j >= 0:
            t = tokens[j]
            if t.text in ('}', ')', ']') and t.match is not None:
                if t.text == ')' and j + 1 < i and tokens[j + 1].text in ('->', 'requires', 'const', 'noexcept', 'mutable'):
                    return 'block'
                if t.text == '}' and tokens[t.match].brace == 'block':
                    break
                j = t.match - 1
                continue
            if t.text == '->':
                j -= 1
                if tokens[j].text == ')' or tokens[j].text in ('const', 'noexcept', 'mutable'):
                    return 'block'
                continue
            if t.text in (';', '{', '(', '[', ',', '=', '?') or (t.kind == 'name' and t.text in KEYWORDS_BEFORE_OPERAND):
                if t.text == ',':   # may be within template arguments or a list of bases
                    j -= 1
                    continue
                break
            if t.text in ('namespace', 'class', 'struct', 'union', 'enum', 'concept'):
                return 'block'
            j -= 1
        return 'list'
    return 'list'


class Block:
    """The inside of a pair of block braces (or the file): statements, each a list of tokens; blocks within are children of their own."""

    def __init__(self, catch):
        self.catch = catch          # in a catch block of this function
        self.statements = [[]]


def split(tokens):
    """All blocks of the file, the statements of each without what stands in blocks within them."""
    root = Block(False)
    blocks, stack = [root], []          # stack of (block, inside expression)
    block = root
    i = 0
    while i < len(tokens):
        t = tokens[i]
        if t.kind == 'punct' and t.brace == 'block':
            is_lambda = lambda_body(tokens, i)
            catch = block.catch and not is_lambda
            before = tokens[i - 1] if i else None
            if before is not None and before.text == ')' and before.match and tokens[before.match - 1].text == 'catch':
                catch = True
            inner = Block(catch)
            blocks.append(inner)
            stack.append((block, is_lambda))
            block = inner
        elif t.text == '}' and t.kind == 'punct' and t.match is not None and tokens[t.match].brace == 'block':
            block, is_lambda = stack.pop()
            # A lambda's body is a part of an expression; any other block ends its statement.
            if not is_lambda:
                block.statements.append([])
        elif t.text == ';' and t.kind == 'punct':
            block.statements[-1].append(t)
            block.statements.append([])
        else:
            block.statements[-1].append(t)
        i += 1
    return blocks


def lambda_body(tokens, i):
    """Whether the block brace at i opens the body of a lambda."""
    j = i - 1
    while j >= 0:
        t = tokens[j]
        if t.text == ']':
            return t.match is not None and tokens[t.match].lambda_
        if t.text == ')':
            j = t.match - 1
            continue
        if t.text == '}' or t.text in (';', '{', '(', ',', '='):
            return False
        j -= 1
    return False


def captures_by_value(tokens, opening):
    """Of the lambda at "[": whether it captures something other than `this` by value."""
    depth, first, value = 0, True, False
    i, end = opening + 1, tokens[opening].match
    while i < end:
        t = tokens[i]
        if first:
            first = False
            if t.text == '=':
                value = True
            elif t.text == '&':
                i += 1
                if i < end and tokens[i].text == ',':
                    first = True
                # "&name" and "&name = expression" are references too.
            elif t.text == 'this':
                pass
            else:
                value = True
        elif t.text in '([{' and t.match:
            i = t.match
        elif t.text == ',' and depth == 0:
            first = True
        i += 1
    return value


def trivial_option_members(texts):
    """Names of the members of structs of which some file asserts that they are trivially destructible."""
    asserted, members = set(), set()
    for text in texts:
        asserted.update(re.findall(r'is_trivially_destructible_v<\s*(?:\w+::)*(\w+)\s*>', text))
    for text in texts:
        for name in asserted:
            for body in re.findall(r'struct\s+' + name + r'\s*(?:final\s*)?\{(.*?)\n\s*\};', text, re.S):
                members.update(re.findall(r'\b(\w+)\s*(?:=[^;]*|\{[^;]*\})?;', re.sub(r'//[^\n]*', '', body)))
    return members


def rate_limiters_of(text):
    """Names of the variables that are rate limiters, whose Acquire() returns no guard."""
    return set(re.findall(r'\bRateLimiter\s*>?\s*[&*]?\s+(\w+)', text) +
               re.findall(r'\b(\w+)\s*=\s*std::make_(?:shared|unique)<(?:\w+::)*RateLimiter>', text))


LITERALS = {'true', 'false', 'nullptr'}


def scalar(token):
    return token.kind in ('number', 'char') or token.text in LITERALS


def check_ternary(statement, findings):
    for k, t in enumerate(statement):
        if t.text != '?' or t.kind != 'punct':
            continue
        depth, colon = 0, None
        for m in range(k + 1, len(statement)):
            text = statement[m].text
            if statement[m].kind == 'punct':
                if text in '([{':
                    depth += 1
                elif text in ')]}':
                    depth -= 1
                elif text == ':' and depth == 0:
                    colon = m
                    break
        if colon is None:
            continue
        left = statement[k + 1:colon]
        right = statement[colon + 1:colon + 3]
        left_scalar = len(left) == 1 and scalar(left[0])
        right_scalar = len(right) > 0 and scalar(right[0]) and (len(right) == 1 or right[1].text in (')', ';', ',', '}'))
        both_strings = len(left) == 1 and left[0].kind == 'string' and right and right[0].kind == 'string'
        if not (left_scalar or right_scalar or both_strings):
            findings.add(t.line, 'ternary')


def check_shapes(tokens, findings, trivial_members, rate_limiters):
    index = {id(t): i for i, t in enumerate(tokens)}
    for block in split(tokens):
        for statement in block.statements:
            if not statement:
                continue
            first, last = statement[0].line, statement[-1].line
            names = {t.text for t in statement if t.kind == 'name'}
            check_dropped_guard(statement, findings, rate_limiters)
            if block.catch and 'co_return' in names:
                line = next(t.line for t in statement if t.text == 'co_return')
                findings.add(line, 'co-return-in-catch')
            for t in statement:
                if t.kind == 'punct' and t.text == '[' and t.lambda_:
                    check_invoked_lambda(tokens, index[id(t)], findings)
            if 'co_await' not in names and 'co_yield' not in names:
                continue
            check_ternary(statement, findings)
            for k, t in enumerate(statement):
                if t.kind != 'punct':
                    continue
                i = index[id(t)]
                if t.text == '[' and t.lambda_ and captures_by_value(tokens, i):
                    findings.add(t.line, 'temporary-lambda', last_line=last)
                elif t.text == '{' and t.brace == 'list':
                    check_brace(tokens, i, findings, trivial_members)
    check_statement_expressions(tokens, findings)


def harmless_options(inside, trivial_members):
    """Whether a braced list is {.a = x, .b = y} of an options struct that is known to be trivially destructible."""
    designators = [inside[k + 1].text for k, t in enumerate(inside[:-1])
                   if t.text == '.' and (k == 0 or inside[k - 1].text == ',')]
    return bool(designators) and all(name in trivial_members for name in designators)


def check_brace(tokens, i, findings, trivial_members):
    inside = tokens[i + 1:tokens[i].match]
    before = tokens[i - 1]
    if before.text in ('(', ',') and before.kind == 'punct':
        if not inside or any(t.text == ';' for t in inside):   # the latter: a statement expression, found elsewhere
            return
        if not harmless_options(inside, trivial_members):
            findings.add(tokens[i].line, 'braced-argument')
        return
    # Options{...} and co_await Awaiter{...}.
    j = i - 1
    if tokens[j].text == '>':
        depth = 0
        while j >= 0:
            if tokens[j].text == '>':
                depth += 1
            elif tokens[j].text == '<':
                depth -= 1
                if depth == 0:
                    j -= 1
                    break
            j -= 1
    if tokens[j].kind != 'name':
        return
    type_name = tokens[j].text
    while j >= 2 and tokens[j - 1].text == '::':
        j -= 2
    if j >= 1 and tokens[j - 1].text == 'co_await' and inside:
        findings.add(tokens[i].line, 'aggregate-awaiter')
    elif re.search(r'(Options|Opts)$', type_name) and inside:
        if not harmless_options(inside, trivial_members):
            findings.add(tokens[i].line, 'braced-argument')


def check_dropped_guard(statement, findings, rate_limiters):
    s = [t for t in statement if t.text != ';']
    # Labels and the heads of one-line if, while and for stand before the expression.
    start = 0
    while start < len(s):
        if s[start].text in ('if', 'while', 'for', 'switch') and start + 1 < len(s):
            depth, k = 0, start + 1
            while k < len(s):
                if s[k].text == '(':
                    depth += 1
                elif s[k].text == ')':
                    depth -= 1
                    if depth == 0:
                        break
                k += 1
            start = k + 1
        elif s[start].text in ('else', 'do'):
            start += 1
        else:
            break
    s = s[start:]
    awaited = bool(s) and s[0].text == 'co_await'
    if awaited:
        s = s[1:]
    if len(s) < 5 or s[-1].text != ')' or s[0].kind != 'name':
        return
    # receiver . Name ( arguments )
    depth, k = 0, len(s) - 1
    while k >= 0:
        if s[k].text == ')':
            depth += 1
        elif s[k].text == '(':
            depth -= 1
            if depth == 0:
                break
        k -= 1
    if k < 3 or s[k - 2].text not in ('.', '->'):
        return
    name = s[k - 1].text
    if any(t.text in ('=', 'return', 'co_return', 'auto') for t in s[:k]) or any(
            s[m].kind == 'name' and s[m + 1].kind == 'name' for m in range(k - 2)):
        return
    if not re.match(r'(Try)?Acquire(Read|Write|Shared|Exclusive|Reader|Writer)?$', name):
        return
    if name.startswith('Acquire') and not awaited:
        return   # an awaiter that is not awaited is [[nodiscard]]
    if s[k - 3].text in rate_limiters:
        return
    findings.add(s[0].line, 'dropped-guard')


def check_invoked_lambda(tokens, i, findings):
    if tokens[i].match == i + 1:
        return   # captures nothing
    j = tokens[i].match + 1
    while j < len(tokens) and not (tokens[j].text == '{' and tokens[j].brace == 'block'):
        if tokens[j].text in (';', ')', '}'):
            return
        j = tokens[j].match + 1 if tokens[j].text == '(' and tokens[j].match else j + 1
    if j >= len(tokens) or tokens[j].match is None:
        return
    result = ' '.join(t.text for t in tokens[tokens[i].match + 1:j])
    body = tokens[j + 1:tokens[j].match]
    if not re.search(r'-> .*\bCo\b', result) and not any(t.text in ('co_await', 'co_return', 'co_yield') for t in body):
        return
    after = tokens[j].match + 1
    # The closure lives to the end of the full expression: long enough for co_await, and for what runs the coroutine to its end.
    if i > 1 and (tokens[i - 1].text == 'co_await' or tokens[i - 2].text in ('Run', 'RunUntilComplete')):
        return
    if after < len(tokens) and tokens[after].text == '(':
        findings.add(tokens[i].line, 'invoked-lambda')


def check_statement_expressions(tokens, findings):
    for i, t in enumerate(tokens):
        if t.text == '{' and t.kind == 'punct' and i and tokens[i - 1].text == '(' and t.match:
            inside = tokens[i + 1:t.match]
            if tokens[min(t.match + 1, len(tokens) - 1)].text == ')' and any(x.text == ';' for x in inside):
                for x in inside:
                    if x.text == 'co_await':
                        findings.add(x.line, 'statement-expression')


def is_public_header(path):
    """The umbrella header of a package, loop/loop.h and so on, only includes others, and does not count."""
    package = path.split('/')[0]
    return path.endswith('.h') and len(path.split('/')) == 2 and package in PACKAGES and path != '%s/%s.h' % (package, package)


def reaches_language(path, texts, seen):
    """Whether a header includes LANGUAGE, directly or through headers in `texts`."""
    if path == LANGUAGE:
        return True
    seen.add(path)
    included = re.findall(r'^#include "coil/([^"]+)"', texts.get(path, ''), re.M)
    return any(reaches_language(header, texts, seen) for header in included if header not in seen)


def check_lines(path, lines, findings):
    header = path.endswith('.h')
    package = path.split('/')[0]
    public = is_public_header(path)
    if header and len(lines) > MAX_HEADER_LINES:
        findings.add(len(lines), 'long-header', '%d lines; a header may have %d' % (len(lines), MAX_HEADER_LINES))
    if not header and len(lines) > MAX_FILE_LINES:
        findings.add(len(lines), 'long-file', '%d lines; a file may have %d' % (len(lines), MAX_FILE_LINES))
    text = '\n'.join(lines)
    if public:
        for heading in HEADINGS:
            if not re.search(r'^\s*//\s*(\*\*)?' + heading + r'\b(\*\*)?\s*:', text, re.M):
                findings.add(1, 'heading', 'no heading "%s:" in the comments of a public header' % heading)
        if not re.search(r'^// Example\b.*:$', text, re.M):
            findings.add(1, 'example')
    if header and package in PACKAGES:
        guard = 'COIL_' + re.sub(r'[/.]', '_', path).upper() + '_'
        if not re.search(r'^#ifndef %s$' % guard, text, re.M):
            findings.add(1, 'guard-name', 'the include guard is not %s' % guard)
    in_test = path.startswith('tests/')
    for n, line in enumerate(lines, 1):
        if re.search(r'\b(TODO|FIXME|XXX)\b', line):
            findings.add(n, 'todo')
        if re.match(r'\s*#\s*include\s*"(%s)/' % '|'.join(PACKAGES), line):
            findings.add(n, 'include')
        code = re.sub(r'//.*', '', line)
        if re.search(r'\batomic_(thread|signal)_fence\b', code):
            findings.add(n, 'fence')
        if in_test and re.search(r'\b(sleep_for|sleep_until|usleep|nanosleep|SleepFor)\s*\(|(?<![\w.>:])sleep\s*\(', code):
            findings.add(n, 'sleep-in-test')
        if in_test or package == 'examples':
            if (re.search(r'\b\w*port\w*\s*(=|\{|\()\s*[1-9]\d{2,4}\b', code, re.I) or
                    re.search(r'\bhtons\(\s*[1-9]', code) or
                    re.search(r'\b(StartServer|OpenConnection|Connect|Listen|Bind)\(.*"[^"]*:[1-9]\d*"', code) or
                    any(int(number) < 65536 for number in re.findall(
                        r'\b(?:StartServer|OpenConnection|Connect|Listen|Bind)\(.*,\s*([1-9]\d{3,4})\s*[,)]', code))):
                findings.add(n, 'fixed-port')


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        return f.read()


def lint(root, paths):
    texts = {path: read(root, path) for path in paths}
    trivial_members = trivial_option_members(list(texts.values()))
    results = []
    for path, text in sorted(texts.items()):
        lines = text.split('\n')
        if lines and not lines[-1]:
            lines.pop()
        findings = Findings(path, lines)
        check_lines(path, lines, findings)
        if is_public_header(path) and LANGUAGE in texts and not reaches_language(path, texts, set()):
            findings.add(1, 'language')
        if not path.startswith(SHAPES_ALLOWED_IN):
            tokens = tokenize(text)
            if classify(tokens):
                rate_limiters = rate_limiters_of(text)
                check_shapes(tokens, findings, trivial_members, rate_limiters)
            elif 'co_await' in text:
                findings.add(1, 'statement-expression', 'the brackets of this file do not pair, so it cannot be checked')
        results += [(path, line, rule, text) for line, rule, text in sorted(set(findings.found))]
    return results


def check_samples(folder):
    """Every line of the samples marked "// BAD: rule" must be found under that rule, and no other line."""
    failures, count = [], 0
    for name in sorted(os.listdir(folder)):
        if not name.endswith(('.cc', '.h')):
            continue
        text = read(folder, name)
        as_path = re.search(r'// lint as: (\S+)', text)
        as_path = as_path.group(1) if as_path else 'examples/' + name
        wanted = set()
        for n, line in enumerate(text.split('\n'), 1):
            for rule in re.findall(r'// BAD: ([\w-]+)', line):
                assert rule in RULES, rule
                wanted.add((n, rule))
        # The lint reads the sample under the path that it plays.
        lines = text.split('\n')
        findings = Findings(as_path, lines)
        check_lines(as_path, lines, findings)
        tokens = tokenize(text)
        if not classify(tokens):
            failures.append('%s: brackets do not pair' % name)
        check_shapes(tokens, findings, trivial_option_members([text]),
                     rate_limiters_of(text))
        if is_public_header(as_path) and not reaches_language(as_path, {as_path: text}, set()):
            findings.add(1, 'language')
        found = {(line, rule) for line, rule, _ in findings.found}
        count += len(wanted)
        failures += ['%s:%d: %s was not found' % (name, n, rule) for n, rule in sorted(wanted - found)]
        failures += ['%s:%d: %s was found, wrongly' % (name, n, rule) for n, rule in sorted(found - wanted)]
    seen = set()
    for name in os.listdir(folder):
        seen.update(re.findall(r'// BAD: ([\w-]+)', read(folder, name)))
    for rule in RULES:
        if rule not in seen and rule not in ('long-header', 'long-file'):
            failures.append('no sample for the rule ' + rule)
    for failure in failures:
        print(failure)
    print('lint samples: %d marked lines, %d wrong' % (count, len(failures)))
    return not failures


def tree_files(root):
    for folder, folders, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if not f.startswith(('.', 'bazel-')) and f != 'external' and
                      os.path.normpath(os.path.join(relative, f)) != 'tests/lint/samples']
        for f in files:
            if f.endswith(('.h', '.cc')):
                yield os.path.normpath(os.path.join(relative, f))


def main(args):
    root = '.'
    if args[:1] == ['--root']:
        root, args = args[1], args[2:]
    if args[:1] == ['--samples']:
        return 0 if check_samples(args[1]) else 1
    if args[:1] in (["--tree"], ["--runfiles"]):
        args = list(tree_files(root))
    paths = [a for a in args if a.endswith(('.h', '.cc')) and 'tests/lint/samples/' not in a]
    results = lint(root, paths)
    for path, line, rule, text in results:
        print('%s:%d: %s: %s' % (path, line, rule, text))
    print('lint: %d files, %d findings' % (len(paths), len(results)))
    return 1 if results else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
