#include "coil/task/testing_sweep.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/task/inspect.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/test_loop.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"

namespace coil {

SweepOptions& SweepOptions::SecondCancel(bool on) {
  values_.second_cancel = on;
  return *this;
}
SweepOptions& SweepOptions::Seeds(uint64_t n) {
  if (n == 0) {
    throw std::invalid_argument("SweepOptions::Seeds: at least one is needed");
  }
  values_.seeds = n;
  return *this;
}
SweepOptions& SweepOptions::Base(
    std::function<std::vector<int64_t>()> numbers) {
  values_.base = std::move(numbers);
  return *this;
}
SweepOptions& SweepOptions::AllowError(
    std::function<bool(const std::exception_ptr&)> f) {
  values_.allowed.push_back(std::move(f));
  return *this;
}
SweepOptions& SweepOptions::AllowReports(bool on) {
  values_.allow_reports = on;
  return *this;
}
SweepOptions& SweepOptions::MainTaskOnly(bool on) {
  values_.main_only = on;
  return *this;
}
SweepOptions& SweepOptions::MostPoints(size_t n) {
  if (n == 0) {
    throw std::invalid_argument(
        "SweepOptions::MostPoints: at least one is needed");
  }
  values_.most_points = n;
  return *this;
}

namespace internal {
namespace {

constexpr size_t kMostFailures = 3;
constexpr size_t kMostSecondCancels = 200;

// A moment is the beginning or the end of a step of some task, counted from the
// start of the run. A point is one of the loop's tasks, counted from the
// oldest, at a moment.
struct Point {
  size_t moment = 0;
  size_t task = 0;
  std::string description;
};

// Leaves RunForever().
class SweepStop {
 public:
  explicit SweepStop(bool endless) : endless_(endless) {}
  bool endless() const { return endless_; }

 private:
  bool endless_;
};

template <class F>
void ForEachTask(LoopCore& loop, F f) {
  size_t index = 0;
  for (OwnedRunnable* node = loop.FirstOwned(); node != nullptr;
       node = node->NextOwned()) {
    f(index++, *static_cast<TaskCore*>(node));
  }
}

// "Task-3, which waits for timer in 3s in Consumer at x.cc:12"
std::string DescribePlace(TaskCore& task) {
  return ToString(AnyTask(AnyTask::Core::Share(&task)));
}

class Observer : public StepObserver {
 public:
  explicit Observer(EventLoop& loop, size_t most_moments)
      : loop_(loop), most_moments_(most_moments) {
    t_step_observer = this;
  }
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  void OnResume(TaskCore& task) final { Moment(task, /*begins=*/true); }
  void OnStep(TaskCore& task) final {
    if (task.state() == FutureCore::State::kSuspended ||
        task.state() == FutureCore::State::kScheduled) {
      ++suspensions_;
    }
    Moment(task, /*begins=*/false);
    if (moments_ > most_moments_ &&
        task.state() != FutureCore::State::kFinished) {
      throw SweepStop(/*endless=*/true);
    }
  }

  size_t moments() const { return moments_; }
  size_t suspensions() const { return suspensions_; }

 protected:
  ~Observer() { t_step_observer = nullptr; }
  // `task` begins or has ended a step; this is the moment `moments()`.
  virtual void OnMoment(TaskCore& task, bool begins) = 0;

  EventLoop& loop_;

 private:
  void Moment(TaskCore& task, bool begins) {
    OnMoment(task, begins);
    ++moments_;
  }

  size_t most_moments_;
  size_t moments_ = 0;
  size_t suspensions_ = 0;
};

bool CanBeCancelled(const TaskCore& task) {
  return task.state() == FutureCore::State::kSuspended ||
         task.state() == FutureCore::State::kScheduled;
}

// Finds the points of an undisturbed run.
class Recorder final : public Observer {
 public:
  Recorder(EventLoop& loop, bool main_only)
      : Observer(loop, 1000000), main_only_(main_only) {}

  std::vector<Point> TakePoints() { return std::move(points_); }
  // The moments at which a task has suspended.
  std::vector<Point> TakeSuspensions() { return std::move(suspended_); }

