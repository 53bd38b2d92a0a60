#include "net/tls.hpp"

#include <fmt/format.h>

#include "net/connection.ipp"

namespace moesaic::net {

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::TlsContext(TlsContext&&) noexcept = default;
TlsContext& TlsContext::operator=(TlsContext&&) noexcept = default;
TlsContext::~TlsContext() = default;

Result<TlsContext> TlsContext::server(const std::string& certificate_file, const std::string& key_file) {
  auto impl = std::make_unique<Impl>(asio::ssl::context::tls_server);
  error_code error;
  impl->context.use_certificate_chain_file(certificate_file, error);
  if (error) {
    return bad_input(
        fmt::format("{}: expected a certificate in PEM form: {}", certificate_file, error.message()));
  }
  impl->context.use_private_key_file(key_file, asio::ssl::context::pem, error);
  if (error) {
    return bad_input(fmt::format("{}: expected the private key of {} in PEM form: {}", key_file,
                                 certificate_file, error.message()));
  }
  return TlsContext(std::move(impl));
}

Result<TlsContext> TlsContext::client(const std::string& ca_file, bool verify) {
  auto impl = std::make_unique<Impl>(asio::ssl::context::tls_client);
  impl->verify = verify;
  error_code error;
  if (ca_file.empty()) {
    impl->context.set_default_verify_paths(error);
    if (error) return environment_error("the system's certificate authorities: " + error.message());
  } else {
    impl->context.load_verify_file(ca_file, error);
    if (error) {
      return bad_input(fmt::format("{}: expected certificates in PEM form: {}", ca_file, error.message()));
    }
  }
  return TlsContext(std::move(impl));
}

Task<bool> Connection::accept_tls(const TlsContext& context) {
  struct Awaiter {
    Impl* impl;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) {
      impl->writer = caller;
      impl->tls->async_handshake(
          asio::ssl::stream_base::server,
          [self = impl->shared_from_this()](const error_code& error) { self->write_done(!error); });
    }
    bool await_resume() const { return impl->written; }
  };
  impl_->tls = std::make_unique<Impl::Tls>(impl_->socket, context.impl().context);
  const bool good = co_await Awaiter{impl_.get()};
  co_return good;
}

namespace {

/// What the certificate must say. False when OpenSSL has no memory.
bool expect_name(SSL* ssl, const std::string& name, bool verify) {
  error_code no_address;
  asio::ip::make_address(name, no_address);
  const bool is_name = no_address.failed();
  // An address is not asked for (RFC 6066, 3), only expected.
  if (is_name && SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) return false;
  if (!verify) return true;
  SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (is_name) return SSL_set1_host(ssl, name.c_str()) == 1;
  return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
}

}  // namespace

Task<Status> Connection::connect_tls(const TlsPeer& peer) {
  struct Awaiter {
    Impl* impl;
    error_code* error;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) const {
      impl->writer = caller;
      impl->tls->async_handshake(asio::ssl::stream_base::client,
                                 [self = impl->shared_from_this(), out = error](const error_code& failed) {
                                   if (self->writer) *out = failed;  // else its frame is gone
                                   self->write_done(!failed);
                                 });
    }
    void await_resume() const {}
  };
  impl_->tls = std::make_unique<Impl::Tls>(impl_->socket, peer.context->impl().context);
  SSL* const ssl = impl_->tls->native_handle();
  if (!expect_name(ssl, peer.name, peer.context->impl().verify)) {
    co_return environment_error(fmt::format("TLS with \"{}\": expected a shorter name", peer.name));
  }
  error_code error;
  const Awaiter shaken{impl_.get(), &error};
  co_await shaken;
  if (!error) co_return Status();
  std::string why = error.message();
  if (impl_->broken == Broken::kDeadline) why = "no answer in time";
  if (const long verdict = SSL_get_verify_result(ssl); verdict != X509_V_OK) {
    why = fmt::format("its certificate is not trusted: {}", X509_verify_cert_error_string(verdict));
  }
  co_return environment_error(fmt::format("TLS with \"{}\": {}", peer.name, why));
}

}  // namespace moesaic::net
