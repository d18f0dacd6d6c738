// Helpers of the tests of files.

#ifndef COIL_TESTS_NET_FILE_TESTING_H_
#define COIL_TESTS_NET_FILE_TESTING_H_

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "tests/net/socket_folder.h"

namespace coil_testing {

// A folder of one test, and files in it, without coil.
class FileFolder : public SocketFolder {
 public:
  std::string Make(const std::string& name, std::string_view data) const {
    std::ofstream(Path(name), std::ios::binary) << data;
    return Path(name);
  }
};

inline std::string ContentOf(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(content).str();
}

// `size` bytes of which no two blocks of a thousand are alike. Cheap, as tests
// are compiled without optimisation.
inline std::string Pattern(size_t size) {
  std::string data;
  data.reserve(size + 1000);
  for (int i = 0; data.size() < size; ++i) {
    data += std::to_string(i);
    data.append(1000 - data.size() % 1000, static_cast<char>('a' + i % 23));
  }
  data.resize(size);
  return data;
}

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_FILE_TESTING_H_
