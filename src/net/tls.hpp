// TLS 1.2 and later: a server's certificate and key, and whom a client trusts.
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
  /// Of clients: a server's certificate must come from an authority in the PEM file, or, when `ca_file` is
  /// empty, from one that the system trusts. Without `verify` any certificate is taken. Errors as above.
  static Result<TlsContext> client(const std::string& ca_file, bool verify);
  TlsContext(TlsContext&&) noexcept;
  TlsContext& operator=(TlsContext&&) noexcept;
  ~TlsContext();

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A server that is spoken to over TLS.
struct TlsPeer {
  std::shared_ptr<const TlsContext> context;
  std::string name;  ///< asked for (SNI; addresses are not) and expected in the certificate
};

}  // namespace moesaic::net
