// eldr-capture: the prefill signatures an ELDR prefiller writes (arXiv:2607.00466, casys-kaist/ELDR):
// frames of a little-endian uint32 length and int16 counts [L, E]. A frame is a request. Where no model is
// given, E is the smallest block whose sums are the same in every block of every frame, since each layer
// counts tokens x k.
#include <fmt/format.h>

#include "core/limits.hpp"
#include "ingest/count_table.hpp"
#include "ingest/formats.hpp"

namespace moesaic::ingest {
namespace {

bool takes(std::string_view name) { return name.ends_with(".bin"); }

std::uint32_t read_length(std::string_view text) {
  std::uint32_t out = 0;
  for (std::size_t i = 4; i-- > 0;) out = (out << 8) | static_cast<unsigned char>(text[i]);
  return out;
}

/// Frames of one even length to the end, or as far as the head reaches.
bool detect(std::string_view, std::string_view head) {
  if (head.size() < 8) return false;
  const std::uint32_t length = read_length(head);
  if (length < 4 || length % 2 != 0 || length > limits::kMaxConfigBytes) return false;
  if (head.size() < kHeadBytes && head.size() % (4 + std::uint64_t{length}) != 0) return false;
  // One length that happens to fit proves nothing: raw arrays of ids begin so, too.
  if (head.size() == kHeadBytes && 8 + std::uint64_t{length} > head.size()) return false;
  for (std::uint64_t at = 0; at + 4 <= head.size(); at += 4 + std::uint64_t{length}) {
    if (read_length(head.substr(at)) != length) return false;
  }
  return true;
}

class Reader {
 public:
  explicit Reader(ImportContext& context) : context_(context) {}

  Status run() {
    while (true) {
      MOESAIC_ASSIGN(std::optional<Document> document, context_.documents.next());
      if (!document) break;
      MOESAIC_TRY(context_.documents.load(*document));
      if (first_.empty()) first_ = document->path;
      MOESAIC_TRY(read(*document));
    }
    if (frames_.empty())
      return bad_input(fmt::format("{}: no frames there, so there is nothing to import", first_));
    return write();
  }

 private:
  struct Frame {
    std::string id, domain;
    std::vector<double> counts;
  };

  Status read(const Document& document) {
    const std::string_view text = document.bytes;
    for (std::size_t at = 0, frame = 0; at < text.size(); ++frame) {
      if (text.size() - at < 4 || text.size() - at - 4 < read_length(text.substr(at))) {
        return bad_input(
            fmt::format("{}: byte {}: frame {} is cut short, expected a length and as many bytes; fetch the "
                        "file again",
                        document.path, at, frame));
      }
      const std::size_t length = read_length(text.substr(at));
      if (length == 0 || length % 2 != 0 || (width_ != 0 && length != 2 * width_)) {
        return bad_input(
            fmt::format("{}: byte {}: a frame of {} bytes, expected {}", document.path, at, length,
                        width_ == 0 ? "an even number of them" : fmt::format("{} as before", 2 * width_)));
      }
      width_ = length / 2;
      MOESAIC_TRY(read_frame(document, text.substr(at + 4, length), at + 4, frame));
      at += 4 + length;
    }
    return {};
  }

  Status read_frame(const Document& document, std::string_view bytes, std::size_t at, std::size_t number) {
    Frame frame;
    frame.id = fmt::format("{}/{}", stem(document.name), number);
    frame.domain = document.folder;
    frame.counts.reserve(width_);
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
      const auto count = static_cast<std::int16_t>(static_cast<unsigned char>(bytes[i]) |
                                                   static_cast<unsigned char>(bytes[i + 1]) << 8);
      if (count < 0) {
        return bad_input(
            fmt::format("{}: byte {}: count {} in frame {}, expected none below 0: more than 32,767 tokens "
                        "on one expert wrap in this format, so the frame cannot be used",
                        document.path, at + i, count, number));
      }
      frame.counts.push_back(count);
    }
    frames_.push_back(std::move(frame));
    return {};
  }

  Result<std::size_t> find_experts() {
    const std::optional<ModelShape> known = context_.output.known_shape(first_);
    if (known && known->experts != 0) {
      const std::size_t layers = known->layers.empty() ? known->model_layers : known->layers.size();
      if (layers * known->experts == width_) return known->experts;
      if (context_.options.shape) {
        return bad_input(
            fmt::format("{}: {} counts a frame, expected {} layers x {} experts of model \"{}\"; give the "
                        "model that made this capture",
                        first_, width_, layers, known->experts, known->model));
      }
    }
    for (std::size_t experts = 2; experts <= width_ / 2; ++experts) {
      if (width_ % experts == 0 && experts <= limits::kMaxExperts && blocks_agree(experts)) {
        context_.output.anomalies().add(
            "assumed", fmt::format("A frame's counts are taken as {} layers x {} experts, because so "
                                   "every layer sums to the same (--model says otherwise).",
                                   width_ / experts, experts));
        return experts;
      }
    }
    return bad_input(
        fmt::format("{}: {} counts a frame, which do not tell layers and experts apart; name the model with "
                    "--model, or give --shape",
                    first_, width_));
  }

  bool blocks_agree(std::size_t experts) const {
    for (const Frame& frame : frames_) {
      double first = 0;
      for (std::size_t begin = 0; begin < width_; begin += experts) {
        double sum = 0;
        for (std::size_t i = begin; i < begin + experts; ++i) sum += frame.counts[i];
        if (begin == 0) first = sum;
        if (sum != first) return false;
      }
    }
    return true;
  }

  Status write() {
    MOESAIC_ASSIGN(const std::size_t experts, find_experts());
    CountPlanes planes;
    for (std::size_t p = 0; p < width_ / experts; ++p)
      planes.planes.push_back(LayerId(static_cast<std::uint16_t>(p)));
    planes.layers_known = false;
    planes.experts = experts;
    CountTable table;
    MOESAIC_TRY(table.expect(planes, first_));
    for (Frame& frame : frames_) {
      trace::CountRow row;
      row.phase = Phase::kPrefill;
      MOESAIC_ASSIGN(row.domain, table.domain(frame.domain));
      row.request = table.request(frame.id, row.domain);
      table.add(row, frame.counts);
    }
    return table.write(context_.output, first_);
  }

  ImportContext& context_;
  std::string first_;
  std::size_t width_ = 0;
  std::vector<Frame> frames_;
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kEldrCapture{
    .name = "eldr-capture",
    .what = "ELDR prefill signature capture: frames of int16 counts [layers, experts] (arXiv:2607.00466)",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
