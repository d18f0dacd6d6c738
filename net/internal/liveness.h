// coil/net/internal/liveness.h
//
// Tells a function that its object has died in a callback that it made:
//
//   const Liveness::Guard guard(alive_);
//   request->OnRead(result);
//   if (guard.dead()) return;
//
// Threads: one.
// Lifetime: a guard lives on the stack of the function.

#ifndef COIL_NET_INTERNAL_LIVENESS_H_
#define COIL_NET_INTERNAL_LIVENESS_H_

namespace coil::net::internal {

class Liveness {
 public:
  class Guard {
   public:
    explicit Guard(Liveness& object) noexcept
        : object_(&object), outer_(object.innermost_) {
      object.innermost_ = this;
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      if (object_ != nullptr) object_->innermost_ = outer_;
    }

    bool dead() const noexcept { return object_ == nullptr; }

   private:
    friend class Liveness;
    Liveness* object_;
    Guard* outer_;
  };

  Liveness() = default;
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;
  ~Liveness() {
    for (Guard* guard = innermost_; guard != nullptr; guard = guard->outer_) {
      guard->object_ = nullptr;
    }
  }

 private:
  Guard* innermost_ = nullptr;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_LIVENESS_H_
