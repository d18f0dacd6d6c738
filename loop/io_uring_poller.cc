#include "coil/loop/io_uring_poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/epoll_poller.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/io_uring_calls.h"
#include "coil/loop/internal/poll_events.h"
#include "coil/loop/internal/poller_choice.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil {
namespace {

// How many operations are handed over by one call, and how many completions the
// ring holds: if more come, the kernel keeps them, which costs memory and time.
constexpr uint32_t kOperations = 256;
constexpr uint32_t kCompletions = 1024;

// How long to wait before the kernel is asked again for what it had no memory
// for.
constexpr absl::Duration kPause = absl::Milliseconds(1);

// Of an operation whose completion is of no interest. No descriptor has it.
constexpr uint64_t kIgnored = ~uint64_t{0};

uint64_t UserData(uint32_t fd, uint32_t generation) {
  return (uint64_t{generation} << 32) | fd;
}

// poll() and epoll have the same numbers for these.
uint32_t ToPoll(IoEvents interest, Trigger trigger) {
  uint32_t events = 0;
  if (interest & kReadable) events |= EPOLLIN | EPOLLRDHUP;
  if (interest & kWritable) events |= EPOLLOUT;
  // See epoll_poller.cc, and TrueEvents().
  if (trigger == Trigger::kEdge && (interest & kReadable)) {
    events |= EPOLLPRI | EPOLLRDBAND;
  }
  return events;
}

// A poll that was woken once since it last told something does not look at the
// socket again but tells what it was woken for, and a socket that has received
// anything wakes those who wait for urgent data, too. It also wakes those who
// wait for out-of-band data of another kind, which a look never finds: that is
// how to tell an alarm from a finding. Urgent data itself wakes twice, so that
// the poll looks.
uint32_t TrueEvents(uint32_t events) {
  constexpr uint32_t kAlarm = EPOLLRDBAND;
  return events & kAlarm ? events & ~(kAlarm | EPOLLPRI) : events;
}

// The kernel adds the end of what is sent to what is asked for; epoll does not.
uint32_t AskedFor(uint32_t events, IoEvents interest) {
  constexpr uint32_t kEnd = EPOLLRDHUP;
  return interest & kReadable ? events : events & ~kEnd;
}

// Fills in `sqe` to poll `fd`.
void PreparePoll(internal::UringSqe& sqe, uint32_t fd, uint32_t events,
                 bool multi, uint64_t user_data) {
  sqe.opcode = internal::kUringPollAdd;
  sqe.fd = static_cast<int32_t>(fd);
  sqe.length = multi ? internal::kUringPollMulti : 0;
  // The field had 16 bits once.
  sqe.operation = std::endian::native == std::endian::big
                      ? (events << 16) | (events >> 16)
                      : events;
  sqe.user_data = user_data;
}

// An error with which a poll has ended for reasons of its own: it is made anew.
// Others say something of the descriptor.
bool MayTryAgain(int error) {
  return error == ECANCELED || error == ENOMEM || error == EAGAIN ||
         error == EINTR;
}

// Throws unless `fd` can be polled: io_uring itself says of a file that it is
// always ready. Sockets, pipes and what has no type (eventfd, pidfd, timerfd)
// can; of others epoll knows.
void CheckPollable(int fd) {
  struct stat status{};
  int error = 0;
  if (internal::UringSys().fstat(fd, &status) != 0) {
    error = errno;
  } else if (!S_ISSOCK(status.st_mode) && !S_ISFIFO(status.st_mode) &&
             (status.st_mode & S_IFMT) != 0) {
    const int epoll = internal::Sys().epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    if (epoll < 0 ||
        internal::Sys().epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
      error = errno;
    }
    internal::CloseDescriptor(epoll);
  }
  if (error != 0) {
    throw OsError(error, "io_uring add", "fd " + std::to_string(fd));
  }
}

// Fills in `sqe` to take back a poll.
void PrepareCancel(internal::UringSqe& sqe, uint64_t poll) {
  sqe.opcode = internal::kUringAsyncCancel;
  sqe.fd = -1;
  sqe.address = poll;
  sqe.user_data = kIgnored;
}

// Polls an eventfd that is ready: 0 if that does what it should, or an errno. A
// kernel before 5.13 does not know polls that go on, and what stands in for a
// kernel may know even less. Leaves nothing in the ring. REQUIRES: it is new.
int Try(internal::IoUring& ring) noexcept {
  const int fd = internal::Sys().eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return errno;
  PreparePoll(*ring.NextOperation(), static_cast<uint32_t>(fd), EPOLLIN, true,
              kIgnored);
  constexpr internal::UringTimespec kLongEnough = {.seconds = 1,
                                                   .nanoseconds = 0};
  int error = ring.Enter(1, &kLongEnough);
  if (error == 0) {
    const internal::UringCqe* const told = ring.Front();
    const bool good = told != nullptr && told->result > 0 &&
                      (told->flags & internal::kUringMore) != 0;
    if (told != nullptr) ring.Pop();
    PrepareCancel(*ring.NextOperation(), kIgnored);
    error = ring.Enter(0, nullptr);
    while (ring.Front() != nullptr) ring.Pop();
    if (!good) error = ENOSYS;
  }
  internal::CloseDescriptor(fd);
  return error;
}

// Its own in the process, which pthread_self() is not: that of a thread which
// has ended goes to the next one.
uint64_t ThisThread() noexcept {
  static constinit std::atomic<uint64_t> last{0};
  static constinit thread_local uint64_t number = 0;
  if (number == 0) number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return number;
}

// What Try() has given; -1 if it was not asked, which is always so while a test
// stands in for the kernel.
constexpr int kUnknown = -1;
constinit std::atomic<int> g_tried{kUnknown};

bool IsReal() noexcept {
  return &internal::UringSys() == &internal::kRealIoUringCalls;
}

// What may pass (no descriptors, no memory) is not kept.
void Keep(int error) noexcept {
  if (IsReal() &&
      (error == 0 || error == EPERM || error == ENOSYS || error == EACCES)) {
    g_tried.store(error, std::memory_order_relaxed);
  }
}

int Tried() noexcept {
  return IsReal() ? g_tried.load(std::memory_order_relaxed) : kUnknown;
}

}  // namespace

