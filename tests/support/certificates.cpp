#include "support/certificates.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>

namespace moesaic::testing {

Certificate make_certificate(const std::string& folder, const std::string& name, const std::string& names) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
  X509* const x509 = certificate.get();
  X509_set_version(x509, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_NAME* const subject = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(x509, subject);
  X509_set_pubkey(x509, key.get());
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> alternatives(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str()), &X509_EXTENSION_free);
  X509_add_ext(x509, alternatives.get(), -1);
  EXPECT_GT(X509_sign(x509, key.get(), EVP_sha256()), 0);

  Certificate out{folder + "/" + name + ".pem", folder + "/" + name + ".key"};
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> file(std::fopen(out.file.c_str(), "w"),
                                                                &std::fclose),
      key_file(std::fopen(out.key.c_str(), "w"), &std::fclose);
  EXPECT_EQ(PEM_write_X509(file.get(), x509), 1);
  EXPECT_EQ(PEM_write_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
  return out;
}

}  // namespace moesaic::testing
