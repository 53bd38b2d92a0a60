// NumPy's .npy files (numpy/lib/format.py, header versions 1 to 3; read against numpy 1.24 and 2.x).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "core/result.hpp"
#include "io/array.hpp"

namespace moesaic::io {

/// Reads a whole .npy file. Bool, (u)int8..64, float16..64, U and S in either byte order, C or Fortran
/// order. Errors (bad input) name `where` and the byte: no magic, a version or type that is not known
/// (objects need a pickle and are refused), a header that is no literal of NumPy's form, a shape whose
/// bytes are not exactly what follows. Allocates at most the size of `bytes`. O(bytes).
Result<Array> read_npy(std::span<const std::byte> bytes, const std::string& where);

/// The .npy file of `array`, version 1 (2 when the header is long). Not for kBfloat16, which NumPy has not.
Result<std::string> write_npy(const Array& array);

}  // namespace moesaic::io