// ---- life
// ---------------------------------------------------------------------

bool IoUringPoller::Available() noexcept {
  int error = Tried();
  if (error == kUnknown) {
    internal::IoUring ring;
    error = ring.Open(2, 4);
    if (error == 0) error = Try(ring);
    Keep(error);
  }
  return error == 0;
}

IoUringPoller::IoUringPoller() : IoUringPoller(IoUringOptions()) {}

IoUringPoller::IoUringPoller(const IoUringOptions& options)
    : options_(options), opener_(ThisThread()) {
  internal::InstallForkGuard();
  fork_generation_ = internal::ForkGeneration();
  int error = Tried();
  if (error <= 0) {
    const bool known = error == 0;
    error = ring_.Open(kOperations, kCompletions);
    // On the ring itself: the kernel interrupts a thread, with an EINTR in the
    // call that it is in, when a ring that it has used is closed.
    if (error == 0 && !known) error = Try(ring_);
    if (!known) Keep(error);
  }
  if (error != 0) throw OsError(error, "io_uring_setup");
}

IoUringPoller::~IoUringPoller() = default;

bool IoUringPoller::Forked() const noexcept {
  return fork_generation_ != internal::ForkGeneration();
}

// In another thread than before, or after completions were lost. What is ready
// is told again.
void IoUringPoller::OpenAnew() {
  ring_.Close();
  // There is none, unless StopAll() was left out.
  if (streams_.Armed() > 0) streams_.LoseArmed();
  for (size_t fd = 0; fd < slots_.size(); ++fd) {
    slots_[fd].armed = false;
    if (slots_[fd].watch != nullptr) MarkDirty(static_cast<uint32_t>(fd));
  }
  if (const int error = ring_.Open(kOperations, kCompletions)) {
    throw OsError(error, "io_uring_setup");
  }
  opener_ = ThisThread();
  if (streams_.IsOpen() && streams_.MoveTo(ring_) != 0) {
    options_.streams = false;
    streams_.Refuse();
  }
}

