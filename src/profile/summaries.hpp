// From the figures of single layers to those of the model.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "profile/profile.hpp"

namespace moesaic::profile {

std::string phase_name(std::size_t phase_row);
PhaseFigures phase_figures(std::size_t phase_row, Loads loads);
StepsOfBatch mean_steps(const std::vector<LayerProfile>& layers, std::size_t schedule, std::size_t batch);
Correlations correlations(const std::vector<LayerProfile>& layers, const Walk& walk);
Correlations no_correlations();
Structure structure(const std::vector<LayerProfile>& layers);
Structure no_structure();
Grouping grouping(const std::vector<LayerProfile>& layers, const PassPlan& plan, std::size_t experts);
void say_what_is_missing(const Walk& walk, Profile& out);

}  // namespace moesaic::profile
