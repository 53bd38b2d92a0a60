#include "simulate/micro_batch_study.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/check.hpp"
#include "core/random.hpp"
#include "simulate/bit_rows.hpp"

namespace moesaic::simulate {
namespace {

/// A request in flight, in a place that it keeps until it ends.
struct Member {
  std::uint32_t recorded = 0, position = 0;
  std::uint64_t joined = 0;     ///< batches formed before it joined the line
  std::vector<float> counts{};  ///< [L, E] of its prefill, and of what it has decoded where that counts
  std::uint32_t counted = 0;    ///< tokens in `counts`
  std::vector<float> probabilities{};  ///< [L, E]
  std::vector<double> copies{};        ///< [homes]
};

class Study {
 public:
  Study(const Recording& recording, const Foretellers& foretellers, const grouping::ExpectedCopies* copies,
        const StudyOptions& options, Picker picker, std::uint64_t seed)
      : recording_(recording),
        foretellers_(foretellers),
        scratch_(foretellers.of_fold.begin(), foretellers.of_fold.end()),
        copies_(copies),
        options_(options),
        picker_(picker),
        random_(seed, 0x3A7C),
        stream_(recording.requests.size()),
        in_flight_(stream_.size()),
        members_(options.batch.pool),
        batcher_(recording.cells(), options.batch),
        line_(picker == Picker::kFifo ? 0 : grouping::max_passed(options.batch)),
        will_(options.steps * recording.words()),
        any_(recording.words()),
        token_(recording.cells()) {
    MOESAIC_CHECK(options.steps > 0 && options.batches > 0 && options.batch.pool < stream_.size());
    std::iota(stream_.begin(), stream_.end(), 0u);
    shuffle(std::span(stream_), random_);
  }

  StudyFigures run() {
    for (std::uint32_t place = 0; place < members_.size(); ++place) {
      begin(members_[place]);
      // In flight means: somewhere between its first token and its last.
      Member& member = members_[place];
      member.position = random_.below(recording_.requests[member.recorded].decode_tokens);
      if (picker_ == Picker::kObserved) {
        for (std::uint32_t p = 0; p < member.position; ++p) observe(member, p);
      }
      join(place, 0);
    }
    const std::size_t homes = copies_ == nullptr ? 1 : copies_->homes();
    for (batch_ = 0; batch_ < options_.batches; ++batch_) {
      const std::size_t home = batch_ % homes;
      const std::vector<std::uint32_t> batch = next(home);
      for (const std::uint32_t place : batch) {
        const std::uint64_t waited = batch_ - members_[place].joined;
        waited_ += waited;
        longest_wait_ = std::max(longest_wait_, waited);
      }
      taken_ += batch.size();
      decode(batch, home);
    }
    const auto steps = static_cast<double>(steps_);
    return {.experts_per_step = static_cast<double>(experts_) / steps,
            .requests_per_step = static_cast<double>(tokens_) / steps,
            .node_copies_per_token = node_copies_ / static_cast<double>(tokens_),
            .mean_wait = static_cast<double>(waited_) / static_cast<double>(taken_),
            .longest_wait = static_cast<double>(longest_wait_)};
  }

 private:
  const RecordedRequest& recorded(const Member& member) const { return recording_.requests[member.recorded]; }
  const std::uint64_t* row(const Member& member, std::size_t position) const {
    return recording_.bits.data() + (recorded(member).first + position) * recording_.words();
  }

  /// The next request of the stream that is not in flight; the stream is dealt anew when it is through.
  void begin(Member& member) {
    while (true) {
      if (next_ == stream_.size()) {
        shuffle(std::span(stream_), random_);
        next_ = 0;
      }
      const std::uint32_t request = stream_[next_++];
      if (in_flight_[request]) continue;
      in_flight_[request] = true;
      member.recorded = request;
      break;
    }
    member.position = 0;
    const std::span<const float> counts = recording_.counts(member.recorded);
    member.counts.assign(counts.begin(), counts.end());
    member.counted = recorded(member).counted_tokens;
    member.probabilities.clear();
  }