// ---- what is watched
// ----------------------------------------------------------

// It has to be handed over with the next Poll().
void IoUringPoller::MarkDirty(uint32_t fd) noexcept {
  Slot& slot = slots_[fd];
  if (slot.dirty) return;
  slot.dirty = true;
  dirty_.push_back(fd);  // there is room
}

void IoUringPoller::Add(Watch& watch, int fd, IoEvents interest,
                        Trigger trigger) {
  if (fd < 0) throw OsError(EBADF, "io_uring add", "fd " + std::to_string(fd));
  const auto index = static_cast<size_t>(fd);
  if (index < slots_.size() && slots_[index].watch != nullptr) {
    throw OsError(EEXIST, "io_uring add", "fd " + std::to_string(fd));
  }
  // Before the table grows: the kernel knows whether the number is one at all.
  CheckPollable(fd);
  if (index >= slots_.size()) {
    const size_t size = std::max(index + 1, slots_.size() * 2);
    dirty_.reserve(size);
    slots_.resize(size);
  }
  Slot& slot = slots_[index];
  ++slot.generation;
  slot.watch = &watch;
  slot.interest = interest;
  slot.trigger = trigger;
  slot.quiet = false;
  MarkDirty(static_cast<uint32_t>(fd));
  SetDescriptor(watch, fd);
}

void IoUringPoller::Modify(Watch& watch, IoEvents interest, Trigger trigger) {
  const auto fd = static_cast<uint32_t>(watch.Descriptor());
  Disarm(fd);
  Slot& slot = slots_[fd];
  slot.interest = interest;
  slot.trigger = trigger;
  slot.quiet = false;
  MarkDirty(fd);
}

void IoUringPoller::Remove(Watch& watch) noexcept {
  if (!watch.Watched()) return;
  const auto fd = static_cast<uint32_t>(watch.Descriptor());
  slots_[fd].watch = nullptr;
  SetDescriptor(watch, -1);
  Disarm(fd);
}

// From here on nothing that comes of an earlier poll counts. A poll holds its
// file: it is taken back now and not with the next Poll(), or the close() that
// follows would not tell the peer, nor free the port.
void IoUringPoller::Disarm(uint32_t fd) noexcept {
  Slot& slot = slots_[fd];
  const bool armed = std::exchange(slot.armed, false);
  const uint64_t poll = UserData(fd, slot.generation++);
  if (armed && !Forked() && ring_.IsOpen()) Cancel(poll);
}

void IoUringPoller::Cancel(uint64_t poll) noexcept {
  internal::UringSqe* sqe = ring_.NextOperation();
  if (sqe == nullptr) {
    Flush();
    if (!ring_.IsOpen()) return;
    sqe = ring_.NextOperation();
    if (sqe == nullptr) {
      // The kernel takes no more, and nobody would ask it again. With the ring
      // it lets go of all files; the next Poll() makes another one. But bytes
      // would go with it as well.
      if (streams_.Armed() == 0) {
        ring_.Close();
      } else if (!ring_.Retract(poll, kIgnored)) {
        ring_.CancelNow(poll);
        ring_.WaitOnly(0, nullptr);
      }
      return;
    }
  }
  PrepareCancel(*sqe, poll);
  if (ring_.features() & internal::kUringFeatSkipSuccess) {
    sqe->flags = internal::kUringSkipSuccess;
  }
  Flush();
}

