// The words of the quickstart: a word is a run of [a-z0-9'] in lower case.

#ifndef COIL_EXAMPLES_WORD_COUNT_H_
#define COIL_EXAMPLES_WORD_COUNT_H_

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quickstart {

using WordCounts = std::map<std::string, size_t, std::less<>>;

// Adds the words of `text`, whose letters may be in either case.
void CountWords(std::string_view text, WordCounts& counts);

// The `n` most frequent words; equal counts in alphabetical order.
std::vector<std::pair<std::string, size_t>> MostFrequent(
    const WordCounts& counts, size_t n);

}  // namespace quickstart

#endif  // COIL_EXAMPLES_WORD_COUNT_H_
