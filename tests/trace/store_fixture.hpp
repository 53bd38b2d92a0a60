// Small random traces for the tests of stores: written, read back, compared byte by byte.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/random.hpp"
#include "io/files.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace::testing {

inline constexpr StoreLayout kSmallLayout{.shard_tokens = 64, .piece_tokens = 16};

struct MadeRecord {
  RequestRecord request;
  std::uint64_t anonymous = 0;  ///< > 0: so many tokens of no request
  std::vector<ExpertId> experts;
  std::vector<float> weights;
};

struct MadeTrace {
  ModelShape shape;
  WriterOptions options;
  std::size_t final_experts = 0;
  std::vector<MadeRecord> records;
  Provenance provenance{.format = "made", .sources = {"a.json"}, .anomalies = {{"dropped", "A line.", 1}}};
};

inline ModelShape made_shape(std::size_t layers, std::size_t experts, std::size_t top_k) {
  ModelShape shape{
      .model = "made", .model_layers = 2 * layers, .layers = {}, .experts = experts, .top_k = top_k};
  for (std::size_t l = 0; l < layers; ++l) shape.layers.push_back(static_cast<LayerId>(2 * l + 1));
  return shape;
}

/// Requests of up to 40 tokens, a few empty, some choices missing, two domains, now and then anonymous
/// tokens.
inline MadeTrace make_trace(std::uint64_t seed, std::size_t records, const ModelShape& shape,
                            bool weights = false) {
  MadeTrace made{.shape = shape, .options = {}, .final_experts = shape.experts, .records = {}};
  made.options.layout = kSmallLayout;
  made.options.weights = weights;
  made.options.fingerprint = "made from " + std::to_string(seed);
  Pcg32 random(seed);
  for (std::size_t r = 0; r < records; ++r) {
    MadeRecord record;
    if (random.below(5) == 0) {
      record.anonymous = 1 + random.below(20);
    } else {
      record.request = {.id = "request " + std::to_string(r),
                        .domain = random.below(2) == 0 ? "math" : "",
                        .prefill_tokens = random.below(20),
                        .decode_tokens = random.below(20),
                        .arrival_ns = static_cast<std::int64_t>(r) * 1000};
    }
    const std::uint64_t tokens =
        record.anonymous + record.request.prefill_tokens + record.request.decode_tokens;
    for (std::uint64_t t = 0; t < tokens * shape.layers.size(); ++t) {
      // k distinct experts: a random start and odd steps round the ring
      const std::uint32_t start = random.below(static_cast<std::uint32_t>(shape.experts));
      for (std::size_t j = 0; j < shape.top_k; ++j) {
        const bool missing = random.below(30) == 0;
        record.experts.push_back(missing ? kMissingExpert
                                         : static_cast<ExpertId>((start + shape.top_k - j) % shape.experts));
        if (weights)
          record.weights.push_back(missing ? std::numeric_limits<float>::quiet_NaN()
                                           : static_cast<float>(random.uniform()));
      }
    }
    made.records.push_back(std::move(record));
  }
  return made;
}

inline Status add(TokenWriter& writer, const MadeRecord& record) {
  if (record.anonymous > 0) return writer.add_anonymous(record.anonymous, record.experts, record.weights);
  return writer.add_request(record.request, record.experts, record.weights);
}

/// Writes it all, but for the records that an interrupted run left on disk.
inline Status write(io::FileSystem& files, const std::string& path, const MadeTrace& made) {
  MOESAIC_ASSIGN(TokenWriter writer, TokenWriter::open(files, path, made.shape, made.options));
  for (std::size_t r = static_cast<std::size_t>(writer.records_to_skip()); r < made.records.size(); ++r) {
    MOESAIC_TRY(add(writer, made.records[r]));
  }
  return writer.finish(made.final_experts, made.provenance);
}

/// The experts of all records, [tokens, L, k], as a store gives them back: sorted in a token.
inline std::vector<ExpertId> sorted_experts(const MadeTrace& made) {
  std::vector<ExpertId> all;
  for (const MadeRecord& record : made.records)
    all.insert(all.end(), record.experts.begin(), record.experts.end());
  for (std::size_t i = 0; i < all.size(); i += made.shape.top_k) {
    std::sort(all.begin() + static_cast<std::ptrdiff_t>(i),
              all.begin() + static_cast<std::ptrdiff_t>(i + made.shape.top_k));
  }
  return all;
}

}  // namespace moesaic::trace::testing
