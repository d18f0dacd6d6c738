#!/bin/sh
# check.sh LOG SOURCE [REGEX]: whether the compiler's output in LOG is the failure that is expected, by REGEX or by the lines
# "// EXPECT-ERROR: regex" of SOURCE.
log=$1
source=$2
expectations=${TEST_TMPDIR:-/tmp}/expected.$$
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
if [ -n "$3" ]; then
  printf '%s\n' "$3" >"$expectations"
else
  sed -n 's|^.*// EXPECT-ERROR: ||p' "$source" >"$expectations"
fi
[ -s "$expectations" ] || fail "nothing says what is expected (// EXPECT-ERROR: regex)"
while IFS= read -r expected; do
  grep -Eq -e "$expected" "$log" || fail "the message lacks: $expected"
done <"$expectations"
echo "$source: fails as it must"
