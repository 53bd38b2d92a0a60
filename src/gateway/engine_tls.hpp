// TLS to an engine, a worker or a shadow: whom a https URL trusts.
#pragma once

#include <optional>
#include <string>

#include "core/result.hpp"
#include "net/tls.hpp"

namespace moesaic::gateway {

struct EngineTls {
  std::string ca_file{};  ///< PEM; empty: the system's authorities
  std::string name{};     ///< in its certificate; empty: the URL's host
  bool verify = true;

  bool operator==(const EngineTls&) const = default;
};

/// Nothing for http; else the engine's authorities, read. Errors name the file.
Result<std::optional<net::TlsPeer>> tls_peer(const std::optional<EngineTls>& tls, const std::string& host);

}  // namespace moesaic::gateway
