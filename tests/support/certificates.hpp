#pragma once

#include <string>

namespace moesaic::testing {

struct Certificate {
  std::string file, key;  ///< PEM
};

/// A self-signed certificate for `names` ("DNS:engine.test,IP:127.0.0.1"), made in `folder`: who trusts it
/// trusts itself as its authority.
Certificate make_certificate(const std::string& folder, const std::string& name, const std::string& names);

}  // namespace moesaic::testing
