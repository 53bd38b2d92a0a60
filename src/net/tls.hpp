// A server's certificate and key, for TLS 1.2 and later to clients.
#pragma once

#include <memory>
#include <string>

#include "core/result.hpp"

namespace moesaic::net {

class TlsContext {
 public:
  /// PEM files: the certificate with its chain, and its private key. Errors (bad input) name the file and
  /// what OpenSSL says.
  static Result<TlsContext> server(const std::string& certificate_file, const std::string& key_file);
  TlsContext(TlsContext&&) noexcept;
  TlsContext& operator=(TlsContext&&) noexcept;
  ~TlsContext();

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace moesaic::net
