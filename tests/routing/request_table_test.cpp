#include "routing/request_table.hpp"

#include <map>
#include <set>

namespace moesaic::routing {
namespace {

RC_GTEST_PROP(RequestTable, BehavesAsAMap, ()) {
  // Few distinct ids, so that probing sequences collide and erasures leave holes to close.
  RequestTable table(0);
  std::map<std::uint64_t, std::uint32_t> reference;
  const auto steps = *rc::gen::container<std::vector<std::pair<std::uint8_t, bool>>>(
      rc::gen::pair(rc::gen::inRange<std::uint8_t>(0, 60), rc::gen::arbitrary<bool>()));
  std::uint32_t stamp = 0;
  for (const auto& [id, insert] : steps) {
    const auto place = table.find(RequestId{id});
    RC_ASSERT(place.has_value() == reference.contains(id));
    if (place) RC_ASSERT(table.at(*place).worker == reference[id]);
    if (insert && !place) {
      table.insert({.id = RequestId{id}, .worker = ++stamp});
      reference[id] = stamp;
    } else if (!insert && place) {
      table.erase(*place);
      reference.erase(id);
    }
    RC_ASSERT(table.size() == reference.size());
  }
  std::set<std::uint64_t> seen;
  table.each([&](std::uint32_t, const RequestTable::Record& record) {
    seen.insert(static_cast<std::uint64_t>(record.id));
  });
  RC_ASSERT(seen.size() == reference.size());
  for (const auto& [id, worker] : reference) RC_ASSERT(seen.contains(id));
}

TEST(RequestTable, GrowsPastItsReserve) {
  RequestTable table(4);
  for (std::uint64_t id = 0; id < 1000; ++id)
    table.insert({.id = RequestId{id}, .worker = static_cast<std::uint32_t>(id)});
  EXPECT_EQ(table.size(), 1000u);
  for (std::uint64_t id = 0; id < 1000; ++id) {
    const auto place = table.find(RequestId{id});
    ASSERT_TRUE(place);
    EXPECT_EQ(table.at(*place).worker, id);
  }
  EXPECT_FALSE(table.find(RequestId{1000}));
}

}  // namespace
}  // namespace moesaic::routing
