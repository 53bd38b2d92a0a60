#include "report/page_template.hpp"

#ifdef MOESAIC_PAGE_TEMPLATE
// The assembler copies the file: no compiler has to read it as one long literal.
__asm__(
    ".pushsection .rodata\n"
    ".hidden moesaic_page_template_begin\n.global moesaic_page_template_begin\n"
    "moesaic_page_template_begin:\n.incbin \"" MOESAIC_PAGE_TEMPLATE
    "\"\n"
    ".hidden moesaic_page_template_end\n.global moesaic_page_template_end\n"
    "moesaic_page_template_end:\n.byte 0\n"
    ".popsection\n");
extern "C" {
extern const char moesaic_page_template_begin[];
extern const char moesaic_page_template_end[];
}
#endif

namespace moesaic::report {

std::string_view page_template() {
#ifdef MOESAIC_PAGE_TEMPLATE
  return {moesaic_page_template_begin, moesaic_page_template_end};
#else
  return {};
#endif
}

}  // namespace moesaic::report