 private:
  void OnMoment(TaskCore& task, bool begins) override {
    if (!begins && CanBeCancelled(task)) {
      suspended_.push_back({moments(), 0, DescribePlace(task)});
    }
    // Between the end of a step and the beginning of the next one in the same
    // iteration nothing happens that a task could notice.
    if (begins && loop_.Iterations() == iteration_) {
      points_.resize(last_moment_);
    }
    iteration_ = begins ? 0 : loop_.Iterations();
    last_moment_ = points_.size();
    ForEachTask(CoreOf(loop_), [&](size_t index, TaskCore& other) {
      if (main_only_ && index != 0) return;
      if (!CanBeCancelled(other)) return;
      points_.push_back(
          {moments(), index,
           absl::StrCat(DescribePlace(other),
                        begins ? " before the step of " : " after the step of ",
                        &other == &task ? "its own" : task.Name())});
    });
  }

  bool main_only_;
  std::vector<Point> points_;
  std::vector<Point> suspended_;
  uint64_t iteration_ = 0;
  size_t last_moment_ = 0;
};

// Cancels at a point, and perhaps once more.
class Injector final : public Observer {
 public:
  // `second` counts the moments of the same task that follow; 0 for none.
  Injector(EventLoop& loop, const Point& point, size_t second,
           size_t most_moments)
      : Observer(loop, most_moments), point_(point), second_(second) {}

  bool injected() const { return injected_; }
  bool injected_again() const { return injected_again_; }
  const std::string& second_place() const { return second_place_; }

 private:
  void OnMoment(TaskCore& task, bool) override {
    if (!injected_ && moments() == point_.moment) {
      ForEachTask(CoreOf(loop_), [&](size_t index, TaskCore& other) {
        if (index == point_.task) Inject(other);
      });
      return;
    }
    if (!injected_ || injected_again_ || second_ == 0) return;
    if (victim_.get() != &task || !CanBeCancelled(task)) return;
    if (--countdown_ > 0) return;
    injected_again_ = true;
    second_place_ = DescribePlace(task);
    task.Cancel("injected again by ForEachCancellationPoint");
  }
  void Inject(TaskCore& task) {
    injected_ = true;
    victim_ = RefPtr<TaskCore>::Share(&task);
    countdown_ = second_;
    task.Cancel("injected by ForEachCancellationPoint");
  }

  const Point& point_;
  size_t second_;
  size_t countdown_ = 0;
  bool injected_ = false;
  bool injected_again_ = false;
  std::string second_place_;
  RefPtr<TaskCore> victim_;
};

// Stops the loop at a moment at which a task has suspended.
class Stopper final : public Observer {
 public:
  Stopper(EventLoop& loop, size_t moment)
      : Observer(loop, 1000000), moment_(moment) {}

 private:
  void OnMoment(TaskCore&, bool) override {
    if (moments() == moment_) throw SweepStop(/*endless=*/false);
  }
  size_t moment_;
};

int FailureCount() {
  const ::testing::TestInfo* test =
      ::testing::UnitTest::GetInstance()->current_test_info();
  return test == nullptr ? 0 : test->result()->total_part_count();
}

// Which point COIL_SWEEP_POINT asks for: "seed:point" or "seed:point:second".
struct Wanted {
  uint64_t seed = 0;
  size_t point = 0;
  size_t second = 0;
};

std::optional<Wanted> WantedPoint() {
  const char* text = std::getenv("COIL_SWEEP_POINT");
  if (text == nullptr || *text == '\0') return std::nullopt;
  Wanted wanted;
  const std::vector<std::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() < 2 || parts.size() > 3 ||
      !absl::SimpleAtoi(parts[0], &wanted.seed) ||
      !absl::SimpleAtoi(parts[1], &wanted.point) ||
      (parts.size() == 3 && !absl::SimpleAtoi(parts[2], &wanted.second))) {
    ADD_FAILURE() << "COIL_SWEEP_POINT is not SEED:POINT or "
                     "SEED:POINT:SECOND: \""
                  << text << "\"";
    return std::nullopt;
  }
  return wanted;
}

class Sweep {
 public:
  Sweep(const char* name, Scenario scenario, const SweepOptions& options,
        std::source_location where)
      : name_(name),
        scenario_(scenario),
        options_(options.values()),
        where_(where) {}

