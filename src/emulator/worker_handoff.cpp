// The two ends of a handoff: what a prefiller answers and gives out, what a decoder demands.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/random.hpp"
#include "emulator/worker_turn.hpp"
#include "io/base64.hpp"
#include "io/json.hpp"

namespace moesaic::emulator {

using net::Header;
using net::Task;
using protocol::Handoff;

namespace {

constexpr std::uint32_t kBlockTokens = 16;

/// A key that no router knows: it must come through as it is.
Json unknown_key(const std::string& request) {
  Json nested;
  nested["of"] = request;
  nested["list"].push_back(Json());
  nested["list"].push_back(1.5);
  return nested;
}

std::string room_key(const Ask& ask) { return "room-" + ask.bootstrap_room.dump(); }

}  // namespace

std::string Worker::eldr_signature(const Ask& ask) const {
  const auto counts = recording_->counts(recorded_request(ask));
  std::vector<std::byte> bytes;
  for (const float count : counts) {
    const auto value = static_cast<std::uint16_t>(std::min(32'767.0f, std::round(count)));
    bytes.push_back(static_cast<std::byte>(value & 0xFF));
    bytes.push_back(static_cast<std::byte>(value >> 8));
  }
  return io::encode_base64(bytes);
}

Task<void> Worker::answer_prefill(Turn& turn) {
  const Ask& ask = turn.ask;
  Offer offer{.key = config_.engine_id + "/" + turn.id,
              .blocks = {},
              .prompt_hash = ask.prompt_hash,
              .prompt_tokens = ask.prompt_tokens};
  for (std::uint32_t block = 0; block * kBlockTokens < ask.prompt_tokens; ++block) {
    offer.blocks.push_back(counter_hash({ask.prompt_hash, block}) % 1'000'000);
  }
  offer.recorded = turn.recorded;
  Json parameters(Json::Object{});
  if (config_.handoff == Handoff::kSglang) {
    offer.key = room_key(ask);
  } else if (config_.handoff == Handoff::kNixl) {
    parameters["do_remote_prefill"] = true;
    parameters["do_remote_decode"] = false;
    parameters["remote_engine_id"] = config_.engine_id;
    parameters["remote_request_id"] = offer.key;
    parameters["remote_host"] = config_.address;
    parameters["remote_port"] = port();
    parameters["tp_size"] = 1;
    for (const std::uint64_t block : offer.blocks) parameters["remote_block_ids"].push_back(block);
    parameters["x_unknown"] = unknown_key(offer.key);
  } else {
    const auto transfer = ask.handoff.find("transfer_id");
    if (transfer == ask.handoff.end() || !transfer->second.is_string()) {
      co_await fail(turn, 400, "kv_transfer_params.transfer_id: expected a text");
      co_return;
    }
    offer.key = *transfer->second.as_string();
    parameters["do_remote_prefill"] = true;
    parameters["do_remote_decode"] = false;
    parameters["transfer_id"] = offer.key;
    parameters["remote_engine_id"] = config_.engine_id;
    parameters["remote_bootstrap_addr"] = fmt::format("{}:{}", config_.address, port());
    parameters["x_unknown"] = unknown_key(offer.key);
  }
  if (config_.eldr_signature && config_.handoff != Handoff::kSglang) {
    parameters["eldr_sig"] = eldr_signature(ask);
  }
  const auto wish = ask.handoff.find("prefill_first");
  const bool early = wish != ask.handoff.end() && wish->second == Json(true);
  if (early) {
    offer.ids_hash = prompt_hash(Json(ask.prompt_ids));
    parameters["prefill_first_token_id"] = first_token_id(ask.prompt_hash);
    parameters["prefill_prompt_tokens"] = ask.prompt_ids.size();
    parameters["prefill_continues"] = ask.max_tokens > 1;
  }
  if (const Status offered = handoffs_.offer(std::move(offer), loop_.now()); !offered) {
    co_await fail(turn, 400, offered.error().message);
    co_return;
  }
  Json::Object extra;
  if (config_.handoff != Handoff::kSglang) extra["kv_transfer_params"] = std::move(parameters);
  if (turn.fault == Fault::kLostHandoff) extra.clear();
  Json::Object of_choices;
  if (early) {
    of_choices["token_ids"].push_back(Json(first_token_id(ask.prompt_hash)));
    of_choices["prompt_token_ids"] = Json(ask.prompt_ids);
    turn.ask.max_tokens = 1;  // the rest is the decoder's
  }
  const std::string answer = whole_answer(ask, std::move(extra), of_choices);
  const bool sent = co_await turn.exchange.respond(200, json_headers(), answer);
  ++(sent ? stats_.finished : stats_.aborted);
}

Task<void> Worker::give_handoff(net::Exchange& exchange) {
  const auto request = io::parse_json(exchange.body(), "the body");
  const Json* key = request ? request->find("key") : nullptr;
  if (key == nullptr || !key->is_string()) {
    co_await exchange.respond(400, json_headers(), error_answer(400, "expected {\"key\": ...}"));
    co_return;
  }
  std::vector<std::uint64_t> blocks;
  if (const Json* list = request->find("blocks"); list != nullptr && list->as_array()) {
    for (const Json& item : *list->as_array()) {
      std::uint64_t block = UINT64_MAX;
      static_cast<void>(item.to_uint(block));
      blocks.push_back(block);
    }
  }
  std::uint64_t wait_ms = 0;
  if (const Json* wait = request->find("wait_ms")) static_cast<void>(wait->to_uint(wait_ms));
  const Nanoseconds until = loop_.now() + std::chrono::milliseconds(wait_ms);
  bool gone = false;
  exchange.on_client_gone([&gone] { gone = true; });
  Offer offer;
  HandoffBook::Taken taken = handoffs_.take(*key->as_string(), blocks, loop_.now(), offer);
  while (taken == HandoffBook::Taken::kUnknown && loop_.now() < until && !gone) {
    co_await loop_.sleep(std::chrono::milliseconds(1));
    if (!gone) taken = handoffs_.take(*key->as_string(), blocks, loop_.now(), offer);
  }
  static constexpr std::string_view kWhy[] = {"", "unknown", "taken before", "with other blocks", "expired"};
  if (taken != HandoffBook::Taken::kTaken) {
    co_await exchange.respond(404, json_headers(), error_answer(404, kWhy[static_cast<std::size_t>(taken)]));
    co_return;
  }
  Json answer;
  answer["prompt_hash"] = fmt::format("{:x}", offer.prompt_hash);
  answer["engine_id"] = config_.engine_id;
  answer["recorded"] = offer.recorded;
  if (offer.ids_hash) answer["ids_hash"] = fmt::format("{:x}", *offer.ids_hash);
  co_await exchange.respond(200, json_headers(), answer.dump());
}

Task<void> Worker::release(net::Exchange& exchange) {
  const auto body = io::parse_json(exchange.body(), "the body");
  const auto text = [&](std::string_view name) -> std::string {
    const Json* value = body ? body->find(name) : nullptr;
    return value != nullptr && value->is_string() ? *value->as_string() : "";
  };
  const std::string key = text("transfer_id"), address = text("remote_bootstrap_addr");
  const std::size_t colon = address.rfind(':');
  const Json* pending = body ? body->find("do_remote_prefill") : nullptr;
  const Json* unknown = body ? body->find("x_unknown") : nullptr;
  if (config_.role != Role::kDecode || config_.handoff != Handoff::kEldr || pending == nullptr ||
      !(*pending == Json(true)) || unknown == nullptr || !(*unknown == unknown_key(key)) ||
      colon == std::string::npos) {
    co_await exchange.respond(
        400, json_headers(),
        error_answer(400, "expected a decoder to be given a pending prefill's parameters"));
    co_return;
  }
  const std::string host = address.substr(0, colon);
  const auto port = static_cast<std::uint16_t>(std::strtoul(address.c_str() + colon + 1, nullptr, 10));
  std::unique_ptr<net::HttpPool>& pool = peers_[address];
  if (!pool) pool = std::make_unique<net::HttpPool>(loop_, host, port, net::ClientOptions{});
  Json request;
  request["key"] = key;
  const Result<net::HttpAnswer> answer =
      co_await net::fetch(loop_, *pool, "POST", "/emulator/release", json_headers(), request.dump(),
                          std::chrono::seconds(5), 65'536);
  const bool released = answer && answer->head.status == 200;
  std::string said = "{\"released\":true}";
  if (!released) said = error_answer(404, "no such handoff");
  co_await exchange.respond(released ? 200 : 404, json_headers(), said);
}

Task<Status> Worker::take_handoff(Turn& turn) {
  const Ask& ask = turn.ask;
  Json request;
  if (config_.handoff == Handoff::kSglang) {
    std::uint64_t port = 8998;  // SGLang's default
    static_cast<void>(ask.bootstrap_port.to_uint(port));
    request["key"] = room_key(ask);
    request["wait_ms"] = 50;
    // The prefill may still run; whoever gives up meanwhile is not waited for.
    const Nanoseconds until = loop_.now() + std::chrono::seconds(30);
    Status taken;
    do {
      taken = co_await take_from(*ask.bootstrap_host.as_string(), static_cast<std::uint16_t>(port), request,
                                 turn, "");
    } while (!taken && !turn.gone && loop_.now() < until &&
             taken.error().message.find("unknown") != std::string::npos);
    co_return taken;
  }
  const auto text = [&](std::string_view name) -> std::string {
    const auto found = ask.handoff.find(name);
    return found != ask.handoff.end() && found->second.is_string() ? *found->second.as_string() : "";
  };
  std::string host, key;
  std::uint64_t port = 0;
  if (config_.handoff == Handoff::kNixl) {
    host = text("remote_host");
    key = text("remote_request_id");
    const auto number = ask.handoff.find("remote_port");
    if (number != ask.handoff.end()) static_cast<void>(number->second.to_uint(port));
    const auto blocks = ask.handoff.find("remote_block_ids");
    if (blocks == ask.handoff.end() || !blocks->second.is_array()) {
      co_return bad_input("kv_transfer_params.remote_block_ids: expected a list");
    }
    request["blocks"] = blocks->second;
  } else {
    key = text("transfer_id");
    const std::string address = text("remote_bootstrap_addr");
    const std::size_t colon = address.rfind(':');
    if (colon != std::string::npos) {
      host = address.substr(0, colon);
      port = std::strtoul(address.c_str() + colon + 1, nullptr, 10);
    }
  }
  const std::string engine = text("remote_engine_id");
  if (host.empty() || key.empty() || engine.empty() || port == 0 || port > 65'535) {
    co_return bad_input("kv_transfer_params: expected the remote host, port, engine and request");
  }
  if (config_.handoff != Handoff::kMooncake) {
    const auto unknown = ask.handoff.find("x_unknown");
    if (unknown == ask.handoff.end() || !(unknown->second == unknown_key(key))) {
      co_return bad_input("kv_transfer_params.x_unknown: expected as the prefiller sent it");
    }
  }
  request["key"] = key;
  Status taken =
      co_await take_from(std::move(host), static_cast<std::uint16_t>(port), std::move(request), turn, engine);
  co_return taken;
}

Task<Status> Worker::take_from(std::string host, std::uint16_t port, Json request, Turn& turn,
                               std::string engine_id) {
  Ask& ask = turn.ask;
  std::unique_ptr<net::HttpPool>& pool = peers_[fmt::format("{}:{}", host, port)];
  if (!pool) pool = std::make_unique<net::HttpPool>(loop_, host, port, net::ClientOptions{});
  const Result<net::HttpAnswer> answer =
      co_await net::fetch(loop_, *pool, "POST", "/emulator/take", json_headers(), request.dump(),
                          std::chrono::seconds(35), 65'536);
  if (!answer) co_return tl::unexpected(answer.error());
  if (answer->head.status != 200) {
    co_return bad_input(fmt::format("handoff {}: the prefiller says it is {}", request.find("key")->dump(),
                                    answer->body.substr(0, 200)));
  }
  const auto json = io::parse_json(answer->body, "the prefiller");
  const auto first = ask.handoff.find("prefill_first_token_id");
  const bool early = first != ask.handoff.end();
  const Json* hash = json ? json->find(early ? "ids_hash" : "prompt_hash") : nullptr;
  const Json* engine = json ? json->find("engine_id") : nullptr;
  if (hash == nullptr || !(*hash == Json(fmt::format("{:x}", ask.prompt_hash)))) {
    co_return bad_input("the handoff belongs to another prompt");
  }
  if (!engine_id.empty() && (engine == nullptr || !(*engine == Json(engine_id)))) {
    co_return bad_input("the handoff belongs to another engine");
  }
  if (early) {  // ids name the prompt, its text makes the answer
    const Json* own = json->find("prompt_hash");
    const std::uint64_t text =
        own != nullptr && own->is_string() ? std::strtoull(own->as_string()->c_str(), nullptr, 16) : 0;
    std::uint64_t recorded = 0, token = 0;
    if (const Json* number = json->find("recorded")) static_cast<void>(number->to_uint(recorded));
    if (!first->second.to_uint(token) || token != first_token_id(text)) {
      co_return bad_input("prefill_first_token_id: expected the token that the prefiller gave");
    }
    ask.prompt_hash = text;
    turn.recorded = static_cast<std::uint32_t>(recorded);
    turn.given = 1;
  }
  co_return Status();
}

}  // namespace moesaic::emulator
