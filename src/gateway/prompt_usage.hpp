// What a prompt's words alone say of its experts: the mean usage of the group of recorded requests that the
// prompt model (router.json, `moesaic fit --prompts`) takes it for.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "gateway/signature_cache.hpp"
#include "signature/prompt_model.hpp"

namespace moesaic::gateway {

class PromptUsage {
 public:
  /// REQUIRES: a valid model with usage.
  explicit PromptUsage(signature::PromptModel model);

  /// `prompt` is JSON text as in protocol::RequestBody. nullptr for a prompt without words. The counts are
  /// those of one token: a group's mean tells little of a single request, and predictions weigh them so.
  /// O(bytes that the model reads + groups x buckets).
  std::shared_ptr<const Usage> of(std::string_view prompt) const;
  std::size_t groups() const { return usage_.size(); }

 private:
  signature::PromptModel model_;
  std::vector<std::shared_ptr<const Usage>> usage_;  ///< of each group
};

}  // namespace moesaic::gateway
