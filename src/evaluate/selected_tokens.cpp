#include "evaluate/selected_tokens.hpp"

#include <algorithm>
#include <tuple>

#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic::evaluate {
namespace {

/// Read granularity: the store's inner chunk, so that no chunk is decoded twice.
constexpr std::uint64_t kBlock = 16'384;

}  // namespace

std::uint64_t arrival_key(const trace::RequestTable& table, std::uint32_t request) {
  return table.arrival_ns.empty() ? counter_hash({hash_bytes(table.id[request])})
                                  : static_cast<std::uint64_t>(table.arrival_ns[request]);
}

SelectedTokens::SelectedTokens(const trace::Trace& trace, TokenChoice choice)
    : trace_(trace), choice_(std::move(choice)) {
  MOESAIC_CHECK(trace.kind() == trace::Kind::kTokens);
  const trace::RequestTable& table = trace.requests();
  std::ranges::sort(choice_.requests, [&](std::uint32_t a, std::uint32_t b) {
    return std::tuple(arrival_key(table, a), a) < std::tuple(arrival_key(table, b), b);
  });
  for (const std::uint32_t r : choice_.requests) {
    TokenSpans span =
        token_spans(table.prefill_tokens[r], table.decode_tokens[r], choice_.phase, choice_.from);
    if (choice_.score_predicted && !choice_.from.prefill) span.score_begin = span.predict_begin;
    scored_tokens_ += span.score_end - span.score_begin;
    predict_tokens_ += span.predict_end - span.predict_begin;
    spans_.push_back(span);
  }
  score_pieces_ = pieces(Part::kScore);
  predict_pieces_ = pieces(Part::kPredict);
}

std::vector<std::uint64_t> SelectedTokens::scored_per_request() const {
  std::vector<std::uint64_t> counts;
  for (const TokenSpans& span : spans_) counts.push_back(span.score_end - span.score_begin);
  return counts;
}

std::vector<SelectedTokens::Piece> SelectedTokens::pieces(Part part) const {
  std::vector<Piece> all;
  std::size_t to = 0;
  for (std::size_t i = 0; i < spans_.size(); ++i) {
    const bool score = part == Part::kScore;
    const std::size_t begin = score ? spans_[i].score_begin : spans_[i].predict_begin;
    const std::size_t end = score ? spans_[i].score_end : spans_[i].predict_end;
    if (begin == end) continue;
    all.push_back({.from = trace_.requests().start[choice_.requests[i]] + begin,
                   .count = end - begin,
                   .to = to,
                   .request = i});
    to += end - begin;
  }
  std::ranges::sort(all, {}, &Piece::from);
  return all;
}

template <class Visit>
Status SelectedTokens::for_each_run(std::size_t row, const std::vector<Piece>& pieces, Visit visit) const {
  const std::size_t k = trace_.shape().top_k;
  std::vector<ExpertId> block;
  std::uint64_t block_begin = 0, block_end = 0;
  for (const Piece& piece : pieces) {
    for (std::size_t done = 0; done < piece.count;) {
      const std::uint64_t token = piece.from + done;
      if (token >= block_end || token < block_begin) {
        block_begin = token / kBlock * kBlock;
        block_end = std::min(block_begin + kBlock, trace_.tokens());
        block.resize(static_cast<std::size_t>(block_end - block_begin) * k);
        MOESAIC_TRY(trace_.read_layer(row, block_begin, block_end, block));
      }
      const std::size_t n = std::min(piece.count - done, static_cast<std::size_t>(block_end - token));
      visit(
          piece,
          std::span<const ExpertId>(block).subspan(static_cast<std::size_t>(token - block_begin) * k, n * k),
          done);
      done += n;
    }
  }
  return {};
}

std::vector<traffic::Segment> SelectedTokens::segments(std::span<const HomeId> homes) const {
  MOESAIC_CHECK(homes.size() == spans_.size());
  std::vector<traffic::Segment> all;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < spans_.size(); ++i) {
    const std::size_t count = spans_[i].score_end - spans_[i].score_begin;
    all.push_back({.request = choice_.requests[i],
                   .home = homes[i],
                   .position = spans_[i].score_begin,
                   .begin = begin,
                   .count = count});
    begin += count;
  }
  return all;
}

Result<std::vector<ExpertId>> SelectedTokens::read_layer(std::size_t row) const {
  const std::size_t k = trace_.shape().top_k;
  std::vector<ExpertId> experts(static_cast<std::size_t>(scored_tokens_) * k);
  MOESAIC_TRY(for_each_run(
      row, score_pieces_, [&](const Piece& piece, std::span<const ExpertId> run, std::size_t offset) {
        std::ranges::copy(run, experts.begin() + static_cast<std::ptrdiff_t>((piece.to + offset) * k));
      }));
  return experts;
}

