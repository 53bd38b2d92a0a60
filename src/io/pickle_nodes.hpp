// What pickle.cpp makes of a pickle and pickle_value.cpp reads: nodes that refer to each other by index.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "io/pickle.hpp"

namespace moesaic::io {
namespace pickle {

using NodeId = std::uint32_t;

struct NoneNode {};
/// A function or class by name; may be called, never kept in a result.
struct GlobalNode {
  std::string name;
};
struct BytesNode {
  std::string bytes;
};
struct ListNode {
  std::vector<NodeId> items;
};
struct TupleNode {
  std::vector<NodeId> items;
};
struct DictNode {
  std::vector<std::pair<NodeId, NodeId>> entries;
};
/// What a persistent id stands for.
struct StorageNode {
  DType dtype = DType::kFloat32;
  std::string key;
  std::uint64_t count = 0;
};

using Node = std::variant<NoneNode, bool, std::int64_t, double, std::string, BytesNode, ListNode, TupleNode,
                          DictNode, PickleTensor, StorageNode, GlobalNode>;

}  // namespace pickle

struct PickleNodes {
  std::vector<pickle::Node> nodes;
  pickle::NodeId root = 0;
};

}  // namespace moesaic::io