  template <class Visit>
  void each_cell(const std::uint64_t* bits, Visit visit) const {
    for (std::size_t w = 0; w < recording_.words(); ++w) {
      for (std::uint64_t word = bits[w]; word != 0; word &= word - 1) {
        visit(w * 64 + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }

  void observe(Member& member, std::size_t position) {
    each_cell(row(member, position), [&](std::size_t cell) { member.counts[cell] += 1; });
    ++member.counted;
  }

  bool by_prediction() const { return picker_ == Picker::kExpected || picker_ == Picker::kObserved; }

  /// `batches`: that have run.
  void join(std::uint32_t place, std::uint64_t batches) {
    Member& member = members_[place];
    member.joined = batches;
    if (!by_prediction()) return line_.push(place);
    if (member.probabilities.empty() || picker_ == Picker::kObserved) {
      member.probabilities.resize(recording_.cells());
      signature::predict(foretellers_.of(member.recorded), member.counts, member.counted,
                         member.probabilities, scratch_[foretellers_.fold_of(member.recorded)]);
      if (copies_ != nullptr) {
        member.copies.resize(copies_->homes());
        copies_->of(member.probabilities, member.copies);
      }
    }
    batcher_.add({.id = place, .probabilities = member.probabilities, .copies = member.copies});
  }

  std::vector<std::uint32_t> next(std::size_t home) {
    if (by_prediction()) return batcher_.next(home);
    std::ranges::fill(will_, 0);
    bool first = true;
    // Rows of one request lie one after the other, so its next steps are one long row.
    const auto words = [&](std::uint32_t place) {
      const Member& member = members_[place];
      const std::size_t left = recorded(member).decode_tokens - member.position;
      return std::min(options_.steps, left) * recording_.words();
    };
    const auto start = [&](std::uint32_t place) { return row(members_[place], members_[place].position); };
    return grouping::take_cheapest(
        line_, options_.batch.requests, picker_ == Picker::kFifo ? 1 : options_.batch.pool,
        [&](std::uint32_t place) {
          return first ? 0 : count_added(start(place), will_.data(), words(place));
        },
        [&](std::uint32_t place) {
          first = false;
          if (picker_ == Picker::kOracle) add_bits(will_.data(), start(place), words(place));
        });
  }

  void decode(const std::vector<std::uint32_t>& batch, std::size_t home) {
    for (std::size_t step = 0; step < options_.steps; ++step) {
      std::ranges::fill(any_, 0);
      bool runs = false;
      for (const std::uint32_t place : batch) {
        Member& member = members_[place];
        if (member.position == recorded(member).decode_tokens) continue;
        runs = true;
        add_bits(any_.data(), row(member, member.position), any_.size());
        if (copies_ != nullptr) count_copies(row(member, member.position), home);
        if (picker_ == Picker::kObserved) observe(member, member.position);
        ++member.position;
        ++tokens_;
      }
      if (!runs) break;
      experts_ += count_bits(any_.data(), any_.size());
      ++steps_;
    }
    for (const std::uint32_t place : batch) {
      Member& member = members_[place];
      if (member.position == recorded(member).decode_tokens) {
        in_flight_[member.recorded] = false;
        begin(member);
      }
      join(place, batch_ + 1);
    }
  }

  void count_copies(const std::uint64_t* bits, std::size_t home) {
    std::ranges::fill(token_, 0.0f);
    each_cell(bits, [&](std::size_t cell) { token_[cell] = 1; });
    node_copies_ += copies_->at(home, token_);
  }

  const Recording& recording_;
  const Foretellers& foretellers_;
  std::vector<signature::PredictionScratch> scratch_;  ///< by fold
  const grouping::ExpectedCopies* copies_;
  const StudyOptions& options_;
  Picker picker_;
  Pcg32 random_;
  std::vector<std::uint32_t> stream_;
  std::size_t next_ = 0;
  std::vector<bool> in_flight_;
  std::vector<Member> members_;
  grouping::MicroBatcher batcher_;
  grouping::WaitingLine line_;
  std::vector<std::uint64_t> will_, any_;
  std::vector<float> token_;
  std::uint64_t batch_ = 0, taken_ = 0, waited_ = 0, longest_wait_ = 0;
  std::int64_t steps_ = 0, tokens_ = 0, experts_ = 0;
  double node_copies_ = 0;
};

std::size_t index_of(Picker picker) { return static_cast<std::size_t>(picker); }

struct NamedStudyFigure {
  const char* name;
  double StudyFigures::* figure;
};
constexpr NamedStudyFigure kStudyFigures[] = {{"experts_per_step", &StudyFigures::experts_per_step},
                                              {"longest_wait", &StudyFigures::longest_wait},
                                              {"mean_wait", &StudyFigures::mean_wait},
                                              {"requests_per_step", &StudyFigures::requests_per_step}};
constexpr NamedStudyFigure kCopies = {"node_copies_per_token", &StudyFigures::node_copies_per_token};

}  // namespace

std::string_view name(Picker picker) {
  constexpr std::string_view kNames[] = {"fifo", "expected", "observed", "oracle"};
  return kNames[index_of(picker)];
}

StudyFigures run_study(const Recording& recording, const Foretellers& foretellers,
                       const grouping::ExpectedCopies* copies, const StudyOptions& options, Picker picker,
                       std::uint64_t seed) {
  return Study(recording, foretellers, copies, options, picker, seed).run();
}

Estimate StudyOutcome::estimate(Picker picker, double StudyFigures::* figure) const {
  std::vector<double> values;
  for (const StudyFigures& run : of_picker[index_of(picker)]) values.push_back(run.*figure);
  return simulate::estimate(values);
}

Estimate StudyOutcome::change(Picker picker, double StudyFigures::* figure) const {
  std::vector<double> values, base;
  for (const StudyFigures& run : of_picker[index_of(picker)]) values.push_back(run.*figure);
  for (const StudyFigures& run : of_picker[index_of(Picker::kFifo)]) base.push_back(run.*figure);
  return estimate_change(values, base);
}

Result<std::vector<StudyOutcome>> run_studies(const Recording& recording, const Foretellers& foretellers,
                                              const grouping::ExpectedCopies* copies,
                                              const std::vector<StudyOptions>& options, std::uint64_t seeds,
                                              std::uint64_t first_seed, ThreadPool& pool) {
  std::vector<StudyOutcome> out;
  for (const StudyOptions& one : options) {
    if (one.batch.requests > one.batch.pool) {
      return bad_input(fmt::format("A pool of {} requests is smaller than a batch of {}; give a larger pool.",
                                   one.batch.pool, one.batch.requests));
    }
    if (one.batch.pool >= recording.requests.size()) {
      return bad_input(
          fmt::format("A pool of {} requests in flight needs more recorded ones than the {} that are served; "
                      "give a smaller pool or a longer trace.",
                      one.batch.pool, recording.requests.size()));
    }
    out.push_back(
        {.options = one, .of_picker = {std::size(kPickers), std::vector<StudyFigures>(std::size_t{seeds})}});
  }
  const std::size_t of_option = std::size(kPickers) * seeds;
  pool.parallel_for(out.size() * of_option, [&](std::size_t i) {
    const std::size_t option = i / of_option, picker = i % of_option / seeds, seed = i % seeds;
    out[option].of_picker[picker][seed] =
        run_study(recording, foretellers, copies, out[option].options, kPickers[picker], first_seed + seed);
  });
  return out;
}

Json to_json(const std::vector<StudyOutcome>& outcomes, bool with_copies) {
  Json::Array out;
  for (const StudyOutcome& outcome : outcomes) {
    Json one;
    one["pool"] = outcome.options.batch.pool;
    one["requests"] = outcome.options.batch.requests;
    for (const Picker picker : kPickers) {
      Json& figures = one["policies"][name(picker)];
      const auto add = [&](const NamedStudyFigure& named) {
        const Estimate value = outcome.estimate(picker, named.figure);
        figures[named.name] = value.mean;
        figures["ci95"][named.name] = value.half;
      };
      const auto add_change = [&](const NamedStudyFigure& named) {
        const Estimate value = outcome.change(picker, named.figure);
        figures["change_against_fifo"][named.name] = Json::Object{{"ci95", value.half}, {"mean", value.mean}};
      };
      for (const NamedStudyFigure& named : kStudyFigures) add(named);
      if (with_copies) add(kCopies);
      if (picker == Picker::kFifo) continue;
      add_change(kStudyFigures[0]);
      if (with_copies) add_change(kCopies);
    }
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace moesaic::simulate
