// The page that shows a running gateway: one file without outside parts, which asks /admin/* each second. It
// holds no data itself, so it needs no key; what it asks does.
#pragma once

#include <string>
#include <vector>

#include "net/http_message.hpp"

namespace moesaic::gateway {

struct DashboardPage {
  std::string html;
  std::vector<net::Header> headers;  ///< with a policy under which nothing but this page's own code runs
};

/// Each answer has a nonce of its own.
DashboardPage dashboard_page();

}  // namespace moesaic::gateway
