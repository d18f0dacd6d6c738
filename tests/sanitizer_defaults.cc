// Options of the sanitizers, compiled into every test, so that a test that is
// run by hand has them too. The environment (ASAN_OPTIONS and so on) still
// overrides them. Without a sanitizer nobody calls these functions.

extern "C" const char* __asan_default_options();
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __ubsan_default_options();

extern "C" __attribute__((used)) const char* __asan_default_options() {
  // The first is off by default in g++; the second because each throw looks
  // through that whole stack.
  return "detect_stack_use_after_return=1:max_uar_stack_size_log=16";
}

extern "C" __attribute__((used)) const char* __ubsan_default_options() {
  return "print_stacktrace=1";
}

extern "C" __attribute__((used)) const char* __tsan_default_suppressions() {
  // The count of an exception_ptr lives in libstdc++, which is not
  // instrumented.
  return "race:__exception_ptr\n";
}
