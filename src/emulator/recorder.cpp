#include "emulator/recorder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <string_view>

namespace moesaic::emulator {
namespace {

/// Little-endian. REQUIRES: bytes <= 8.
void append_number(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i & 0xFF);
}

/// CRC-32 of zip archives (ISO 3309), a bit at a time: dumps are small.
std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

/// An archive of entries that are not compressed, as torch.save makes it (APPNOTE.TXT 4.3).
class Zip {
 public:
  void add(std::string_view name, std::string_view bytes) {
    std::string fields;
    append_number(fields, 20, 2);  // version needed
    append_number(fields, 0, 8);   // flags, method, time, date
    append_number(fields, crc32(bytes), 4);
    append_number(fields, bytes.size(), 4);
    append_number(fields, bytes.size(), 4);
    append_number(fields, name.size(), 2);
    append_number(fields, 0, 2);  // extra
    append_number(directory_, 0x02014B50, 4);
    append_number(directory_, 20, 2);  // version made by
    directory_ += fields;
    directory_.append(10, '\0');  // comment, disk, attributes
    append_number(directory_, out_.size(), 4);
    directory_ += name;
    append_number(out_, 0x04034B50, 4);
    out_ += fields;
    out_ += name;
    out_ += bytes;
    ++entries_;
  }
  std::string finish() {
    const std::size_t start = out_.size();
    out_ += directory_;
    append_number(out_, 0x06054B50, 4);
    append_number(out_, 0, 4);
    append_number(out_, entries_, 2);
    append_number(out_, entries_, 2);
    append_number(out_, directory_.size(), 4);
    append_number(out_, start, 4);
    append_number(out_, 0, 2);
    return std::move(out_);
  }

 private:
  std::string out_, directory_;
  std::uint64_t entries_ = 0;
};

void append_text(std::string& out, std::string_view text) {
  out += 'X';
  append_number(out, text.size(), 4);
  out += text;
}
void append_int(std::string& out, std::uint64_t value) {
  out += 'J';
  append_number(out, value, 4);
}

/// {"rank": 0, "logical_count": IntTensor [1, L, E], "average_utilization_rate_over_window": None} in pickle
/// protocol 2.
std::string pickle(std::uint64_t layers, std::uint64_t experts) {
  std::string out = "\x80\x02}(";
  append_text(out, "rank");
  append_int(out, 0);
  append_text(out, "logical_count");
  out += "ctorch._utils\n_rebuild_tensor_v2\n((";
  append_text(out, "storage");
  out += "ctorch\nIntStorage\n";
  append_text(out, "0");
  append_text(out, "cpu");
  append_int(out, layers * experts);
  out += "tQ";  // a storage by its persistent id
  append_int(out, 0);
  for (const std::array<std::uint64_t, 3>& triple :
       {std::array<std::uint64_t, 3>{1, layers, experts}, {layers * experts, experts, 1}}) {
    for (const std::uint64_t value : triple) append_int(out, value);
    out += '\x87';
  }
  out +=
      "\x89"
      "ccollections\nOrderedDict\n)RtR";
  append_text(out, "average_utilization_rate_over_window");
  out += "Nu.";
  return out;
}

}  // namespace

Recorder::Recorder(ModelShape shape) : shape_(std::move(shape)) {
  counts_.assign(shape_.layers.size() * shape_.experts, 0);
}

void Recorder::start() {
  counts_.assign(shape_.layers.size() * shape_.experts, 0);
  tokens_ = 0;
  running_ = true;
}

void Recorder::add_token(const std::uint64_t* bits) {
  ++tokens_;
  for (std::size_t word = 0; word * 64 < counts_.size(); ++word) {
    for (std::uint64_t left = bits[word]; left != 0; left &= left - 1) {
      ++counts_[word * 64 + static_cast<std::size_t>(std::countr_zero(left))];
    }
  }
}

void Recorder::add_counts(std::span<const float> counts) {
  for (std::size_t i = 0; i < std::min(counts.size(), counts_.size()); ++i) {
    counts_[i] += static_cast<std::int32_t>(std::lround(counts[i]));
  }
}

Status Recorder::dump(io::FileSystem& files, const std::string& folder, std::uint64_t stamp) {
  std::size_t layers = shape_.model_layers;
  for (const LayerId layer : shape_.layers) layers = std::max<std::size_t>(layers, index(layer) + 1);
  std::vector<std::int32_t> all(layers * shape_.experts);
  for (std::size_t row = 0; row < shape_.layers.size(); ++row) {
    std::copy_n(counts_.begin() + static_cast<std::ptrdiff_t>(row * shape_.experts), shape_.experts,
                all.begin() + static_cast<std::ptrdiff_t>(index(shape_.layers[row]) * shape_.experts));
  }
  std::string storage;
  for (const std::int32_t count : all) append_number(storage, static_cast<std::uint32_t>(count), 4);
  const std::string name = fmt::format("expert_distribution_recorder_{}_0", stamp);
  Zip zip;
  zip.add(name + "/data.pkl", pickle(layers, shape_.experts));
  zip.add(name + "/byteorder", "little");
  zip.add(name + "/data/0", storage);
  zip.add(name + "/version", "3\n");
  counts_.assign(counts_.size(), 0);
  return io::write_file_atomically(files, fmt::format("{}/{}.pt", folder, name), zip.finish(), true);
}

}  // namespace moesaic::emulator
