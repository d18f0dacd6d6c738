#include "coil/loop/internal/post_memory.h"

#include <new>
#include <utility>

namespace coil::internal {

// Its destructor empties the chains when the thread ends. They themselves are
// constant-initialised and have no destructor, so that access needs no guard.
struct PostMemoryRetirer {
  ~PostMemoryRetirer() { t_post_memory.Retire(); }
  void Touch() const {}
};

namespace {

thread_local PostMemoryRetirer t_retirer;

}  // namespace

constinit BlockExchange<PostMemory::Block, PostMemory::kPlaces>
    PostMemory::exchange_;

// The blocks that came back to this thread first, then those that others left.
PostMemory::Block* PostMemory::PickUp() noexcept {
  if (!Open()) return nullptr;
  if (returned_ == nullptr) return exchange_.Pick();
  room_ = kChain;
  return std::exchange(returned_, nullptr);
}

// Called for the very first block, too.
void PostMemory::PutDown() noexcept {
  const bool first = state_ == State::kNew;
  const bool open = Open();
  room_ = open ? kChain : 1;
  if (first && open) {
    --room_;
    return;
  }
  Block* const chain = std::exchange(returned_, nullptr);
  open ? Leave(chain) : Delete(chain);
}

bool PostMemory::Open() noexcept {
  if (state_ == State::kNew) [[unlikely]] {
    state_ = State::kOpen;
    room_ = kChain;
    t_retirer.Touch();
  }
  return state_ == State::kOpen;
}

void PostMemory::Trim() noexcept {
  Delete(std::exchange(free_, nullptr));
  Delete(std::exchange(returned_, nullptr));
  room_ = state_ == State::kOpen ? kChain : 1;
  while (Block* chain = exchange_.Pick()) Delete(chain);
}

void PostMemory::Retire() noexcept {
  state_ = State::kEnded;
  room_ = 1;
  Leave(std::exchange(free_, nullptr));
  Leave(std::exchange(returned_, nullptr));
}

void PostMemory::Leave(Block* chain) noexcept {
  if (chain != nullptr && !exchange_.Put(chain)) Delete(chain);
}

void PostMemory::Delete(Block* chain) noexcept {
  while (chain != nullptr) {
    ::operator delete(std::exchange(chain, chain->next));
  }
}

}  // namespace coil::internal
