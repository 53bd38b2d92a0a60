#include "comm/deal.hpp"

#include "comm/parcel.hpp"

namespace moesaic::comm {

/// Two thirds in turn: costs that differ by half on both sides of their mean are evened out by the rest.
Deal::Deal(Comm& comm, std::size_t count)
    : comm_(comm), mine_(count), turns_(count * 2 / 3 / comm.size()), dealt_(turns_ * comm.size()) {}

std::optional<std::size_t> Deal::draw() {
  if (dealt_ == mine_.size()) return std::nullopt;
  return dealt_++;
}

Status Deal::answer(const Comm::Posted& asked) {
  Packer parcel;
  const std::optional<std::size_t> number = draw();
  if (number) parcel.put(*number);
  if (!number) ++told_;
  return comm_.post(asked.from, parcel.take());
}

Status Deal::ask() {
  asked_ = true;
  return comm_.post(0, {});
}

Result<std::optional<std::size_t>> Deal::answered() {
  if (!asked_) MOESAIC_TRY(ask());
  MOESAIC_ASSIGN(const std::optional<Comm::Posted> said, comm_.take_posted(true));
  asked_ = false;
  ended_ = said->message.empty();
  if (ended_) return std::nullopt;
  return Unpacker(said->message).get<std::size_t>();
}

Result<std::optional<std::size_t>> Deal::next() {
  const std::lock_guard lock(mutex_);
  while (comm_.is_root()) {
    MOESAIC_ASSIGN(const std::optional<Comm::Posted> asked, comm_.take_posted(false));
    if (!asked) break;
    MOESAIC_TRY(answer(*asked));
  }
  std::optional<std::size_t> number;
  if (own_ < turns_) {
    number = comm_.rank() + own_++ * comm_.size();
  } else if (comm_.is_root()) {
    number = draw();
  } else if (!ended_) {
    MOESAIC_ASSIGN(number, answered());
  }
  if (!number) return number;
  mine_[*number] = true;
  if (!comm_.is_root() && own_ == turns_ && !asked_) MOESAIC_TRY(ask());
  return number;
}

Status Deal::finish() {
  const std::lock_guard lock(mutex_);
  while (comm_.is_root() ? told_ + 1 < comm_.size() : !ended_) {
    if (comm_.is_root()) {
      MOESAIC_ASSIGN(const std::optional<Comm::Posted> asked, comm_.take_posted(true));
      MOESAIC_TRY(answer(*asked));
    } else {
      MOESAIC_TRY(answered());
    }
  }
  return {};
}

}  // namespace moesaic::comm
