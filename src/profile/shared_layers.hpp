// Layers dealt out over ranks and threads; every rank then has the results of all.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "comm/comm.hpp"
#include "comm/parcel.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"

namespace moesaic::profile {

/// compute(i) -> Result<Item> runs for i in [0, count) at rank i mod size, on the pool's threads; pack(item)
/// -> Bytes and unpack(bytes) -> Item carry it to the others. One rank alone packs nothing. Errors: of the
/// lowest failing rank, at all.
template <class Item, class Compute, class Pack, class Unpack>
Result<std::vector<Item>> share_items(comm::Comm& comm, ThreadPool& pool, std::size_t count, Compute compute,
                                      Pack pack, Unpack unpack) {
  std::vector<Item> items(count);
  const std::size_t ranks = comm.size(), me = comm.rank();
  const std::size_t mine = count / ranks + (me < count % ranks ? 1 : 0);
  const Status computed = pool.try_parallel_for(mine, [&](std::size_t i) -> Status {
    MOESAIC_ASSIGN(items[i * ranks + me], compute(i * ranks + me));
    return {};
  });
  MOESAIC_TRY(comm::agree(comm, computed));
  if (ranks == 1) return items;
  comm::Packer out;
  for (std::size_t i = me; i < count; i += ranks) {
    const comm::Bytes bytes = pack(items[i]);
    out.put_span(std::span<const std::byte>(bytes));
  }
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all, comm.all_gather(out.take()));
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    comm::Unpacker in(all[rank]);
    for (std::size_t i = rank; i < count; i += ranks) {
      const comm::Bytes bytes = in.get_vector<std::byte>();
      if (rank != me) items[i] = unpack(bytes);
    }
  }
  return items;
}

}  // namespace moesaic::profile
