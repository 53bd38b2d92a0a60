// The page of `moesaic simulate --html`: what each policy does to the same traffic, as charts and in words.
#pragma once

#include <string>

#include "report/page.hpp"
#include "simulate/sweep.hpp"

namespace moesaic::app {

/// What changes are against: jsq, or the first policy where jsq does not run.
const simulate::PolicyOutcome& base_of(const simulate::LoadOutcome& load);

/// One row a policy; `compared`: with changes against the base.
report::Table policy_table(const simulate::LoadOutcome& load, bool compared);

/// `cluster`: the file's path, for the reader.
report::Page simulate_page(const simulate::SweepOutcome& outcome, const simulate::ClusterFile& file,
                           const std::string& cluster);

}  // namespace moesaic::app
