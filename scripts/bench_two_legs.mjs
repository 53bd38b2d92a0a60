// What the gateway adds to a request with prefill and decode apart: prefill call, its reply's signature, decode
// policy, decode call — beside the same two calls made by this client itself, to the same upstreams.
// The upstreams are one nginx with fixed answers; 16 connections, each a request every 20 ms; interleaved rounds.
// usage: node scripts/bench_two_legs.mjs [ROUNDS] [SECONDS] [PROGRAM]
import {execFileSync} from 'node:child_process';
import {Bench, Caller, freePort, pause, post, quantile, spread} from './bench_support.mjs';

const rounds = Number(process.argv[2] ?? 7), seconds = Number(process.argv[3] ?? 3);
const program = process.argv[4] ?? 'build/release/bin/moesaic';
const connections = 16, period = 20;
const bench = new Bench(program);

/// A signature of the sample's shape: one token a layer on each of its first experts.
function signature(store) {
  const info = JSON.parse(execFileSync(program, ['info', store, '--json', '-'], {stdio: ['ignore', 'pipe', 'ignore']}));
  const {experts, top_k: topK} = info, layers = info.layers.length;
  const counts = Buffer.alloc(2 * layers * experts);
  for (let layer = 0; layer < layers; ++layer) {
    for (let expert = 0; expert < topK; ++expert) counts.writeInt16LE(120, 2 * (layer * experts + expert));
  }
  return counts.toString('base64');
}

try {
  const store = `${bench.folder}/mini.zarr`;
  execFileSync(program, ['import', 'samples/moesaic-mini', '-o', store], {stdio: 'ignore'});
  const parameters = {do_remote_prefill: true, do_remote_decode: false, remote_engine_id: 'e0', remote_block_ids: [1, 2, 3],
    remote_request_id: 'r0', remote_host: '127.0.0.1', remote_port: 5600, tp_size: 1, eldr_sig: signature(store)};
  const choice = {index: 0, text: ' hello', finish_reason: 'length'};
  const usage = {prompt_tokens: 120, completion_tokens: 1, total_tokens: 121};
  const prefillAnswer = JSON.stringify({id: 'cmpl-1', object: 'text_completion', created: 1, model: 'm', choices: [choice], usage,
    kv_transfer_params: parameters});
  const decodeAnswer = JSON.stringify({id: 'cmpl-2', object: 'text_completion', created: 1, model: 'm', choices: [choice], usage});
  const [prefillPort, decodePort] = [await freePort(), await freePort()];
  const server = (port, answer) => `server { listen 127.0.0.1:${port}; location / { default_type application/json; return 200 '${answer}'; } }`;
  await bench.nginx(decodePort, `${server(prefillPort, prefillAnswer)} ${server(decodePort, decodeAnswer)}`);
  const {ports: [port, admin]} = await bench.start('gateway', `listen: {port: 0}\nadmin: {port: 0}\nlog: none\nprotocol: eldr
policy: {decode: eldr, trace: "${store}"}\nhealth: {read_load: false}
workers:
  - {name: p, url: "http://127.0.0.1:${prefillPort}", role: prefill}
  - {name: d0, url: "http://127.0.0.1:${decodePort}", role: decode}
  - {name: d1, url: "http://127.0.0.1:${decodePort}", role: decode}\n`);
  while ((await fetch(`http://127.0.0.1:${admin}/ready`)).status !== 200) await pause(50);

  const client = {model: 'm', prompt: 'word '.repeat(100), max_tokens: 16};
  const whole = post('/v1/completions', JSON.stringify(client));
  const prefill = post('/v1/completions', JSON.stringify({max_tokens: 1, stream: false, return_token_ids: true,
    kv_transfer_params: {do_remote_decode: true, do_remote_prefill: false, transfer_id: 'xfer-0'}, ...client, max_tokens: 1}));
  const decode = post('/v1/completions', JSON.stringify({kv_transfer_params: parameters, ...client}));
  const check = ({status, body}, expected) => {
    if (status !== 200 || body !== expected) throw new Error(`${status}: ${body}`);
  };
  const ways = {
    direct: () => {
      const first = new Caller(prefillPort), second = new Caller(decodePort);
      return {close: () => { first.close(); second.close(); }, call: async () => {
        check(await first.call(prefill), prefillAnswer);
        check(await second.call(decode), decodeAnswer);
      }};
    },
    gateway: () => {
      const caller = new Caller(port);
      return {close: () => caller.close(), call: async () => check(await caller.call(whole), decodeAnswer)};
    },
  };

  /// Milliseconds of each request.
  async function run(way, duration) {
    const times = [];
    const end = performance.now() + duration;
    await Promise.all(Array.from({length: connections}, async (_, index) => {
      const caller = ways[way]();
      let next = performance.now() + period * index / connections;
      while (next < end) {
        await pause(Math.max(0, next - performance.now()));
        const start = performance.now();
        await caller.call();
        times.push(performance.now() - start);
        next = Math.max(next + period, performance.now());
      }
      caller.close();
    }));
    return times;
  }

  // Equality first, and that the policy was asked with the signature.
  for (const way of Object.keys(ways)) await run(way, 1000);
  const {decisions} = await (await fetch(`http://127.0.0.1:${admin}/admin/decisions?limit=1`)).json();
  if (decisions[0].usage !== 'eldr_sig') throw new Error(`the decision was made from ${JSON.stringify(decisions[0])}`);

  const p50 = [], p99 = [];
  for (let round = 0; round < rounds; ++round) {
    const direct = await run('direct', 1000 * seconds), through = await run('gateway', 1000 * seconds);
    p50.push(quantile(through, 0.5) - quantile(direct, 0.5));
    p99.push(quantile(through, 0.99) - quantile(direct, 0.99));
    console.log(`round ${round + 1}: two legs p50 ${quantile(direct, 0.5).toFixed(3)}, p99 ${quantile(direct, 0.99).toFixed(3)} ms; ` +
      `gateway p50 ${quantile(through, 0.5).toFixed(3)}, p99 ${quantile(through, 0.99).toFixed(3)} ms (${through.length} requests)`);
  }
  console.log(`p50 over the two legs, ms: ${spread(p50)}`);
  console.log(`p99 over the two legs, ms: ${spread(p99)}`);
} finally {
  bench.stop();
}
