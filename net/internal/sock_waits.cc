#include "coil/net/internal/sock_waits.h"

#include <cerrno>
#include <exception>
#include <new>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/close_hook.h"
#include "coil/net/internal/loop_local.h"

namespace coil::net::internal {
namespace {

void OnSocketClose(int fd) noexcept {
  coil::internal::LoopCore* loop = coil::internal::LoopCore::Current();
  if (loop == nullptr) return;
  SockWaits* waits = LoopLocal<SockWaits>::Find(*loop);
  if (waits != nullptr) waits->Abort(fd);
}

}  // namespace

SockWaits::SockWaits(coil::internal::LoopCore& loop)
    : poller_(loop.loop().GetPoller()) {
  g_close_hook.store(OnSocketClose, std::memory_order_release);
}

SockWaits::~SockWaits() {
  for (const auto& [fd, entry] : entries_) poller_.Remove(*entry);
}

bool SockWaits::Waits(int fd, Direction direction) const noexcept {
  const auto found = entries_.find(fd);
  return found != entries_.end() && Slot(*found->second, direction) != nullptr;
}

int SockWaits::Add(int fd, Direction direction, Waiter& waiter) noexcept {
  try {
    std::unique_ptr<Entry>& entry = entries_[fd];
    const bool is_new = entry == nullptr;
    if (is_new) entry = std::make_unique<Entry>(*this);
    Waiter*& slot = Slot(*entry, direction);
    slot = &waiter;
    try {
      if (is_new) {
        poller_.Add(*entry, fd, entry->Interest(), Trigger::kLevel);
      } else {
        poller_.Modify(*entry, entry->Interest(), Trigger::kLevel);
      }
    } catch (...) {
      slot = nullptr;
      if (is_new) entries_.erase(fd);
      throw;
    }
  } catch (const OsError& error) {
    return error.Errno();
  } catch (const std::bad_alloc&) {
    const auto found = entries_.find(fd);
    if (found != entries_.end() && found->second == nullptr) {
      entries_.erase(found);
    }
    return ENOMEM;
  }
  return 0;
}

void SockWaits::Remove(int fd, Direction direction) noexcept {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return;
  Slot(*found->second, direction) = nullptr;
  Update(fd, *found->second);
}

void SockWaits::Update(int fd, Entry& entry) noexcept {
  if (entry.Interest() == 0) {
    poller_.Remove(entry);
    entries_.erase(fd);
    return;
  }
  try {
    poller_.Modify(entry, entry.Interest(), Trigger::kLevel);
  } catch (const OsError& error) {
    // It would report what nobody waits for, again and again.
    Fail(fd, error.Errno());
  }
}

void SockWaits::Fail(int fd, int error) noexcept {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return;
  const std::unique_ptr<Entry> entry = std::move(found->second);
  entries_.erase(found);
  poller_.Remove(*entry);
  if (entry->reader != nullptr) entry->reader->OnReady(error);
  if (entry->writer != nullptr) entry->writer->OnReady(error);
}

IoEvents SockWaits::Entry::Interest() const noexcept {
  return static_cast<IoEvents>((reader != nullptr ? kReadable : 0) |
                               (writer != nullptr ? kWritable : 0));
}

void SockWaits::Entry::OnReady(IoEvents events) noexcept {
  const IoEvents before = Interest();
  if ((events & kReadable) && reader != nullptr) {
    std::exchange(reader, nullptr)->OnReady(0);
  }
  if ((events & kWritable) && writer != nullptr) {
    std::exchange(writer, nullptr)->OnReady(0);
  }
  if (Interest() != before) waits.Update(Descriptor(), *this);
}

void ReadyAwaiter::Validate() const {
  if (!waits_.Waits(fd_, direction_)) return;
  throw std::runtime_error(
      absl::StrCat(operation_, ": another task waits already to ",
                   direction_ == Direction::kRead ? "receive from" : "send to",
                   " fd ", fd_));
}

void ReadyAwaiter::Take() {
  if (error_ == 0) return;
  if (error_ == EEXIST) {
    throw std::runtime_error(absl::StrCat(
        operation_, ": fd ", fd_, " belongs to a stream or a callback"));
  }
  throw OsError(error_, operation_, absl::StrCat("fd ", fd_));
}

void ReadyAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, operation_, ": fd ", fd_,
                  direction_ == Direction::kRead ? " readable" : " writable");
}

}  // namespace coil::net::internal
