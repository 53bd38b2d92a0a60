// How fast are moe-trace files read, beside simdjson's DOM parse alone? Reports MB/s of one thread, of two,
// and the ratios. Files: $MOESAIC_BENCH_JSON (a folder of unpacked .json files), else a made corpus of the
// same form: pretty-printed, 24 MoE layers, k = 1. Before timing, both must see the same sum of ids.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "core/random.hpp"
#include "core/thread_pool.hpp"
#include "ingest/importer.hpp"
#include "ingest/moe_trace.hpp"
#include "io/memory_files.hpp"

namespace {

using namespace moesaic;

std::string made_file(std::uint64_t seed) {
  std::string out = "[";
  for (std::uint64_t step = 0; step < 100; ++step) {
    out += step == 0 ? "\n    {" : ",\n    {";
    for (std::uint64_t layer = 0; layer < 48; ++layer) {
      out += fmt::format("{}\n        \"{}\": ", layer == 0 ? "" : ",", layer);
      if (layer % 2 == 0) {
        out += "null";
        continue;
      }
      out += "[";
      for (std::uint64_t row = 0; row < (step == 0 ? 25 : 1); ++row) {
        out += fmt::format("{}\n            [\n                {}\n            ]", row == 0 ? "" : ",",
                           counter_hash({seed, step, layer, row}) % 128);
      }
      out += "\n        ]";
    }
    out += "\n    }";
  }
  return out + "\n]";
}

std::vector<ingest::Document> documents() {
  std::vector<ingest::Document> out;
  const auto add = [&](const std::string& name, std::string bytes) {
    ingest::Document document;
    document.path = "bench/" + name;
    document.name = name;
    document.folder = "bench";
    document.bytes = std::move(bytes);
    document.size = document.bytes.size();
    document.bytes.reserve(document.bytes.size() + ingest::kPadding);
    document.loaded = true;
    out.push_back(std::move(document));
  };
  if (const char* folder = std::getenv("MOESAIC_BENCH_JSON")) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.path().extension() != ".json") continue;
      const auto text = io::read_file(io::real_files(), entry.path(), 1u << 30);
      if (text) add(fmt::format("{}.json", out.size()), *text);
    }
  } else {
    for (std::uint64_t seed = 0; seed < 200; ++seed) add(fmt::format("{}.json", seed), made_file(seed));
  }
  return out;
}

std::uint64_t sum_of(const ingest::ParsedDocument& parsed) {
  std::uint64_t sum = 0;
  for (const auto& request : parsed.requests) {
    for (ExpertId id : request.experts) sum += index(id);
  }
  return sum;
}

std::uint64_t sum_of(const simdjson::dom::element& json) {
  std::uint64_t sum = 0;
  for (auto element : json.get_array()) {
    for (auto layer : element.get_object()) {
      if (layer.value.is_null()) continue;
      for (auto row : layer.value.get_array()) {
        for (auto id : row.get_array()) sum += id.get_uint64().value();
      }
    }
  }
  return sum;
}

/// Best of five runs, in MB/s.
double rate(double bytes, const std::function<void()>& body) {
  double best = 1e300;
  for (int run = 0; run < 5; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return bytes / best / 1e6;
}

}  // namespace

int main() {
  const std::vector<ingest::Document> files = documents();
  double bytes = 0;
  for (const auto& file : files) bytes += static_cast<double>(file.bytes.size());
  fmt::print("{} files, {:.1f} MB\n", files.size(), bytes / 1e6);

  simdjson::dom::parser parser;
  for (const auto& file : files) {
    const auto parsed = ingest::parse_moe_trace(file, {});
    const auto json = parser.parse(file.bytes.data(), file.bytes.size(), false);
    if (!parsed || json.error() || sum_of(*parsed) != sum_of(json.value_unsafe())) {
      fmt::print("{}: the two readers disagree\n", file.path);
      return 1;
    }
  }

  const double dom = rate(bytes, [&] {
    for (const auto& file : files)
      static_cast<void>(parser.parse(file.bytes.data(), file.bytes.size(), false));
  });
  ThreadPool one(1), two(2);
  const auto parse_on = [&](ThreadPool& pool) {
    return rate(bytes, [&] {
      pool.parallel_for(files.size(),
                        [&](std::size_t i) { static_cast<void>(ingest::parse_moe_trace(files[i], {})); });
    });
  };
  const double parse_one = parse_on(one), parse_two = parse_on(two);

  // The whole import, from files to a store, in memory.
  io::MemoryFiles memory;
  static_cast<void>(memory.make_directories("bench"));
  for (const auto& file : files)
    static_cast<void>(io::write_file_atomically(memory, file.path, file.bytes, true));
  const auto import_on = [&](ThreadPool& pool) {
    return rate(bytes, [&] {
      const std::vector<std::string> sources{"bench"};
      const auto summary =
          ingest::import_trace(memory, sources, {.output = "t", .force = true, .pool = &pool});
      if (!summary) std::abort();
    });
  };
  const double import_one = import_on(one), import_two = import_on(two);

  fmt::print("{:<28} {:>9} {:>9} {:>7}\n", "MB/s", "1 thread", "2 threads", "ratio");
  fmt::print("{:<28} {:>9.0f}\n", "simdjson DOM, parse alone", dom);
  fmt::print("{:<28} {:>9.0f} {:>9.0f} {:>7.2f}\n", "moe-trace parse", parse_one, parse_two,
             parse_two / parse_one);
  fmt::print("{:<28} {:>9.0f} {:>9.0f} {:>7.2f}\n", "moesaic import", import_one, import_two,
             import_two / import_one);
  fmt::print("parse : DOM parse alone = {:.2f}\n", parse_one / dom);
}