Result<std::vector<float>> SelectedTokens::usage(Part part, ThreadPool& pool) const {
  const ModelShape& shape = trace_.shape();
  const std::size_t layers = shape.layers.size(), width = layers * shape.experts;
  std::vector<float> counts(choice_.requests.size() * width);
  MOESAIC_TRY(pool.try_parallel_for(layers, [&](std::size_t row) {
    return for_each_run(
        row, pieces_of(part), [&](const Piece& piece, std::span<const ExpertId> run, std::size_t) {
          float* const of_request = counts.data() + piece.request * width + row * shape.experts;
          for (const ExpertId expert : run) {
            if (expert != kMissingExpert) of_request[index(expert)] += 1;
          }
        });
  }));
  return counts;
}

Result<std::vector<float>> SelectedTokens::router_weights(Part part, ThreadPool& pool) const {
  MOESAIC_CHECK(trace_.has_weights());
  const ModelShape& shape = trace_.shape();
  const std::size_t width = shape.layers.size() * shape.experts;
  std::vector<float> sums(choice_.requests.size() * width);
  MOESAIC_TRY(pool.try_parallel_for(shape.layers.size(), [&](std::size_t row) -> Status {
    // A block of weights beside the block of experts that for_each_run() reads.
    std::vector<float> block;
    std::uint64_t block_begin = 0;
    Status read;
    const Status done = for_each_run(
        row, pieces_of(part), [&](const Piece& piece, std::span<const ExpertId> run, std::size_t offset) {
          const std::uint64_t from = piece.from + offset;
          if (block.empty() || block_begin != from / kBlock * kBlock) {
            block_begin = from / kBlock * kBlock;
            const std::uint64_t end = std::min(block_begin + kBlock, trace_.tokens());
            block.resize(static_cast<std::size_t>(end - block_begin) * shape.top_k);
            if (read) read = trace_.read_weights(row, block_begin, end, block);
          }
          if (!read) return;
          const float* const weights = block.data() + (from - block_begin) * shape.top_k;
          float* const of_request = sums.data() + piece.request * width + row * shape.experts;
          for (std::size_t i = 0; i < run.size(); ++i) {
            if (run[i] != kMissingExpert && weights[i] > 0) of_request[index(run[i])] += weights[i];
          }
        });
    return done ? read : done;
  }));
  return sums;
}

Result<std::vector<double>> SelectedTokens::loads(ThreadPool& pool,
                                                  std::span<const std::uint32_t> weights) const {
  const ModelShape& shape = trace_.shape();
  std::vector<double> loads(shape.layers.size() * shape.experts);
  MOESAIC_TRY(pool.try_parallel_for(shape.layers.size(), [&](std::size_t row) {
    return for_each_run(row, score_pieces_,
                        [&](const Piece& piece, std::span<const ExpertId> run, std::size_t) {
                          const double weight = weights.empty() ? 1 : weights[piece.request];
                          for (const ExpertId expert : run) {
                            if (expert != kMissingExpert)
                              loads[row * shape.experts + index(expert)] += weight;
                          }
                        });
  }));
  return loads;
}

PhaseChoice default_phases(const trace::Trace& trace) {
  const trace::RequestTable& table = trace.requests();
  std::uint64_t prefill = 0, decode = 0;
  for (std::size_t r = 0; r < table.size(); ++r) {
    prefill += table.prefill_tokens[r];
    decode += table.decode_tokens[r];
  }
  PhaseChoice choice;
  if (decode == 0) {
    choice.phase = Phase::kPrefill;
    choice.said.push_back("The trace has no decode tokens: the prefill is planned and scored.");
  }
  if (decode == 0 || prefill == 0) {
    choice.from = {.prefill = false, .fraction = 0.5};
    choice.said.push_back(
        "The trace has no prefill beside the scored phase: the first half of each request stands in for it "
        "(--predict-from fraction:0.5).");
  }
  return choice;
}

Result<PhaseChoice> choose_phases(const trace::Trace& trace, const std::optional<std::string>& phase,
                                  const std::optional<std::string>& predict_from) {
  PhaseChoice choice = default_phases(trace);
  if (phase) {
    MOESAIC_ASSIGN(choice.phase, parse_phase(*phase));
    if (choice.phase != Phase::kDecode && choice.from.prefill) {
      choice.from = {.prefill = false, .fraction = 0.5};
    }
  }
  if (predict_from) {
    MOESAIC_ASSIGN(choice.from, parse_predict_from(*predict_from));
    choice.said.clear();
  }
  return choice;
}

}  // namespace moesaic::evaluate
