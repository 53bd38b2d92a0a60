// sglang-generate and vllm-completion: saved replies of an engine, one or many a file: a JSON object, a
// list of them, or one a line (.jsonl, .ndjson). What a reply means is protocol/routed_experts.hpp.
#pragma once

#include "core/result.hpp"
#include "ingest/token_documents.hpp"

namespace moesaic::ingest {

/// Reads one file. REQUIRES: document.bytes loaded with kPadding bytes of capacity after them. Requests are
/// called by the engine's id, else "<folder>/<file stem>/<n>"; their domain is the folder. Replies without
/// routing or with nothing but zeros, placeholders and a cut last line are reported as anomalies. Errors
/// (bad input) name the path and the reply or line. Thread-safe.
Result<ParsedDocument> parse_sglang_replies(const Document& document, const ImportOptions& options);
Result<ParsedDocument> parse_vllm_replies(const Document& document, const ImportOptions& options);

}  // namespace moesaic::ingest
