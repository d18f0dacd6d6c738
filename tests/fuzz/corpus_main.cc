// Runs a fuzz target over its corpus, with any compiler, and over some inputs
// that are made from it: the arguments are its files.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

std::vector<std::string>& Files() {
  static auto* const files = new std::vector<std::string>;
  return *files;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void RunOne(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

TEST(FuzzCorpusTest, EveryInputIsHandled) {
  EXPECT_GT(Files().size(), 3u);
  for (const std::string& file : Files()) {
    SCOPED_TRACE(file);
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    RunOne(Contents(file));
  }
  RunOne("");
}

// Not a fuzzer: what a change breaks at once.
TEST(FuzzCorpusTest, AndSoAreItsNeighbours) {
  std::mt19937 random(1);
  std::vector<std::string> inputs;
  for (const std::string& file : Files()) inputs.push_back(Contents(file));
  for (int i = 0; i < 300; ++i) {
    std::string input = inputs[random() % inputs.size()];
    for (uint32_t changes = random() % 4; changes > 0; --changes) {
      if (input.empty()) break;
      const size_t at = random() % input.size();
      switch (random() % 4) {
        case 0:
          input[at] = static_cast<char>(random());
          break;
        case 1:
          input.erase(at, 1 + random() % 8);
          break;
        case 2:
          input.insert(at, input.substr(random() % input.size(), 16));
          break;
        default:
          input[at] = static_cast<char>(input[at] ^ (1 << random() % 8));
      }
    }
    RunOne(input);
  }
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  Files().assign(argv + 1, argv + argc);
  return RUN_ALL_TESTS();
}
