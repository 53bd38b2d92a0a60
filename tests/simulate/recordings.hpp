// Small recordings for the tests of the simulator.
#pragma once

#include <cmath>
#include <vector>

#include "core/random.hpp"
#include "simulate/recording.hpp"

namespace moesaic::simulate {

/// One request a length. Each domain prefers its own stretch of the experts; every row activates top_k
/// experts a layer.
inline Recording recording_of(const std::vector<std::uint32_t>& lengths, std::size_t layers = 2,
                              std::size_t experts = 16, std::size_t top_k = 2, std::size_t domains = 1,
                              std::uint64_t seed = 1) {
  Recording out;
  out.shape.experts = experts;
  out.shape.top_k = top_k;
  for (std::size_t l = 0; l < layers; ++l) out.shape.layers.push_back(LayerId(l));
  for (std::size_t d = 0; d < domains; ++d) out.domains.push_back("domain-" + std::to_string(d));
  Pcg32 random(seed);
  const std::size_t words = out.words(), cells = out.cells();
  for (std::size_t r = 0; r < lengths.size(); ++r) {
    const std::size_t domain = r % domains, first = out.bits.size() / words;
    out.requests.push_back({.first = first,
                            .decode_tokens = lengths[r],
                            .prompt_tokens = 10,
                            .counted_tokens = 10,
                            .domain = static_cast<std::uint16_t>(domain)});
    out.bits.resize((first + lengths[r]) * words);
    std::vector<float> counts(cells);
    for (std::uint32_t t = 0; t < lengths[r]; ++t) {
      for (std::size_t l = 0; l < layers; ++l) {
        for (std::size_t k = 0; k < top_k; ++k) {
          const std::size_t stretch = experts / domains;
          const std::size_t e = domain * stretch + random.below(static_cast<std::uint32_t>(stretch));
          const std::size_t cell = l * experts + e;
          out.bits[(first + t) * words + cell / 64] |= std::uint64_t{1} << cell % 64;
          counts[cell] += 10.0f / static_cast<float>(lengths[r]);
        }
      }
    }
    for (const float count : counts) {
      out.prefill_counts.push_back(count);
      out.decode_shares.push_back(std::min(1.0f, count / 10));
    }
  }
  return out;
}

}  // namespace moesaic::simulate