// Hands over what is in the ring, and lets the kernel finish what is finished.
void IoUringPoller::Flush() noexcept {
  int error;
  do {
    error = ring_.Enter(0, nullptr);
    if (error == EBADR && streams_.Armed() > 0) lost_ = true;
  } while (error == EINTR || (error == EBADR && streams_.Armed() > 0));
  if (error == EEXIST || error == EBADR) {
    // This thread may not use it, or completions are lost. With the ring its
    // polls go; the next Poll() makes another one.
    ring_.Close();
    return;
  }
  DiscardStale();
}

bool IoUringPoller::Arm(uint32_t fd) noexcept {
  internal::UringSqe* const sqe = ring_.NextOperation();
  if (sqe == nullptr) return false;
  Slot& slot = slots_[fd];
  slot.armed = true;
  // By level it is asked anew in each pass; a watch that waits for nothing that
  // may be ready would make a pass of each moment that way.
  slot.multi =
      slot.trigger == Trigger::kEdge || slot.interest == 0 || slot.quiet;
  PreparePoll(*sqe, fd, ToPoll(slot.interest, slot.trigger), slot.multi,
              UserData(fd, slot.generation));
  return true;
}

// Puts into the ring what has changed since the last Poll().
void IoUringPoller::HandOver() {
  size_t done = 0;
  for (; done < dirty_.size(); ++done) {
    const uint32_t fd = dirty_[done];
    Slot& slot = slots_[fd];
    if (slot.watch != nullptr && slot.armed) {
      // It was quiet, and is not any more.
      Disarm(fd);
      if (!ring_.IsOpen()) break;
    }
    if (slot.watch != nullptr && !Arm(fd)) {
      Flush();
      if (!ring_.IsOpen() || !Arm(fd)) break;
    }
    slot.dirty = false;
  }
  while (ring_.IsOpen() && !streams_.HandOver(ring_, kIgnored)) {
    const uint32_t before = ring_.Unsubmitted();
    Flush();
    if (ring_.IsOpen() && ring_.Unsubmitted() == before) break;
  }
  dirty_.erase(dirty_.begin(), dirty_.begin() + static_cast<ptrdiff_t>(done));
}

// ---- what comes back
// ----------------------------------------------------------

// Null if whoever wanted it is gone.
IoUringPoller::Slot* IoUringPoller::SlotOf(uint64_t user_data) noexcept {
  if (user_data == kIgnored || internal::UringStreams::Owns(user_data)) {
    return nullptr;
  }
  Slot& slot = slots_[static_cast<uint32_t>(user_data)];
  return slot.watch != nullptr &&
                 slot.generation == static_cast<uint32_t>(user_data >> 32)
             ? &slot
             : nullptr;
}

void IoUringPoller::DiscardStale() noexcept {
  while (const internal::UringCqe* told = ring_.Front()) {
    if (SlotOf(told->user_data) != nullptr) return;
    if (!TakeOfStreams(*told)) return;
    ring_.Pop();
  }
}

// Takes what is there out of the ring: a watch may end up back in here. What is
// there `before` this poll has asked was true some time ago. An edge is told
// all the same, or it would be lost; by level only what holds now is told, so
// it is asked again, and first, or those behind a batch would wait for ever.
void IoUringPoller::Reap(bool before) noexcept {
  const size_t dirty = dirty_.size();
  while (const internal::UringCqe* told = ring_.Front()) {
    if (batch_ == kBatch || !TakeOfStreams(*told)) break;
    const uint64_t user_data = told->user_data;
    const int32_t result = told->result;
    const bool more = (told->flags & internal::kUringMore) != 0;
    ring_.Pop();
    Slot* const slot = SlotOf(user_data);
    if (slot == nullptr) continue;
    const auto fd = static_cast<uint32_t>(user_data);
    const bool again = result >= 0 || MayTryAgain(-result);
    if (!more) {
      // A poll that was to go on ends if the kernel has no room for what it has
      // to tell.
      slot->armed = false;
      if (again) MarkDirty(fd);
    }
    if (result < 0 && again) continue;
    if (before && result >= 0 && slot->trigger == Trigger::kLevel) {
      slot->quiet = false;
      MarkDirty(fd);
      continue;
    }
    const uint32_t mask = result < 0
                              ? static_cast<uint32_t>(EPOLLERR)
                              : TrueEvents(static_cast<uint32_t>(result));
    if (slot->in_batch != 0) {
      events_[slot->in_batch - 1].mask |= mask;
      continue;
    }
    events_[batch_] = {fd, slot->generation, mask};
    slot->in_batch = static_cast<uint16_t>(++batch_);
  }
  if (before) {
    std::rotate(dirty_.begin(), dirty_.begin() + static_cast<ptrdiff_t>(dirty),
                dirty_.end());
  }
}