  SweepResult Cancellation() {
    const std::optional<Wanted> wanted = WantedPoint();
    for (uint64_t seed = 0; seed < options_.seeds; ++seed) {
      if (wanted.has_value() && wanted->seed != seed) continue;
      std::vector<Point> points;
      if (!Record(seed, &points, nullptr)) return result_;
      if (wanted.has_value()) {
        if (wanted->point < points.size()) {
          Inject(seed, points[wanted->point], wanted->point, wanted->second);
        } else {
          ADD_FAILURE() << name_ << ": COIL_SWEEP_POINT asks for point "
                        << wanted->point << " of " << points.size();
        }
        continue;
      }
      ForSome(points, [&](size_t k) {
        ++result_.points;
        Inject(seed, points[k], k, 0);
        if (!options_.second_cancel) return;
        for (size_t second = 1; second <= kMostSecondCancels; ++second) {
          if (!Inject(seed, points[k], k, second)) break;
        }
      });
    }
    return result_;
  }

  SweepResult Destruction() {
    const std::optional<Wanted> wanted = WantedPoint();
    for (uint64_t seed = 0; seed < options_.seeds; ++seed) {
      if (wanted.has_value() && wanted->seed != seed) continue;
      std::vector<Point> points;
      if (!Record(seed, nullptr, &points)) return result_;
      ForSome(points, [&](size_t k) {
        if (wanted.has_value() && wanted->point != k) return;
        ++result_.points;
        Destroy(seed, points[k], k);
      });
    }
    return result_;
  }

 private:
  // What one run has found wrong.
  using Problems = std::vector<std::string>;

  template <class F>
  void ForSome(const std::vector<Point>& points, F f) {
    const size_t n = std::min(points.size(), options_.most_points);
    for (size_t i = 0; i < n && result_.failed < kMostFailures; ++i) {
      f(i * points.size() / n);
    }
  }

  // Counts what there is before a run, and afterwards says what has changed.
  class Baseline {
   public:
    explicit Baseline(const SweepOptions::Values& options)
        : options_(options), resources_(ResourceCount::Take()) {
      if (options.base) numbers_ = options.base();
    }
    void Compare(Problems* problems) const {
      for (std::string& surplus : ResourceCount::Take().Surplus(resources_)) {
        problems->push_back(std::move(surplus));
      }
      if (!options_.base) return;
      const std::vector<int64_t> now = options_.base();
      if (now == numbers_) return;
      problems->push_back(absl::StrCat("Base() gives {",
                                       absl::StrJoin(now, ", "), "} and gave {",
                                       absl::StrJoin(numbers_, ", "), "}"));
    }

   private:
    const SweepOptions::Values& options_;
    ResourceCount resources_;
    std::vector<int64_t> numbers_;
  };

  bool Allowed(const std::exception_ptr& error) const {
    for (const auto& allowed : options_.allowed) {
      if (allowed(error)) return true;
    }
    return false;
  }

  // Runs the scenario once while `Watch` observes it. Returns what is wrong.
  template <class Watch, class... Args>
  Problems RunOnce(uint64_t seed, bool injects,
                   absl::FunctionRef<void(Watch&)> seen, Args&&... args) {
    ++result_.runs;
    Problems problems;
    const Baseline baseline(options_);
    const int failures = FailureCount();
    {
      TestLoop test(seed);
      SweepRun run(seed, injects);
      TestLoop::Ended ended;
      {
        Watch watch(test.loop(), std::forward<Args>(args)...);
        ended = test.Run([&] { return scenario_(run); });
        seen(watch);
      }
      Judge(ended, &problems);
      if (ended.how != TestLoop::End::kStuck) {
        test.Settle();
        if (std::exception_ptr error = test.CancelRest()) {
          problems.push_back(
              absl::StrCat("the tasks that are left over do not end: ",
                           DescribeException(error)));
        }
        for (std::string& left : test.Registered()) {
          problems.push_back(std::move(left));
        }
        run.Check();
      }
      test.Close();
      for (std::string& report : test.TakeReports()) {
        if (options_.allow_reports || ended.how == TestLoop::End::kStuck) {
          continue;
        }
        problems.push_back(absl::StrCat("reported: ", report));
      }
    }
    baseline.Compare(&problems);
    if (FailureCount() > failures) {
      problems.push_back("a check of the scenario failed, see above");
    }
    return problems;
  }

  void Judge(const TestLoop::Ended& ended, Problems* problems) {
    switch (ended.how) {
      case TestLoop::End::kValue:
        ++result_.completed;
        return;
      case TestLoop::End::kCancelled:
        ++result_.cancelled;
        return;
      case TestLoop::End::kError:
        if (Allowed(ended.error)) return;
        problems->push_back(absl::StrCat("the scenario threw ",
                                         DescribeException(ended.error)));
        return;
      case TestLoop::End::kStuck:
        problems->push_back(DescribeStuck(ended.error));
        return;
    }
  }

