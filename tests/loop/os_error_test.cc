#include "coil/loop/os_error.h"

#include <cerrno>
#include <string>
#include <system_error>
#include <type_traits>

#include "gtest/gtest.h"

namespace coil {
namespace {

// Example of os_error.h.
bool IsRefused(const coil::OsError& error) {
  return error.code() == std::errc::connection_refused;
}

TEST(OsErrorTest, ExampleOfTheHeader) {
  EXPECT_TRUE(IsRefused(OsError(ECONNREFUSED, "connect")));
  EXPECT_FALSE(IsRefused(OsError(EPERM, "connect")));
}

TEST(OsErrorTest, NamesOperationPeerAndReason) {
  const OsError error(ECONNREFUSED, "connect", "127.0.0.1:80");
  EXPECT_STREQ(error.what(), "connect to 127.0.0.1:80: Connection refused");
  EXPECT_EQ(error.operation(), "connect");
  EXPECT_EQ(error.peer(), "127.0.0.1:80");
  EXPECT_EQ(error.Errno(), ECONNREFUSED);
}

TEST(OsErrorTest, TextReadsAsASentence) {
  EXPECT_STREQ(OsError(EACCES, "open", "/x").what(),
               "open /x: Permission denied");
  EXPECT_STREQ(OsError(EIO, "read", "fd 3").what(),
               "read from fd 3: Input/output error");
  EXPECT_STREQ(OsError(EMFILE, "accept", "[::]:80").what(),
               "accept on [::]:80: Too many open files");
}

TEST(OsErrorTest, WithoutAPeerSaysTheOperationAlone) {
  const OsError error(EMFILE, "epoll_create1");
  EXPECT_STREQ(error.what(), "epoll_create1: Too many open files");
  EXPECT_EQ(error.peer(), "");
}

TEST(OsErrorTest, IsASystemErrorAndARuntimeError) {
  try {
    throw OsError(ENOENT, "open", "/nowhere");
  } catch (const std::runtime_error& e) {
    const auto* system = dynamic_cast<const std::system_error*>(&e);
    ASSERT_NE(system, nullptr);
    EXPECT_EQ(system->code(), std::errc::no_such_file_or_directory);
    return;
  }
  FAIL();
}

TEST(OsErrorTest, CopyingCannotThrow) {
  EXPECT_TRUE(std::is_nothrow_copy_constructible_v<OsError>);
  const OsError error(EIO, "read", "fd 3");
  const OsError copy =
      error;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_STREQ(copy.what(), error.what());
  EXPECT_EQ(copy.peer(), "fd 3");
}

}  // namespace
}  // namespace coil
