// moe-trace: the files of MoE_expert_selection_trace (arXiv:2510.05497), made with SGLang. One request a
// file: a list whose element 0 is the prefill and whose other elements are one decode step each. An
// element is {"<layer>": null | [[id, ...k], ...rows]}; null marks a dense layer.
#pragma once

#include "core/result.hpp"
#include "ingest/token_documents.hpp"

namespace moesaic::ingest {

/// Reads one file. REQUIRES: document.bytes loaded with kPadding bytes of capacity after them. The request
/// is called "<folder>/<file stem>", its domain is the folder. Errors (bad input) name the path, the byte
/// and the element: bad JSON or UTF-8, keys that are no layer, layers or row lengths that change, ids that
/// are no expert, a decode step of more than one row. Memory O(document). Thread-safe.
Result<ParsedDocument> parse_moe_trace(const Document& document, const ImportOptions& options);

}  // namespace moesaic::ingest
