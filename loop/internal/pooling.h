// coil/loop/internal/pooling.h
//
// COIL_FRAME_POOL: 1 where freed memory is kept for the next use; 0 under the
// sanitizers that want to see every block come and go.

#ifndef COIL_LOOP_INTERNAL_POOLING_H_
#define COIL_LOOP_INTERNAL_POOLING_H_

#if defined(__SANITIZE_ADDRESS__)
#define COIL_FRAME_POOL 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define COIL_FRAME_POOL 0
#endif
#endif
#ifndef COIL_FRAME_POOL
#define COIL_FRAME_POOL 1
#endif

#endif  // COIL_LOOP_INTERNAL_POOLING_H_
