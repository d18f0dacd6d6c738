#include "coil/loop/thread_pool.h"

#include <pthread.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil {

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable work;   // a job came, or the end
  std::condition_variable ended;  // a thread ended
  Job* first = nullptr;
  Job* last = nullptr;
  int waiting = 0;
  int threads = 0;
  int idle = 0;
  int started = 0;  // ever, for the names
  bool closed = false;
  bool left_alone = false;  // by ShutdownNow()
  int max_threads = 0;
  uint32_t fork_generation = 0;
  std::string name;
  std::vector<pthread_t> handles;  // neither joined nor detached

  void Push(Job& job) noexcept {
    job.queued_ = true;
    job.next_ = nullptr;
    job.previous_ = last;
    (last != nullptr ? last->next_ : first) = &job;
    last = &job;
    ++waiting;
  }
  void Unlink(Job& job) noexcept {
    (job.previous_ != nullptr ? job.previous_->next_ : first) = job.next_;
    (job.next_ != nullptr ? job.next_->previous_ : last) = job.previous_;
    job.queued_ = false;
    --waiting;
  }
  void Work();
  // 0 or an errno. REQUIRES: the mutex is held.
  int StartThread(const std::shared_ptr<State>& self);
  static void* ThreadMain(void* argument);
};

namespace {

// Which pool this thread works for.
thread_local const void* t_pool = nullptr;

class FunctionJob final : public ThreadPool::Job {
 public:
  explicit FunctionJob(absl::AnyInvocable<void()> f) : f_(std::move(f)) {}
  void Run() noexcept override {
    try {
      f_();
    } catch (...) {
      WriteDiagnostic("coil: exception in a job of a ThreadPool\n  " +
                      DescribeException(std::current_exception()));
    }
    delete this;
  }
  void Abandon() noexcept override { delete this; }

 private:
  ~FunctionJob() = default;
  absl::AnyInvocable<void()> f_;
};

struct ThreadStart {
  std::shared_ptr<void> state;
  std::string name;
};

}  // namespace

void ThreadPool::State::Work() {
  std::unique_lock<std::mutex> lock(mutex);
  for (;;) {
    while (first == nullptr && !closed) {
      ++idle;
      work.wait(lock);
      --idle;
    }
    if (first == nullptr) break;
    Job* job = first;
    Unlink(*job);
    lock.unlock();
    job->Run();
    lock.lock();
  }
  --threads;
  ended.notify_all();
}

void* ThreadPool::State::ThreadMain(void* argument) {
  std::unique_ptr<ThreadStart> start(static_cast<ThreadStart*>(argument));
  // 15 characters are what the kernel keeps.
  ::pthread_setname_np(::pthread_self(), start->name.substr(0, 15).c_str());
  auto state = std::static_pointer_cast<State>(start->state);
  start.reset();
  t_pool = state.get();
  state->Work();
  return nullptr;
}

int ThreadPool::State::StartThread(const std::shared_ptr<State>& self) {
  auto start = std::make_unique<ThreadStart>();
  start->state = self;
  start->name = name + "-" + std::to_string(started);
  handles.reserve(handles.size() + 1);
  // Signals are for the program's own threads: a handler that interrupts a
  // blocking job would surprise the library that it calls.
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
    sigdelset(&all, signal);  // of the thread's own making
  }
  ::pthread_sigmask(SIG_SETMASK, &all, &previous);
  pthread_t thread;
  const int error =
      internal::Sys().thread_create(&thread, nullptr, ThreadMain, start.get());
  ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  if (error != 0) return error;
  static_cast<void>(start.release());
  handles.push_back(thread);
  ++threads;
  ++started;
  return 0;
}

ThreadPool::ThreadPool(int threads, std::string_view name)
    : state_(std::make_shared<State>()) {
  if (threads < 1) {
    throw std::invalid_argument(
        "ThreadPool: it needs at least one thread, not " +
        std::to_string(threads));
  }
  internal::InstallForkGuard();
  state_->max_threads = threads;
  state_->name = name;
  state_->fork_generation = internal::ForkGeneration();
}

ThreadPool::~ThreadPool() {
  // In a forked child there are no threads to wait for, and the mutex may be
  // held by one that is not there any more.
  if (state_->fork_generation != internal::ForkGeneration()) {
    static_cast<void>(new std::shared_ptr<State>(std::move(state_)));
    return;
  }
  bool wait = true;
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    wait = !state_->left_alone;
  }
  // Without waiting, its threads end by themselves; they share the state.
  Shutdown(wait ? absl::InfiniteDuration() : absl::ZeroDuration());
}

void ThreadPool::Submit(Job& job) {
  State& s = *state_;
  if (s.fork_generation != internal::ForkGeneration()) {
    throw std::runtime_error(
        "ThreadPool: its threads are in the parent of this forked process");
  }
  std::lock_guard<std::mutex> lock(s.mutex);
  if (s.closed) {
    throw std::runtime_error("ThreadPool: no new jobs after Shutdown()");
  }
  if (s.idle <= s.waiting && s.threads < s.max_threads) {
    const int error = s.StartThread(state_);
    if (error != 0 && s.threads == 0) {
      throw OsError(error, "start of a thread of ThreadPool");
    }
  }
  s.Push(job);
  s.work.notify_one();
}

void ThreadPool::Submit(absl::AnyInvocable<void()> f) {
  if (f == nullptr) {
    throw std::invalid_argument("ThreadPool::Submit: the callable is empty");
  }
  auto* job = new FunctionJob(std::move(f));
  try {
    Submit(*job);
  } catch (...) {
    job->Abandon();
    throw;
  }
}

bool ThreadPool::TryRemove(Job& job) noexcept {
  State& s = *state_;
  // In a forked child no thread will take it, and the mutex and the list are as
  // the parent's threads had them.
  if (s.fork_generation != internal::ForkGeneration()) {
    return std::exchange(job.queued_, false);
  }
  std::lock_guard<std::mutex> lock(s.mutex);
  if (!job.queued_) return false;
  s.Unlink(job);
  return true;
}

bool ThreadPool::RunsInThisPool() const noexcept {
  return t_pool == state_.get();
}

bool ThreadPool::Shutdown(absl::Duration timeout) {
  State& s = *state_;
  std::unique_lock<std::mutex> lock(s.mutex);
  s.closed = true;
  s.work.notify_all();
  auto ended = [&s] { return s.threads == 0; };
  bool all_ended = true;
  // The clock of the system ends in 292 years.
  if (timeout > absl::Hours(24 * 365)) {
    s.ended.wait(lock, ended);
  } else {
    all_ended = s.ended.wait_until(
        lock,
        std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout),
        ended);
  }
  std::vector<pthread_t> handles = std::exchange(s.handles, {});
  lock.unlock();
  for (pthread_t thread : handles) {
    if (all_ended) {
      ::pthread_join(thread, nullptr);
    } else {
      ::pthread_detach(thread);
    }
  }
  return all_ended;
}

void ThreadPool::ShutdownNow() noexcept {
  State& s = *state_;
  if (s.fork_generation != internal::ForkGeneration()) return;
  for (;;) {
    Job* job = nullptr;
    {
      std::lock_guard<std::mutex> lock(s.mutex);
      s.closed = true;
      s.left_alone = true;
      job = s.first;
      if (job == nullptr) break;
      s.Unlink(*job);
    }
    job->Abandon();
  }
  s.work.notify_all();
}

int ThreadPool::MaxThreads() const noexcept { return state_->max_threads; }

int ThreadPool::Threads() const {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->threads;
}

int ThreadPool::Waiting() const {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->waiting;
}

}  // namespace coil
