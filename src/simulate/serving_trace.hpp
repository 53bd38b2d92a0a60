// Recorded arrivals of real services: when requests came and how long they were, without their content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::simulate {

/// Columns of one length, times ascending from 0.
struct ServingTrace {
  std::vector<Nanoseconds> at{};
  std::vector<std::uint32_t> prompt_tokens{}, output_tokens{};
  /// Blocks of the i-th prompt, by content: block_ids [block_end[i - 1], block_end[i]). Empty: unknown.
  std::vector<std::size_t> block_end{};
  std::vector<std::uint64_t> block_ids{};

  std::size_t size() const { return at.size(); }
  std::span<const std::uint64_t> blocks(std::size_t i) const {
    if (block_end.empty()) return {};
    const std::size_t begin = i == 0 ? 0 : block_end[i - 1];
    return std::span(block_ids).subspan(begin, block_end[i] - begin);
  }
};

/// Azure's LLM inference traces of 2023: CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens. Errors
/// (bad input) name `where` and the line.
Result<ServingTrace> parse_azure_csv(std::string_view text, const std::string& where);
/// Mooncake's traces: JSON lines of timestamp (ms), input_length, output_length, hash_ids (blocks of 512
/// tokens). Errors (bad input) name `where` and the line.
Result<ServingTrace> parse_mooncake_jsonl(std::string_view text, const std::string& where);
/// By the file's name, .csv or .jsonl, plain or compressed.
Result<ServingTrace> read_serving_trace(io::FileSystem& files, const std::string& path);

}  // namespace moesaic::simulate
