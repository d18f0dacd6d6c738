// coil/loop/internal/io_uring_abi.h
//
// What the kernel and a program agree upon for io_uring, as far as coil uses
// it: the layout of the rings and the numbers. The kernel's own header is not
// included, because the one that is installed is often older than the kernel
// that runs; a test compares the two.
//
// Threads: does not apply.
// Lifetime: does not apply.

#ifndef COIL_LOOP_INTERNAL_IO_URING_ABI_H_
#define COIL_LOOP_INTERNAL_IO_URING_ABI_H_

#include <cstdint>

namespace coil::internal {

// An operation that is handed to the kernel.
struct UringSqe {
  uint8_t opcode;
  uint8_t flags;
  uint16_t ioprio;
  int32_t fd;
  uint64_t offset;
  uint64_t address;
  uint32_t length;     // of a poll: its flags; of an open: the permissions
  uint32_t operation;  // of a poll: the events; otherwise flags
  uint64_t user_data;
  uint16_t buffers;  // the group of buffers to receive into
  uint16_t personality;
  uint32_t splice_fd;
  uint64_t rest[2];
};
static_assert(sizeof(UringSqe) == 64);

// How one has ended, or what one that goes on has to tell.
struct UringCqe {
  uint64_t user_data;
  int32_t result;
  uint32_t flags;
};
static_assert(sizeof(UringCqe) == 16);

// Where in the shared memory the parts of the two rings are.
struct UringSqOffsets {
  uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, reserved;
  uint64_t user_address;
};
struct UringCqOffsets {
  uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, reserved;
  uint64_t user_address;
};
struct UringParams {
  uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle,
      features, wq_fd, reserved[3];
  UringSqOffsets sq;
  UringCqOffsets cq;
};
static_assert(sizeof(UringParams) == 120);

struct UringTimespec {
  int64_t seconds;
  int64_t nanoseconds;
};
// The last argument of io_uring_enter() with kUringEnterExtArg.
struct UringGetEventsArg {
  uint64_t sigmask;
  uint32_t sigmask_size;
  uint32_t reserved;
  uint64_t timeout;  // address of a UringTimespec
};
static_assert(sizeof(UringGetEventsArg) == 24);

// A buffer that is offered to the kernel. The upper half of the last word of
// the first one is the end of the ring that they are in.
struct UringBuffer {
  uint64_t address;
  uint32_t length;
  uint16_t number;
  uint16_t tail;
};
static_assert(sizeof(UringBuffer) == 16);
// The argument of kUringRegisterBuffers.
struct UringBufferRing {
  uint64_t address;
  uint32_t entries;
  uint16_t group;
  uint16_t flags;
  uint64_t reserved[3];
};
static_assert(sizeof(UringBufferRing) == 40);
// The argument of kUringSyncCancel.
struct UringSyncCancel {
  uint64_t user_data;
  int32_t fd;
  uint32_t flags;
  UringTimespec timeout;  // -1 for none
  uint8_t opcode;
  uint8_t reserved[7];
  uint64_t rest[3];
};
static_assert(sizeof(UringSyncCancel) == 64);

// Operations.
inline constexpr uint8_t kUringNop = 0;
inline constexpr uint8_t kUringFsync = 3;
inline constexpr uint8_t kUringPollAdd = 6;
inline constexpr uint8_t kUringAccept = 13;
inline constexpr uint8_t kUringAsyncCancel = 14;
inline constexpr uint8_t kUringOpenAt = 18;
inline constexpr uint8_t kUringClose = 19;
inline constexpr uint8_t kUringRead = 22;
inline constexpr uint8_t kUringWrite = 23;
inline constexpr uint8_t kUringReceive = 27;
// Flags of an operation: not in the thread that hands it over; no completion if
// all is well.
inline constexpr uint8_t kUringAsync = 1 << 4;
inline constexpr uint8_t kUringBufferSelect = 1 << 5;
inline constexpr uint8_t kUringSkipSuccess = 1 << 6;
inline constexpr uint32_t kUringFsyncData = 1;  // flag of an fsync
inline constexpr uint32_t kUringPollMulti = 1;  // flag of a poll
// What makes them go on, in `ioprio`: 5.19 and 6.0.
inline constexpr uint16_t kUringAcceptMulti = 1 << 0;
inline constexpr uint16_t kUringReceiveMulti = 1 << 1;
// Flags of a completion. The number of its buffer is in the upper half.
inline constexpr uint32_t kUringHasBuffer = 1 << 0;
inline constexpr uint32_t kUringMore = 1 << 1;
inline constexpr int kUringBufferShift = 16;
// Flags of a cancel.
inline constexpr uint32_t kUringCancelAll = 1 << 0;
inline constexpr uint32_t kUringCancelAny = 1 << 2;

// Operations of io_uring_register(): 5.19 and 6.0.
inline constexpr unsigned kUringRegisterBuffers = 22;
inline constexpr unsigned kUringSyncCancel = 24;

// Flags of io_uring_setup(), with the kernel that has brought each.
inline constexpr uint32_t kUringCqSize = 1u << 3;         // 5.5
inline constexpr uint32_t kUringSubmitAll = 1u << 7;      // 5.18
inline constexpr uint32_t kUringCoopTaskrun = 1u << 8;    // 5.19
inline constexpr uint32_t kUringTaskrunFlag = 1u << 9;    // 5.19
inline constexpr uint32_t kUringSingleIssuer = 1u << 12;  // 6.0
inline constexpr uint32_t kUringDeferTaskrun = 1u << 13;  // 6.1

// What the kernel says that it can.
inline constexpr uint32_t kUringFeatSingleMmap = 1u << 0;
inline constexpr uint32_t kUringFeatNoDrop = 1u << 1;
inline constexpr uint32_t kUringFeatExtArg = 1u << 8;
inline constexpr uint32_t kUringFeatSkipSuccess = 1u << 11;

// Flags of io_uring_enter().
inline constexpr uint32_t kUringEnterGetEvents = 1u << 0;
inline constexpr uint32_t kUringEnterExtArg = 1u << 3;

// Flags of the submission ring, which the kernel sets.
inline constexpr uint32_t kUringSqOverflow = 1u << 1;
inline constexpr uint32_t kUringSqTaskrun = 1u << 2;

// Offsets for mmap().
inline constexpr int64_t kUringOffsetRings = 0;
inline constexpr int64_t kUringOffsetSqes = 0x10000000;

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_IO_URING_ABI_H_
