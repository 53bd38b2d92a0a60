// SGLang's expert distribution recorder in mode `stat`, as far as who drives it from outside can tell (sglang
// srt/eplb/expert_distribution.py): started, stopped, dumped as torch.save writes a dict with one tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::emulator {

class Recorder {
 public:
  /// Counts nothing until start(). Dense layers are rows of zeros in the dump, as the engine writes them.
  explicit Recorder(ModelShape shape);

  /// From now on, from zero.
  void start();
  void stop() { running_ = false; }
  bool running() const { return running_; }
  /// Decode tokens since the start.
  std::uint64_t tokens() const { return tokens_; }

  /// A token that activates the set bits: bit row x E + expert, `row` over the MoE layers.
  void add_token(const std::uint64_t* bits);
  /// Tokens of a prefill, [MoE layers, E].
  void add_counts(std::span<const float> counts);

  /// Writes `folder`/expert_distribution_recorder_<stamp>_0.pt and forgets what was counted. Errors
  /// (environment) name the file.
  Status dump(io::FileSystem& files, const std::string& folder, std::uint64_t stamp);

 private:
  ModelShape shape_;
  std::vector<std::int32_t> counts_;  ///< [MoE layers, E]
  std::uint64_t tokens_ = 0;
  bool running_ = false;
};

}  // namespace moesaic::emulator
