#include "coil/net/internal/write_queue.h"

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace coil::net::internal {

void WriteQueue::Entry::SetPieces(
    absl::Span<const std::string_view> pieces) noexcept {
  pieces_ = pieces;
  offset_ = 0;
  remaining_ = 0;
  for (std::string_view piece : pieces) remaining_ += piece.size();
}

void WriteQueue::Entry::Skip(size_t n) noexcept {
  if (n == 0) return;
  started_ = true;
  remaining_ -= n;
  while (!pieces_.empty() && n >= pieces_.front().size() - offset_) {
    n -= pieces_.front().size() - offset_;
    offset_ = 0;
    pieces_.remove_prefix(1);
  }
  offset_ += n;
}

size_t WriteQueue::Entry::Fill(absl::Span<iovec> out) const noexcept {
  size_t count = 0;
  size_t offset = offset_;
  for (std::string_view piece : pieces_) {
    if (count == out.size()) break;
    piece.remove_prefix(std::exchange(offset, 0));
    if (piece.empty()) continue;
    out[count++] = {const_cast<char*>(piece.data()), piece.size()};
  }
  return count;
}

class WriteQueue::Owned final : public WriteQueue::Entry {
 public:
  // Small writes are gathered up to this size, so that many make few.
  static constexpr size_t kGather = size_t{64} << 10;

  explicit Owned(std::string data) : data_(std::move(data)) { Refresh(); }

  bool Append(std::string_view data) {
    if (data_.size() + data.size() > kGather) return false;
    const size_t sent = data_.size() - Remaining();
    data_.append(data);
    Refresh();
    // Not by Skip(): nothing was sent now, and zero must not mark it as begun.
    Skip(sent);
    return true;
  }
  void OnDone(int) noexcept override { delete this; }

 private:
  void Refresh() noexcept {
    piece_ = data_;
    SetPieces(absl::MakeConstSpan(&piece_, 1));
  }
  std::string data_;
  std::string_view piece_;
};

void WriteQueue::Link(Entry* entry, Entry* before) noexcept {
  Entry* after = before == nullptr ? last_ : before->previous_;
  entry->previous_ = after;
  entry->next_ = before;
  (after != nullptr ? after->next_ : first_) = entry;
  (before != nullptr ? before->previous_ : last_) = entry;
  entry->linked_ = true;
  if (entry->owned_) buffered_ += entry->remaining_;
}

void WriteQueue::Unlink(Entry* entry) noexcept {
  if (!entry->linked_) return;
  (entry->previous_ != nullptr ? entry->previous_->next_ : first_) =
      entry->next_;
  (entry->next_ != nullptr ? entry->next_->previous_ : last_) =
      entry->previous_;
  entry->previous_ = entry->next_ = nullptr;
  entry->linked_ = false;
  if (entry->owned_) buffered_ -= entry->remaining_;
}

void WriteQueue::Push(Entry* entry) noexcept { Link(entry, nullptr); }

void WriteQueue::Append(std::string_view data) {
  if (data.empty()) return;
  if (last_ != nullptr && last_->owned_ &&
      static_cast<Owned*>(last_)->Append(data)) {
    buffered_ += data.size();
    return;
  }
  auto* owned = new Owned(std::string(data));
  owned->owned_ = true;
  Link(owned, nullptr);
}

bool WriteQueue::Keep(const Entry& entry) noexcept {
  try {
    std::string rest;
    rest.reserve(entry.remaining_);
    size_t offset = entry.offset_;
    for (std::string_view piece : entry.pieces_) {
      rest.append(piece.substr(std::exchange(offset, 0)));
    }
    auto* owned = new Owned(std::move(rest));
    owned->owned_ = true;
    owned->started_ = true;
    Link(owned, entry.linked_ ? entry.next_ : nullptr);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

bool WriteQueue::Abandon(Entry* entry) noexcept {
  if (!entry->linked_) return true;
  const bool kept = !entry->started_ || Keep(*entry);
  Unlink(entry);
  return kept;
}

size_t WriteQueue::Gather(absl::Span<iovec> out) const noexcept {
  size_t count = 0;
  for (Entry* entry = first_; entry != nullptr && count < out.size();
       entry = entry->next_) {
    count += entry->Fill(out.subspan(count));
  }
  return count;
}

void WriteQueue::Advance(size_t n) noexcept {
  while (n > 0 && first_ != nullptr) {
    Entry* entry = first_;
    const size_t part = std::min(n, entry->remaining_);
    n -= part;
    if (entry->owned_) buffered_ -= part;
    entry->Skip(part);
    if (entry->remaining_ > 0) break;
    Unlink(entry);
    entry->OnDone(0);
  }
}

void WriteQueue::Fail(int error) noexcept {
  while (first_ != nullptr) {
    Entry* entry = first_;
    Unlink(entry);
    entry->OnDone(error);
  }
}

}  // namespace coil::net::internal
