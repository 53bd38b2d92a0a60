// What operators ask: workers, policy, decisions, latency, metrics, reload; and the page that shows it. On an
// address of its own.
#pragma once

#include <string>
#include <string_view>

#include "core/json.hpp"
#include "net/http_server.hpp"

namespace moesaic::gateway {

class Gateway;

class Admin {
 public:
  explicit Admin(Gateway& gateway) : gateway_(gateway) {}
  net::Task<void> handle(net::Exchange& exchange);

 private:
  struct Answer {
    int status = 200;
    Json json;
  };
  Answer answer(std::string_view method, std::string_view target, std::string_view body);
  Answer workers() const;
  Answer change_worker(std::string_view method, std::string_view rest, std::string_view body);
  Answer add_worker(std::string_view body);
  Answer policy(std::string_view method, std::string_view body);
  Answer decisions(std::string_view target) const;
  Answer routing() const;
  Answer latency() const;

  Gateway& gateway_;
};

}  // namespace moesaic::gateway
