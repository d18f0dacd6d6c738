// coil/loop/internal/language.h
//
// What coil asks of the compiler. Every header includes this, directly or
// through another, so that whoever forgets a flag is told which.

#ifndef COIL_LOOP_INTERNAL_LANGUAGE_H_
#define COIL_LOOP_INTERNAL_LANGUAGE_H_

#if __cplusplus < 202002L || !defined(__cpp_impl_coroutine)
#error \
    "coil needs C++20 coroutines: compile with -std=c++20 (g++ 12+, clang 16+)"
#endif
#if !defined(__cpp_exceptions)
#error "coil needs exceptions: do not compile with -fno-exceptions"
#endif

#endif  // COIL_LOOP_INTERNAL_LANGUAGE_H_