  static std::string DescribeStuck(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const SweepStop&) {
      return "the scenario goes on and on";
    } catch (...) {
      return absl::StrCat("the scenario hangs: ", DescribeException(error));
    }
  }

  // The undisturbed run. False if it went wrong.
  bool Record(uint64_t seed, std::vector<Point>* points,
              std::vector<Point>* suspensions) {
    const SweepResult before = result_;
    const Problems problems = RunOnce<Recorder>(
        seed, /*injects=*/false,
        [&](Recorder& recorder) {
          result_.awaits += recorder.suspensions();
          moments_ = recorder.moments();
          if (points != nullptr) *points = recorder.TakePoints();
          if (suspensions != nullptr) {
            *suspensions = recorder.TakeSuspensions();
          }
        },
        options_.main_only);
    // It is not one of those that are counted.
    result_.runs = before.runs;
    result_.completed = before.completed;
    result_.cancelled = before.cancelled;
    if (problems.empty()) return true;
    ++result_.failed;
    ADD_FAILURE_AT(where_.file_name(), where_.line())
        << name_ << ": the scenario is wrong by itself, with seed " << seed
        << ", before anything was done to it\n  "
        << absl::StrJoin(problems, "\n  ");
    return false;
  }

  // True if everything that was asked for was injected.
  bool Inject(uint64_t seed, const Point& point, size_t k, size_t second) {
    bool injected = false;
    std::string second_place;
    Problems problems;
    {
      ::testing::ScopedTrace trace(
          where_.file_name(), where_.line(),
          absl::StrCat(name_, " seed ", seed, ", point ", k, ": cancel of ",
                       point.description));
      problems = RunOnce<Injector>(
          seed, /*injects=*/true,
          [&](Injector& injector) {
            injected = injector.injected() &&
                       (second == 0 || injector.injected_again());
            second_place = injector.second_place();
          },
          point, second, 10 * moments_ + 10000);
    }
    if (problems.empty()) return injected;
    if (!second_place.empty()) {
      second_place = absl::StrCat("\n  and again: ", second_place);
    }
    std::string which = absl::StrCat(seed, ":", k);
    if (second != 0) absl::StrAppend(&which, ":", second);
    Fail(absl::StrCat("cancelled: ", point.description, second_place), which,
         problems);
    return false;
  }

  void Destroy(uint64_t seed, const Point& point, size_t k) {
    ++result_.runs;
    Problems problems;
    const Baseline baseline(options_);
    const int failures = FailureCount();
    {
      SweepRun run(seed, /*injects=*/true);
      {
        TestLoop test(seed);
        {
          Stopper stopper(test.loop(), point.moment);
          test.Run([&] { return scenario_(run); });
        }
        // All frames go. That it tells of pending tasks is right here.
        test.Close();
        for (std::string& report : test.TakeReports()) {
          if (options_.allow_reports ||
              report.find("was destroyed but it is pending") !=
                  std::string::npos) {
            continue;
          }
          problems.push_back(absl::StrCat("reported: ", report));
        }
      }
      run.Check();
    }
    baseline.Compare(&problems);
    if (FailureCount() > failures) {
      problems.push_back("a check of the scenario failed, see above");
    }
    if (problems.empty()) return;
    Fail(absl::StrCat("destroyed when it had just suspended: ",
                      point.description),
         absl::StrCat(seed, ":", k), problems);
  }

  void Fail(const std::string& done, const std::string& which,
            const Problems& problems) {
    ++result_.failed;
    ADD_FAILURE_AT(where_.file_name(), where_.line())
        << name_ << " fails at " << which << "\n  " << done << "\n  "
        << absl::StrJoin(problems, "\n  ") << "\n  replay: "
        << ReplayCommand({absl::StrCat("COIL_SWEEP_POINT=", which)});
  }

  const char* name_;
  Scenario scenario_;
  const SweepOptions::Values& options_;
  std::source_location where_;
  SweepResult result_;
  size_t moments_ = 0;
};

}  // namespace

SweepResult SweepCancellation(Scenario scenario, const SweepOptions& options,
                              std::source_location where) {
  return Sweep("ForEachCancellationPoint", scenario, options, where)
      .Cancellation();
}

SweepResult SweepDestruction(Scenario scenario, const SweepOptions& options,
                             std::source_location where) {
  return Sweep("ForEachDestructionPoint", scenario, options, where)
      .Destruction();
}

}  // namespace internal
}  // namespace coil
