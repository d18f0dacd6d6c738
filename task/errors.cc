#include "coil/task/errors.h"

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"

namespace coil {
namespace {

// "unhandled errors (2 sub-exceptions: std::runtime_error: a; ...)".
std::string Summary(std::string_view message,
                    const std::vector<std::exception_ptr>& exceptions) {
  std::string text = absl::StrCat(
      message, " (", exceptions.size(),
      exceptions.size() == 1 ? " sub-exception" : " sub-exceptions");
  const char* separator = ": ";
  for (const std::exception_ptr& error : exceptions) {
    absl::StrAppend(&text, separator, DescribeException(error));
    separator = "; ";
  }
  return text + ")";
}

const std::vector<std::exception_ptr>& Checked(
    const std::vector<std::exception_ptr>& exceptions) {
  if (exceptions.empty()) {
    throw std::invalid_argument("ExceptionGroup: needs at least one exception");
  }
  for (const std::exception_ptr& error : exceptions) {
    if (error == nullptr) {
      throw std::invalid_argument("ExceptionGroup: an exception is null");
    }
  }
  return exceptions;
}

}  // namespace

ExceptionGroup::ExceptionGroup(std::string_view message,
                               std::vector<std::exception_ptr> exceptions)
    : std::runtime_error(Summary(message, Checked(exceptions))),
      message_(message),
      exceptions_(std::move(exceptions)) {}

bool ExceptionGroup::FindIf(const Predicate& matches, bool of_groups) const {
  for (const std::exception_ptr& error : exceptions_) {
    try {
      std::rethrow_exception(error);
    } catch (const ExceptionGroup& group) {
      if (of_groups && matches(error)) return true;
      if (group.FindIf(matches, of_groups)) return true;
    } catch (...) {
      if (matches(error)) return true;
    }
  }
  return false;
}

std::pair<std::optional<ExceptionGroup>, std::optional<ExceptionGroup>>
ExceptionGroup::SplitIf(const Predicate& matches, bool of_groups) const {
  std::vector<std::exception_ptr> yes;
  std::vector<std::exception_ptr> no;
  for (const std::exception_ptr& error : exceptions_) {
    try {
      std::rethrow_exception(error);
    } catch (const ExceptionGroup& group) {
      if (of_groups && matches(error)) {
        yes.push_back(error);
        continue;
      }
      auto [inner_yes, inner_no] = group.SplitIf(matches, of_groups);
      if (inner_yes) yes.push_back(std::make_exception_ptr(*inner_yes));
      if (inner_no) no.push_back(std::make_exception_ptr(*inner_no));
    } catch (...) {
      (matches(error) ? yes : no).push_back(error);
    }
  }
  std::pair<std::optional<ExceptionGroup>, std::optional<ExceptionGroup>>
      halves;
  if (!yes.empty()) halves.first.emplace(message_, std::move(yes));
  if (!no.empty()) halves.second.emplace(message_, std::move(no));
  return halves;
}

}  // namespace coil
