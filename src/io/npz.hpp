// NumPy's .npz files: a zip, stored or deflated, of .npy files.
#pragma once

#include <string>
#include <vector>

#include "core/result.hpp"
#include "io/array.hpp"
#include "io/files.hpp"

namespace moesaic::io {

struct NpzMember {
  std::string name;  ///< without ".npy"
  Array array;
};

class Npz {
 public:
  explicit Npz(std::vector<NpzMember> members) : members_(std::move(members)) {}

  /// In the order of the file.
  const std::vector<NpzMember>& members() const { return members_; }
  /// Member of that name, or nullptr.
  const Array* find(const std::string& name) const;

 private:
  std::vector<NpzMember> members_;
};

/// Reads every member. Errors (bad input) name `where` and the member: no zip, a name twice, a member that
/// is no .npy, more than core/limits.hpp lets an archive unpack to.
Result<Npz> read_npz(const ReadFile& file, const std::string& where);
Result<Npz> read_npz(FileSystem& files, const std::string& path);

}  // namespace moesaic::io