// The same with what the kernel keeps because the ring is full.
void IoUringPoller::ReapAll(bool before) noexcept {
  Reap(before);
  for (size_t i = 0; i < kBatch && batch_ < kBatch && ring_.Overflows(); ++i) {
    if (ring_.WaitOnly(0, nullptr) != 0) return;
    Reap(before);
  }
}

int IoUringPoller::Deliver() noexcept {
  const size_t count = batch_;
  for (size_t i = 0; i < count; ++i) slots_[events_[i].fd].in_batch = 0;
  batch_ = 0;
  int told = 0;
  for (size_t i = 0; i < count; ++i) {
    const Event& event = events_[i];
    Slot& slot = slots_[event.fd];
    // An earlier event of this batch may have removed the watch, or a new one
    // may have taken the number.
    if (slot.watch == nullptr || slot.generation != event.generation) continue;
    const IoEvents events = internal::FromPollEvents(
        AskedFor(event.mask, slot.interest), slot.interest);
    if (slot.trigger == Trigger::kLevel && slot.quiet != (events == 0)) {
      slot.quiet = events == 0;
      MarkDirty(event.fd);
    }
    if (events == 0) continue;
    ++told;
    slot.watch->OnReady(events);
  }
  return told;
}

// ---- waiting
// ------------------------------------------------------------------

void IoUringPoller::Enter(absl::Duration timeout) {
  internal::UringTimespec limit = {};
  const bool waits = timeout > absl::ZeroDuration();
  const bool for_ever = timeout == absl::InfiniteDuration();
  if (waits && !for_ever) {
    // Rounded up, so that no timer wakes the loop early.
    const timespec t =
        absl::ToTimespec(absl::Ceil(timeout, absl::Nanoseconds(1)));
    limit = {.seconds = t.tv_sec, .nanoseconds = t.tv_nsec};
  }
  const int error = ring_.Enter(waits ? 1 : 0, for_ever ? nullptr : &limit);
  switch (error) {
    case 0:
    case ETIME:
    case EINTR:
      return;
    case EAGAIN:
    case EBUSY:
      // The kernel has no memory for operations, or wants its completions to be
      // taken first. What is in the ring stays there.
      if (waits && ring_.Front() == nullptr) {
        const internal::UringTimespec pause = {
            .seconds = 0,
            .nanoseconds = absl::ToInt64Nanoseconds(std::min(timeout, kPause))};
        // The kernel says it only once.
        if (ring_.WaitOnly(1, &pause) == EBADR) break;
      }
      return;
    case EEXIST:  // another thread than before
    case EBADR:   // the kernel has lost completions
      break;
    default:
      throw OsError(error, "io_uring_enter");
  }
  // What is there counts, the rest is asked again.
  if (streams_.Armed() > 0 && error != EEXIST) return Recover();
  Reap(false);
  OpenAnew();
}

