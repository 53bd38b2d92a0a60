#include "gateway/prompt_usage.hpp"

#include <utility>

#include "core/check.hpp"
#include "protocol/prompt_text.hpp"

namespace moesaic::gateway {

PromptUsage::PromptUsage(signature::PromptModel model) : model_(std::move(model)) {
  MOESAIC_CHECK(signature::validate(model_).has_value() && model_.cells > 0);
  for (std::size_t group = 0; group < model_.groups(); ++group) {
    const auto mean = model_.usage_of(group);
    usage_.push_back(std::make_shared<const Usage>(Usage{.counts = {mean.begin(), mean.end()}, .tokens = 1}));
  }
  model_.usage = std::vector<float>();  // kept once
  model_.cells = 0;
}

std::shared_ptr<const Usage> PromptUsage::of(std::string_view prompt) const {
  const std::string text = protocol::prompt_text(prompt, model_.features.max_bytes);
  return text.empty() ? nullptr : usage_[model_.group(text)];
}

}  // namespace moesaic::gateway
