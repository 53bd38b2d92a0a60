#include "trace/record_parcel.hpp"

#include "comm/parcel.hpp"

namespace moesaic::trace {

comm::Bytes pack(std::span<const JournalRecord> records) {
  comm::Packer parcel;
  parcel.put(std::uint64_t{records.size()});
  for (const JournalRecord& record : records) {
    parcel.put(record.tokens);
    parcel.put(record.request.has_value());
    if (!record.request) continue;
    parcel.put_text(record.request->id);
    parcel.put_text(record.request->domain);
    parcel.put(record.request->prefill_tokens);
    parcel.put(record.request->decode_tokens);
    parcel.put(record.request->arrival_ns);
  }
  return parcel.take();
}

std::vector<JournalRecord> unpack_records(std::span<const std::byte> parcel) {
  comm::Unpacker theirs(parcel);
  std::vector<JournalRecord> records(theirs.get<std::uint64_t>());
  for (JournalRecord& record : records) {
    theirs.get(record.tokens);
    if (!theirs.get<bool>()) continue;
    RequestRecord& request = record.request.emplace();
    request.id = theirs.get_text();
    request.domain = theirs.get_text();
    theirs.get(request.prefill_tokens);
    theirs.get(request.decode_tokens);
    theirs.get(request.arrival_ns);
  }
  return records;
}

}  // namespace moesaic::trace