int IoUringPoller::Poll(absl::Duration timeout) {
  // Not every kernel refuses another thread. But it finishes polls in the
  // thread that handed them over, which may have other things to do.
  if (!ring_.IsOpen() || opener_ != ThisThread()) {
    OpenAnew();
  }
  if (lost_) Recover();
  streams_.CallBackIfShort();
  ReapAll(true);
  HandOver();
  if (!ring_.IsOpen()) {
    OpenAnew();
    HandOver();
  }
  if (!files_.Idle()) files_.Turn();
  if (batch_ > 0 || files_.HasDone() || streams_.HasNews()) {
    timeout = absl::ZeroDuration();
  }
  // The kernel does not take everything now: not to be slept on.
  if (!dirty_.empty() || files_.Stuck() || streams_.HasChanged()) {
    timeout = std::min(timeout, kPause);
  }
  if (timeout > absl::ZeroDuration() || ring_.Unsubmitted() > 0 ||
      ring_.HoldsBack()) {
    Enter(timeout);
    ReapAll(false);
    if (!files_.Idle()) files_.Turn();
  }
  int told = Deliver();
  if (streams_.HasNews()) told += streams_.Deliver();
  return files_.HasDone() ? told + DeliverFiles() : told;
}

// ---- files
// --------------------------------------------------------------------

bool IoUringPoller::OpenFiles() noexcept {
  if (files_.Open() != 0) return false;
  try {
    // Wakes Poll(). It is one of the poller's own, which are not counted.
    Add(files_watch_, files_.Descriptor(), kReadable, Trigger::kEdge);
  } catch (...) {
    files_.Close();
    return false;
  }
  CountOperations(-1);
  return true;
}

bool IoUringPoller::Begin(FileOperation& operation) noexcept {
  if (Forked() || (!files_.IsOpen() && !OpenFiles())) return false;
  CountOperations(1);
  return files_.Begin(operation);
}

void IoUringPoller::AskToStop(FileOperation& operation) noexcept {
  if (!Forked()) files_.AskToStop(operation);
}

int32_t IoUringPoller::Abort(FileOperation& operation, bool ask) noexcept {
  if (Forked()) return kForked;
  CountOperations(-1);
  return files_.Abort(operation, ask);
}

int IoUringPoller::DeliverFiles() noexcept {
  const int told = files_.Deliver();
  CountOperations(-told);
  return told;
}

void IoUringPoller::FinishAll() noexcept {
  if (Forked()) return;
  while (!files_.Idle()) {
    files_.WaitForOne();
    DeliverFiles();
  }
}

// ---- streams
// ------------------------------------------------------------------

bool IoUringPoller::TakeOfStreams(const internal::UringCqe& told) noexcept {
  return told.user_data == kIgnored ||
         !internal::UringStreams::Owns(told.user_data) || streams_.Take(told);
}

bool IoUringPoller::OpenStreams() noexcept {
  if (!options_.streams) return false;
  // Only the thread that has opened the ring may do this.
  if (!ring_.IsOpen() || opener_ != ThisThread()) {
    try {
      OpenAnew();
    } catch (const OsError&) {
      return false;
    }
  }
  const int error =
      streams_.Open(ring_, options_.buffers, options_.buffer_size);
  // What may pass is tried again.
  if (error != 0 && error != ENOMEM) options_.streams = false;
  return error == 0;
}

bool IoUringPoller::Attach(StreamOperation& operation, int fd) noexcept {
  if (Forked() || (!streams_.IsOpen() && !OpenStreams())) return false;
  // Of others a poller has more to say than a receive.
  struct stat status{};
  if (internal::UringSys().fstat(fd, &status) != 0 ||
      !S_ISSOCK(status.st_mode) || !streams_.Attach(operation, fd)) {
    return false;
  }
  CountOperations(1);
  return true;
}

void IoUringPoller::Detach(StreamOperation& operation) noexcept {
  if (!internal::UringStreams::Attached(operation)) return;
  CountOperations(-1);
  uint64_t user_data = 0;
  const bool armed = streams_.Detach(operation, &user_data);
  // As a poll, it holds its file.
  if (armed && !Forked() && ring_.IsOpen()) Cancel(user_data);
}

