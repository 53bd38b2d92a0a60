#include "emulator/routed_experts.hpp"

#include <cmath>
#include <cstring>
#include <vector>

#include "core/check.hpp"
#include "io/base64.hpp"
#include "io/npy.hpp"

namespace moesaic::emulator {
namespace {

/// [prompt + completion - 1, MoE layers, k], -1 where there is none.
struct Rows {
  std::size_t tokens = 0;
  std::vector<std::int32_t> ids{};
};

Rows rows_of(const simulate::Recording& recording, std::uint32_t request, std::uint32_t completion) {
  const simulate::RecordedRequest& recorded = recording.requests[request];
  const std::size_t layers = recording.shape.layers.size(), experts = recording.shape.experts;
  const std::size_t k = recording.shape.top_k, prompt = recorded.counted_tokens;
  Rows rows{.tokens = prompt + completion - 1, .ids = {}};
  rows.ids.assign(rows.tokens * layers * k, -1);
  const auto counts = recording.counts(request);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    // Only counts of the prompt are kept: dealt out in turn, no token gets an expert twice, and they add up.
    std::size_t dealt = 0;
    for (std::size_t expert = 0; expert < experts; ++expert) {
      const auto times = static_cast<std::size_t>(std::lround(counts[layer * experts + expert]));
      for (std::size_t i = 0; i < times && dealt < prompt * k; ++i, ++dealt) {
        rows.ids[(dealt % prompt * layers + layer) * k + dealt / prompt] = static_cast<std::int32_t>(expert);
      }
    }
  }
  for (std::size_t t = 0; t + 1 < completion; ++t) {
    const std::uint64_t* const bits =
        recording.bits.data() + (recorded.first + t % recorded.decode_tokens) * recording.words();
    for (std::size_t layer = 0; layer < layers; ++layer) {
      std::size_t taken = 0;
      for (std::size_t expert = 0; expert < experts && taken < k; ++expert) {
        const std::size_t bit = layer * experts + expert;
        if ((bits[bit / 64] >> bit % 64 & 1) == 0) continue;
        rows.ids[((prompt + t) * layers + layer) * k + taken++] = static_cast<std::int32_t>(expert);
      }
    }
  }
  return rows;
}

}  // namespace

std::string vllm_routed_experts(const simulate::Recording& recording, std::uint32_t request,
                                std::uint32_t completion) {
  MOESAIC_CHECK(completion > 0 && !recording.prefill_counts.empty());
  const Rows rows = rows_of(recording, request, completion);
  const std::vector<std::uint64_t> shape = {rows.tokens, recording.shape.layers.size(),
                                            recording.shape.top_k};
  const io::Array array = io::make_array(shape, rows.ids);
  const Result<std::string> file = io::write_npy(array);
  MOESAIC_CHECK(file.has_value());
  return io::encode_base64(io::as_bytes(*file));
}

std::string sglang_routed_experts(const simulate::Recording& recording, std::uint32_t request,
                                  std::uint32_t completion) {
  MOESAIC_CHECK(completion > 0 && !recording.prefill_counts.empty());
  const Rows rows = rows_of(recording, request, completion);
  const std::size_t k = recording.shape.top_k, planes = recording.shape.model_layers;
  const std::size_t layers = recording.shape.layers.size();
  std::vector<std::byte> bytes(rows.tokens * planes * k * 4);
  for (std::size_t row = 0; row < rows.tokens; ++row) {
    for (std::size_t layer = 0; layer < layers; ++layer) {
      for (std::size_t i = 0; i < k; ++i) {
        const std::int32_t id = rows.ids[(row * layers + layer) * k + i];
        const std::size_t at = (row * planes + index(recording.shape.layers[layer])) * k + i;
        std::memcpy(bytes.data() + 4 * at, &id, 4);
      }
    }
  }
  return io::encode_base64(bytes);
}

}  // namespace moesaic::emulator
