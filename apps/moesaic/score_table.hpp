// How scores look on a terminal.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "planning/plan_maker.hpp"
#include "report/table.hpp"

namespace moesaic::app {

/// One line a score: copies in both modes, bytes, imbalances, Jain.
report::Table score_report(std::span<const planning::NamedScore> scores);
std::string score_table(std::span<const planning::NamedScore> scores);
/// A name as it fits the first column: A@B over two lines where it is long.
std::string shown_name(const std::string& name);
/// What the columns mean, and what holds whatever the placement (allgather).
std::string score_legend(std::size_t nodes);
/// Sentences, one a line, each after "note: ".
void print_notes(const std::vector<std::string>& notes);

}  // namespace moesaic::app