void IoUringPoller::Start(StreamOperation& operation) noexcept {
  streams_.Start(operation);
}

void IoUringPoller::Stop(StreamOperation& operation) noexcept {
  streams_.Stop(operation);
}

void IoUringPoller::GiveBack(Chunk& chunk) noexcept {
  streams_.GiveBack(chunk);
}

// All is being cancelled. Polls are armed again by the next Poll(), which tells
// what is ready then.
void IoUringPoller::ReapStopped() noexcept {
  while (const internal::UringCqe* told = ring_.Front()) {
    if (Slot* const slot = SlotOf(told->user_data)) {
      if ((told->flags & internal::kUringMore) == 0) slot->armed = false;
      MarkDirty(static_cast<uint32_t>(told->user_data));
    } else if (!TakeOfStreams(*told)) {
      streams_.Deliver();
      continue;
    }
    ring_.Pop();
  }
  streams_.Deliver();
}

// By the ring's own thread, while the ring is whole: from outside nothing could
// be saved.
void IoUringPoller::StopAll() noexcept {
  if (Forked()) return;
  while (streams_.Armed() > 0 && ring_.IsOpen()) {
    const uint32_t before = streams_.Armed();
    const int error = ring_.Enter(0, nullptr);
    if (error == EEXIST) return streams_.LoseArmed();  // nobody can help it
    if (error == EBADR) lost_ = true;
    // What is not with the kernel cannot be cancelled there.
    if (ring_.Unsubmitted() == 0) ring_.CancelAll();
    if (ring_.WaitOnly(0, nullptr) == EBADR) lost_ = true;
    ReapStopped();
    if (streams_.Armed() < before || ring_.HoldsBack()) continue;
    if (lost_ && ring_.Unsubmitted() == 0) return streams_.LoseArmed();
    constexpr internal::UringTimespec kMoment = {.seconds = 0,
                                                 .nanoseconds = 1'000'000};
    if (ring_.WaitOnly(1, &kMoment) == EBADR) lost_ = true;
    ReapStopped();
  }
}

// The kernel has lost completions. What is not lost counts.
void IoUringPoller::Recover() {
  StopAll();
  Reap(false);
  lost_ = false;
  OpenAnew();
}

// ---- choice
// -------------------------------------------------------------------

namespace {

constinit std::atomic<bool> g_prefer_io_uring{false};

// For loops that are not given a poller.
std::unique_ptr<Poller> MakeDefaultPoller() {
  const char* const variable = std::getenv("COIL_POLLER");
  const std::string_view wish = variable != nullptr ? variable : "";
  bool io_uring = g_prefer_io_uring.load(std::memory_order_relaxed);
  if (wish == "io_uring") {
    io_uring = true;
  } else if (wish == "epoll") {
    io_uring = false;
  } else if (!wish.empty() && wish != "auto") {
    WriteDiagnostic("coil: COIL_POLLER is \"" + std::string(wish) +
                    "\", which is none of \"epoll\", \"io_uring\" and "
                    "\"auto\"; it is not considered");
  }
  if (io_uring) return MakeIoUringPollerOrEpoll();
  return std::make_unique<EpollPoller>();
}

[[maybe_unused]] const bool g_registered = [] {
  internal::g_poller_factory.store(MakeDefaultPoller,
                                   std::memory_order_release);
  return true;
}();

}  // namespace

std::unique_ptr<Poller> MakeIoUringPollerOrEpoll() {
  try {
    return std::make_unique<IoUringPoller>();
  } catch (const OsError&) {
    return std::make_unique<EpollPoller>();
  }
}

void PreferIoUring(bool on) noexcept {
  g_prefer_io_uring.store(on, std::memory_order_relaxed);
}

}  // namespace coil
