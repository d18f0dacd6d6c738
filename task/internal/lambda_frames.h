// coil/task/internal/lambda_frames.h
//
// g++ (12 and 16 were seen) gives the frame of a coroutine template external
// linkage even where it is instantiated with the type of a lambda, and warns of
// that in the file of the user. Coroutine templates that are given lambdas
// stand between these two.

#ifndef COIL_TASK_INTERNAL_LAMBDA_FRAMES_H_
#define COIL_TASK_INTERNAL_LAMBDA_FRAMES_H_

#if defined(__GNUC__) && !defined(__clang__)
#define COIL_LAMBDA_FRAMES_BEGIN \
  _Pragma("GCC diagnostic push") \
      _Pragma("GCC diagnostic ignored \"-Wsubobject-linkage\"")
#define COIL_LAMBDA_FRAMES_END _Pragma("GCC diagnostic pop")
#else
#define COIL_LAMBDA_FRAMES_BEGIN
#define COIL_LAMBDA_FRAMES_END
#endif

#endif  // COIL_TASK_INTERNAL_LAMBDA_FRAMES_H_
