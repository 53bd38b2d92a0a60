// How fast is a balanced K-means fit, and how much of it is the exact assignment?
//
//   bench_balanced_kmeans                          N=4000 K=32 d=6144, ratios to the recorded reference
//   bench_balanced_kmeans --write rows.f32         the same rows for scripts/bench_kmeans_reference.py, then
//   bench_balanced_kmeans --reference result.json  equality and ratios to what that script measured here
//   bench_balanced_kmeans --large                  N=100000 K=64 d=3072
//
// Rows: 3K prototypes of gamma(0.3) values; a row is Poisson(3 * a random prototype), scaled to length 1.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/random.hpp"
#include "io/json.hpp"
#include "solve/balanced_kmeans.hpp"
#include "solve/seeding.hpp"

namespace {

using namespace moesaic;

struct Size {
  std::size_t rows = 4000, clusters = 32, width = 6144;
};

double normal(Pcg32& random) {  // Box, Muller 1958
  const double u = 1 - random.uniform(), v = random.uniform();
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v);
}

/// Marsaglia, Tsang 2000, with their power for shapes below 1.
double gamma(double shape, Pcg32& random) {
  const double d = shape + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = normal(random), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    const double u = 1 - random.uniform();
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      return d * v * std::pow(1 - random.uniform(), 1 / shape);
    }
  }
}

solve::SparseRows some_rows(const Size& size) {
  Pcg32 random(20260724);
  const std::size_t prototypes = 3 * size.clusters;
  std::vector<double> none(prototypes * size.width);  // probability that an entry is 0
  for (double& p : none) p = std::exp(-3 * gamma(0.3, random));
  solve::SparseRows rows{.width = size.width};
  std::vector<float> row(size.width);
  for (std::size_t r = 0; r < size.rows; ++r) {
    const double* p = &none[random.below(static_cast<std::uint32_t>(prototypes)) * size.width];
    for (std::size_t d = 0; d < size.width; ++d) {  // Knuth's product of uniforms
      row[d] = 0;
      for (double product = random.uniform(); product > p[d] && row[d] < 1000; product *= random.uniform()) {
        ++row[d];
      }
    }
    rows.append(row);
  }
  solve::normalise(rows);
  return rows;
}

std::vector<float> dense(const solve::SparseRows& rows, std::size_t r) {
  std::vector<float> out(rows.width);
  const auto row = rows.row(r);
  for (std::size_t i = 0; i < row.column.size(); ++i) out[row.column[i]] = row.value[i];
  return out;
}

/// int32 rows, clusters, width, seeds[clusters]; then float32 [rows, width].
int write(const std::string& path, const Size& size, const solve::SparseRows& rows,
          const std::vector<std::uint32_t>& seeds) {
  std::ofstream out(path, std::ios::binary);
  const auto number = [&](std::size_t value) {
    const auto v = static_cast<std::int32_t>(value);
    out.write(reinterpret_cast<const char*>(&v), sizeof v);
  };
  for (const std::size_t v : {size.rows, size.clusters, size.width}) number(v);
  for (const std::uint32_t s : seeds) number(s);
  for (std::size_t r = 0; r < size.rows; ++r) {
    const auto row = dense(rows, r);
    out.write(reinterpret_cast<const char*>(row.data()),
              static_cast<std::streamsize>(row.size() * sizeof(float)));
  }
  return out.flush() ? 0 : 3;
}

double seconds(Nanoseconds t) { return static_cast<double>(t.count()) * 1e-9; }

struct Reference {  // recorded on a 2-core machine: numpy + SciPy's linear_sum_assignment
  double fit = 22, assignment = 0, objective = 0;
  std::size_t iterations = 9;
};

bool read_reference(const std::string& path, Reference& reference) {
  const auto json = io::read_json(io::real_files(), path);
  if (!json) {
    fmt::print(stderr, "{}\n", json.error().message);
    return false;
  }
  std::uint64_t iterations = 0;
  const bool good = json->find("fit_s")->to_double(reference.fit) &&
                    json->find("assignment_s")->to_double(reference.assignment) &&
                    json->find("objective")->to_double(reference.objective) &&
                    json->find("iterations")->to_uint(iterations);
  reference.iterations = iterations;
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  Size size;
  std::string write_to, reference_from;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--large") size = {.rows = 100'000, .clusters = 64, .width = 3072};
    if (flag == "--write" && i + 1 < argc) write_to = argv[++i];
    if (flag == "--reference" && i + 1 < argc) reference_from = argv[++i];
  }
  const bool large = size.rows > 4000;
  ThreadPool pool;
  const auto rows = some_rows(size);
  fmt::print("N={} K={} d={}, {:.1f} % of the entries not 0, {} threads\n", size.rows, size.clusters,
             size.width,
             100 * static_cast<double>(rows.value.size()) / static_cast<double>(size.rows * size.width),
             pool.threads());
  const Clock& clock = steady_clock();
  const Nanoseconds begin = clock.now();
  Pcg32 random(1);
  const auto seeds = solve::kmeans_plus_plus(rows, size.clusters, 256 * size.clusters, random, pool);
  const Nanoseconds seeded = clock.now();
  if (!write_to.empty()) return write(write_to, size, rows, seeds);

  Reference reference;
  if (!reference_from.empty() && !read_reference(reference_from, reference)) return 2;
  solve::KmeansOptions options{.clusters = size.clusters, .clock = &clock};
  if (!large) options.max_iterations = reference.iterations - 1;
  for (const std::uint32_t s : seeds) {
    const auto row = dense(rows, s);
    options.initial.insert(options.initial.end(), row.begin(), row.end());
  }
  solve::KmeansStats stats;
  const Nanoseconds start = clock.now();
  const auto result = solve::kmeans(rows, options, pool, &stats);
  const double fit = seconds(clock.now() - start);
  if (!result) return 1;
  std::vector<std::size_t> sizes(size.clusters);
  for (const std::uint32_t c : result->cluster_of_item) ++sizes[c];
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "k-means++ {:.3f} s; fit {:.3f} s: {} assignments ({}), similarity {:.3f} s, assignment {:.3f} s "
      "({} paths), update {:.3f} s\nobjective {:.6f}, largest cluster {}, peak memory {:.2f} GiB\n",
      seconds(seeded - begin), fit, stats.objectives.size(), stats.converged ? "converged" : "stopped",
      seconds(stats.similarity), seconds(stats.assignment), stats.paths, seconds(stats.update),
      result->objective, std::ranges::max(sizes), static_cast<double>(usage.ru_maxrss) / (1 << 20));
  if (large) return 0;
  fmt::print("reference {:.2f} s for {} iterations: fit {:.0f}x faster", reference.fit, reference.iterations,
             reference.fit / fit);
  if (reference.assignment > 0) {
    fmt::print(", assignment {:.0f}x faster; objective / reference {:.9f}",
               reference.assignment / seconds(stats.assignment), result->objective / reference.objective);
  }
  fmt::print("\n");
  return 0;
}
