#!/bin/sh
# check.sh LOG SOURCE [REGEX]: whether the compiler's output in LOG is the failure that is expected, by REGEX or by the lines
# "// EXPECT-ERROR: regex" of SOURCE. Lines "// EXPECT-ERROR-GCC-12: regex" and "// EXPECT-ERROR-CLANG: regex" count for that compiler
# only; if all lines are for others, SOURCE must compile.
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
  "exit code: "*) ;;
  *) fail "no result" ;;
esac
compiler=$(sed -n 's|^compiler: ||p' "$log")
case $compiler in
  *clang*) name=CLANG ;;
  *" 12."*) name=GCC-12 ;;
  *) name=OTHER ;;
esac
if [ -n "$3" ]; then
  printf '%s\n' "$3" >"$expectations"
else
  grep -q '// EXPECT-ERROR' "$source" || fail "nothing says what is expected (// EXPECT-ERROR: regex)"
  sed -n "s#^.*// EXPECT-ERROR\(-$name\)\{0,1\}: ##p" "$source" >"$expectations"
fi
if [ ! -s "$expectations" ]; then
  [ "$last" = "exit code: 0" ] || fail "does not compile with $compiler, which should take it"
  echo "$source: compiles with $compiler"
  exit 0
fi
[ "$last" != "exit code: 0" ] || fail "compiles, but must not"
while IFS= read -r expected; do
  grep -Eq -e "$expected" "$log" || fail "the message lacks: $expected"
done <"$expectations"
echo "$source: fails as it must"
