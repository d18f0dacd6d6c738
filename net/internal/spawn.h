// coil/net/internal/spawn.h
//
// Starts a program. The child is made as vfork() does it, without a copy of the
// memory: its thread runs nothing but the C library's posix_spawn() between
// that and exec, and this thread waits meanwhile, a tenth of a millisecond.
//
// Threads: any.
// Lifetime: whoever starts a child reaps it.

#ifndef COIL_NET_INTERNAL_SPAWN_H_
#define COIL_NET_INTERNAL_SPAWN_H_

#include <sys/types.h>

#include <array>

#include "coil/net/internal/command_spec.h"

namespace coil::net::internal {

// What becomes the descriptors 0, 1 and 2 of the child: -1 for what this
// process has there. None of them is below 3, so that none is overwritten
// before it is used.
using ChildStdio = std::array<int, 3>;

// Throws OsError with the program, or with the folder, and then no child is
// left. REQUIRES: the spec was checked by Command's setters.
pid_t SpawnChild(const CommandSpec& spec, const ChildStdio& stdio);

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SPAWN_H_
