// BAD: heading // BAD: example // BAD: guard-name // BAD: language
//
// lint as: sync/bad_header.h
//
// Ordering: first in, first out.
// Cancellation: nothing is consumed.
// Threads: one loop.

#ifndef BAD_HEADER_H
#define BAD_HEADER_H
#endif
