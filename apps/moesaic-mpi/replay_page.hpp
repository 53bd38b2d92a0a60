// The page of a replay: who sent how much to whom, where the time went, layer by layer.
#pragma once

#include <string>

#include "replay/replay.hpp"
#include "replay_work.hpp"
#include "report/page.hpp"

namespace moesaic::app {

report::Page replay_page(const replay::Report& report, const PredictedBytes& predicted,
                         const std::string& plan, const std::string& trace, const ReplayWork& work);

}  // namespace moesaic::app
