#include "gateway/dashboard.hpp"

#include <fmt/format.h>

#include <random>
#include <string_view>

// The assembler copies the file: no compiler has to read it as one long literal.
__asm__(
    ".pushsection .rodata\n"
    ".hidden moesaic_dashboard_begin\n.global moesaic_dashboard_begin\n"
    "moesaic_dashboard_begin:\n.incbin \"" MOESAIC_DASHBOARD
    "\"\n"
    ".hidden moesaic_dashboard_end\n.global moesaic_dashboard_end\n"
    "moesaic_dashboard_end:\n.byte 0\n"
    ".popsection\n");
extern "C" {
extern const char moesaic_dashboard_begin[];
extern const char moesaic_dashboard_end[];
}

namespace moesaic::gateway {

DashboardPage dashboard_page() {
  constexpr std::string_view kPlace = "{{nonce}}";
  std::random_device random;
  const std::string nonce = fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
  std::string_view rest(moesaic_dashboard_begin, moesaic_dashboard_end);
  DashboardPage page;
  for (std::size_t at = rest.find(kPlace); at != std::string_view::npos; at = rest.find(kPlace)) {
    page.html.append(rest.substr(0, at)).append(nonce);
    rest.remove_prefix(at + kPlace.size());
  }
  page.html.append(rest);
  page.headers = {{"Content-Type", "text/html; charset=utf-8"},
                  {"Content-Security-Policy",
                   fmt::format("default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; "
                               "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                               "frame-ancestors 'none'",
                               nonce)},
                  {"X-Content-Type-Options", "nosniff"},
                  {"Referrer-Policy", "no-referrer"},
                  {"Cache-Control", "no-store"}};
  return page;
}

}  // namespace moesaic::gateway
