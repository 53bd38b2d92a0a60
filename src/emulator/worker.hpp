// A strict emulator of one inference engine behind HTTP: the OpenAI routes, the handoffs of
// protocol/handoff.hpp, the engine's metrics. It refuses what a real engine would refuse, and a handoff that
// is malformed, taken twice, expired, or another prompt's. docs/emulate.md.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "emulator/ask.hpp"
#include "emulator/batch.hpp"
#include "emulator/faults.hpp"
#include "emulator/handoff_book.hpp"
#include "emulator/recorder.hpp"
#include "emulator/worker_config.hpp"
#include "net/http_client.hpp"
#include "net/http_server.hpp"
#include "net/tls.hpp"
#include "simulate/recording.hpp"

namespace moesaic::emulator {

class Worker {
 public:
  struct Stats {
    std::uint64_t requests = 0;  ///< generation requests that came
    std::uint64_t refused = 0;   ///< answered with an error, whoever is to blame
    std::uint64_t finished = 0;  ///< answered whole
    std::uint64_t aborted = 0;   ///< the client left first
    std::uint64_t prefills = 0, decodes = 0;
    std::map<std::uint64_t, std::uint64_t> of_rank{};  ///< requests that named a data-parallel rank, by rank
    std::map<std::string, std::uint64_t> of_key{};     ///< ... an X-SMG-Routing-Key, by key (1,024 at most)
  };

  /// Starts listening; serves while the loop runs. `recording` may be nullptr. Loop and recording outlive
  /// this. Errors: the address cannot be bound, the log not be written, the certificate not be read.
  static Result<std::unique_ptr<Worker>> start(net::Loop& loop, WorkerConfig config,
                                               const simulate::Recording* recording);
  ~Worker();

  std::uint16_t port() const { return server_->port(); }
  const WorkerConfig& config() const { return config_; }
  const Stats& stats() const { return stats_; }
  const HandoffBook& handoffs() const { return handoffs_; }
  const Batch& batch() const { return batch_; }
  /// Requests being served.
  std::size_t in_flight() const { return in_flight_; }

  /// The next `count` generation requests meet this fault.
  void set_fault(Fault fault, std::uint64_t count);
  /// /health answers 503.
  void set_unhealthy(bool unhealthy) { unhealthy_ = unhealthy; }
  /// Metrics claim this many running requests instead of the truth.
  void lie_about_load(std::optional<std::uint64_t> running) { lie_ = running; }
  /// Breaks all connections and stops listening, as a killed process does.
  void kill() { server_->shut(); }

 private:
  Worker(net::Loop& loop, WorkerConfig config, const simulate::Recording* recording);

  /// A request being served.
  struct Turn;
  net::Task<void> handle(net::Exchange& exchange);
  net::Task<void> generate(net::Exchange& exchange, protocol::Route route);
  net::Task<void> misbehave(Turn& turn);
  Status check_rank(const net::HttpHead& head, const Ask& ask);
  Status check_fits(const Ask& ask) const;
  Status check_role(const Ask& ask) const;
  Status check_first_token(const Ask& ask) const;
  net::Task<void> prefill(Turn& turn);
  net::Task<void> answer_prefill(Turn& turn);
  /// Fetches what the prefiller keeps; an error says why it may not be had.
  net::Task<Status> take_handoff(Turn& turn);
  net::Task<Status> take_from(std::string host, std::uint16_t port, Json request, Turn& turn,
                              std::string engine_id);
  /// An ELDR decoder frees what a prefiller keeps for nobody.
  net::Task<void> release(net::Exchange& exchange);
  net::Task<void> decode(Turn& turn);
  /// Puts experts into the answer, or beside it.
  Json::Object add_experts(Turn& turn) const;
  net::Task<bool> stream_tokens(Turn& turn, Sequence& sequence);
  net::Task<void> give_handoff(net::Exchange& exchange);
  net::Task<void> record(net::Exchange& exchange, std::string_view verb);
  net::Task<void> fail(Turn& turn, int status, std::string message);
  std::string metrics() const;
  std::string eldr_signature(const Ask& ask) const;
  std::uint32_t recorded_request(const Ask& ask) const;
  Fault next_fault(const net::HttpHead& head);
  void note(std::string_view event, const Turn& turn, std::uint32_t tokens);

  net::Loop& loop_;
  WorkerConfig config_;
  const simulate::Recording* recording_;
  net::ServerLimits limits_;
  std::optional<Recorder> recorder_;
  Batch batch_;
  HandoffBook handoffs_;
  std::map<std::string, std::unique_ptr<net::HttpPool>> peers_;
  Nanoseconds prefill_free_{0};  ///< when the prefills that came so far are done
  Stats stats_;
  std::size_t in_flight_ = 0;
  std::uint64_t minted_ = 0;
  Fault fault_ = Fault::kNone;
  std::uint64_t faults_left_ = 0;
  bool unhealthy_ = false;
  std::optional<std::uint64_t> lie_;
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, CloseFile> log_;
  std::optional<net::TlsContext> tls_;
  std::unique_ptr<net::HttpServer> server_;  ///< last: its handler uses the rest
};

}  // namespace moesaic::emulator
