// Files of torch.save (the zip form, torch >= 1.6): "<name>/data.pkl" and raw little-endian storages
// "<name>/data/<key>" (torch/serialization.py, read against 2.1). Read without torch.
#pragma once

#include <map>
#include <string>

#include "core/result.hpp"
#include "io/array.hpp"
#include "io/files.hpp"
#include "io/pickle.hpp"

namespace moesaic::io {

class TorchFile {
 public:
  /// Reads the whole file. Errors (bad input) name `where`: no zip, no data.pkl, a big-endian file, what
  /// io/pickle.hpp refuses, a storage that is missing or shorter than the pickle says.
  static Result<TorchFile> read(const ReadFile& file, const std::string& where);
  static Result<TorchFile> read(FileSystem& files, const std::string& path);

  /// Lives as long as this.
  PickleValue root() const { return pickle_.root(); }

  /// The elements of a tensor of root() in C order, wherever it was saved from and however it is strided.
  /// Errors: more bytes than the file could honestly hold (core/limits.hpp kMaxUnpackRatio).
  Result<Array> materialise(const PickleTensor& tensor) const;

 private:
  TorchFile(Pickle pickle, std::map<std::string, std::string> storages, std::string where,
            std::uint64_t max_bytes)
      : pickle_(std::move(pickle)),
        storages_(std::move(storages)),
        where_(std::move(where)),
        max_bytes_(max_bytes) {}

  Pickle pickle_;
  std::map<std::string, std::string> storages_;
  std::string where_;
  std::uint64_t max_bytes_;
};

}  // namespace moesaic::io
