#include "coil/task/outcome.h"

#include <new>
#include <stdexcept>
#include <system_error>

#include "coil/loop/diagnostics.h"
#include "coil/task/errors.h"

namespace coil {

absl::Status StatusOf(const std::exception_ptr& error) {
  if (error == nullptr) return absl::OkStatus();
  try {
    std::rethrow_exception(error);
  } catch (const TimeoutError& e) {
    return absl::DeadlineExceededError(e.what());
  } catch (const CancelledError& e) {
    return absl::CancelledError(e.message());
  } catch (const std::system_error& e) {
    const bool is_errno = e.code().category() == std::generic_category() ||
                          e.code().category() == std::system_category();
    // An error without a number is an error all the same.
    return absl::Status(is_errno && e.code().value() != 0
                            ? absl::ErrnoToStatusCode(e.code().value())
                            : absl::StatusCode::kUnknown,
                        e.what());
  } catch (const std::invalid_argument& e) {
    return absl::InvalidArgumentError(e.what());
  } catch (const std::out_of_range& e) {
    return absl::OutOfRangeError(e.what());
  } catch (const std::logic_error& e) {
    return absl::FailedPreconditionError(e.what());
  } catch (const std::bad_alloc& e) {
    return absl::ResourceExhaustedError(e.what());
  } catch (...) {
    return absl::UnknownError(DescribeException(error));
  }
}

}  // namespace coil
