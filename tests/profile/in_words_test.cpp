#include "profile/in_words.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace moesaic::profile {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

/// A counts-like profile of one layer of four experts, with what the test sets.
Profile of_loads(std::vector<double> loads) {
  Profile p;
  p.layers = {7};
  p.experts = loads.size();
  p.main_phase = "decode";
  PhaseFigures phase{
      .phase = "decode", .rows = 0, .layers = {spread(loads)}, .loads = {}, .domains = {}, .average = {}};
  phase.average = phase.layers[0];
  p.phases.push_back(phase);
  p.balance = {.gpus = 2,
               .contiguous = 1.5,
               .steps = {{.extra = 0, .slots_per_gpu = 2, .bound = 1, .in_sample = 1.02, .held_out = 1.1},
                         {.extra = 0.5, .slots_per_gpu = 3, .bound = 1, .in_sample = 1, .held_out = 1.01}}};
  p.structure.reuse = kNothing;
  p.drift.lost = kNothing;
  return p;
}

const Remark* find(const std::vector<Remark>& remarks, const std::string& topic) {
  const auto at =
      std::find_if(remarks.begin(), remarks.end(), [&](const Remark& r) { return r.topic == topic; });
  return at == remarks.end() ? nullptr : &*at;
}

TEST(InWords, SaysWhatPaysWithItsNumbers) {
  const std::vector<Remark> remarks = in_words(of_loads({9, 1, 1, 1}));
  const Remark* load = find(remarks, "Load");
  ASSERT_NE(load, nullptr);
  EXPECT_EQ(load->verdict, "uneven");
  EXPECT_NE(load->text.find("3.00 × the mean"), std::string::npos) << load->text;
  EXPECT_NE(load->text.find("layer 7"), std::string::npos);
  EXPECT_NE(load->text.find("idles 33 %"), std::string::npos);
  EXPECT_EQ(find(remarks, "Placement for balance")->verdict, "pays");
  EXPECT_EQ(find(remarks, "Replicas")->verdict, "pay from +50 %");
}

TEST(InWords, SaysWhatDoesNotPay) {
  Profile p = of_loads({1, 1, 1, 1});
  p.balance.contiguous = 1.05;
  p.balance.steps[1].held_out = 1.04;
  const std::vector<Remark> remarks = in_words(p);
  EXPECT_EQ(find(remarks, "Load")->verdict, "even");
  EXPECT_EQ(find(remarks, "Placement for balance")->verdict, "does not pay");
  EXPECT_EQ(find(remarks, "Replicas")->verdict, "do not pay");
}

TEST(InWords, WithoutALaterWindowItSpeaksOfTheSameTraffic) {
  Profile p = of_loads({9, 1, 1, 1});
  for (BalanceGain& gain : p.balance.steps) gain.held_out = kNothing;
  const std::vector<Remark> remarks = in_words(p);
  EXPECT_NE(find(remarks, "Placement for balance")->text.find("one window"), std::string::npos);
  EXPECT_NE(find(remarks, "Replicas")->text.find("on the same traffic"), std::string::npos);
}

TEST(InWords, LeavesOutWhatTheTraceCannotTell) {
  const std::vector<Remark> remarks = in_words(of_loads({9, 1, 1, 1}));
  for (const char* topic : {"Grouping", "Domains", "Decode steps", "Prefill and decode", "Time", "Structure"})
    EXPECT_EQ(find(remarks, topic), nullptr) << topic;
  for (const Remark& remark : remarks) EXPECT_EQ(remark.text.find("nan"), std::string::npos) << remark.text;
}

TEST(InWords, NamesTheDomainsThatDifferMostAndLeast) {
  Profile p = of_loads({9, 1, 1, 1});
  p.domains = {"math", "law", "code"};
  p.between.jensen_shannon_bits = {0, .3, .1, .3, 0, .02, .1, .02, 0};
  p.generic = {.experts = {{0}}, .share = 0.75};
  p.clusters.agreement = kNothing;
  const std::vector<Remark> remarks = in_words(p);
  const Remark* domains = find(remarks, "Domains");
  ASSERT_NE(domains, nullptr);
  EXPECT_NE(domains->text.find("math and law differ most, by 0.300 bits"), std::string::npos)
      << domains->text;
  EXPECT_NE(domains->text.find("law and code least, by 0.020"), std::string::npos) << domains->text;
}

}  // namespace
}  // namespace moesaic::profile
