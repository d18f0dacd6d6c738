#!/bin/sh
# check.sh LOG SOURCE: whether the compiler's output in LOG is the failure that SOURCE announces with "// EXPECT-ERROR: regex".
log=$1
source=$2
fail() {
  echo "$source: $1"
  echo "---- the compiler said:"
  cat "$log"
  exit 1
}
last=$(tail -n 1 "$log")
case $last in
  "does not compile without the mistake") fail "does not compile even without the mistake" ;;
  "exit code: 0") fail "compiles, but must not" ;;
  "exit code: "*) ;;
  *) fail "no result" ;;
esac
grep -q '// EXPECT-ERROR: ' "$source" || fail "says nothing of what it expects (// EXPECT-ERROR: regex)"
sed -n 's|^.*// EXPECT-ERROR: ||p' "$source" >"${TEST_TMPDIR:-/tmp}/expected.$$"
while IFS= read -r expected; do
  grep -Eq -e "$expected" "$log" || fail "the message lacks: $expected"
done <"${TEST_TMPDIR:-/tmp}/expected.$$"
echo "$source: fails as it must"
