// The words of the quickstart: a word is a run of [a-z0-9'] in lower case.

#ifndef COIL_EXAMPLES_WORD_COUNT_H_
#define COIL_EXAMPLES_WORD_COUNT_H_

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quickstart {

using WordCounts = std::map<std::string, size_t, std::less<>>;

// Counts the words of a text that comes in pieces, with letters in either case.
class WordCounter {
 public:
  // A word may begin in one piece and end in another.
  void Add(std::string_view text);
  // The text has ended.
  const WordCounts& Finish();

 private:
  std::string word_;  // the one that may go on
  WordCounts counts_;
};

// The `n` most frequent words; equal counts in alphabetical order.
std::vector<std::pair<std::string, size_t>> MostFrequent(
    const WordCounts& counts, size_t n);

}  // namespace quickstart

#endif  // COIL_EXAMPLES_WORD_COUNT_H_
