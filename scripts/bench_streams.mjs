// Time between the tokens of 256 streams through the gateway beside nginx, to the same emulated engine, which steps
// all of them at once every 40 ms; interleaved rounds. Every stream must be whole.
// usage: node scripts/bench_streams.mjs [PAIRS] [STREAMS] [TOKENS] [PROGRAM]
import net from 'node:net';
import {Bench, freePort, pause, post, quantile, spread} from './bench_support.mjs';

const pairs = Number(process.argv[2] ?? 7), streams = Number(process.argv[3] ?? 256), tokens = Number(process.argv[4] ?? 80);
const bench = new Bench(process.argv[5] ?? 'build/release/bin/moesaic');

/// Milliseconds between the events of all streams.
async function run(port) {
  const request = post('/v1/completions', JSON.stringify({prompt: 'word '.repeat(50), max_tokens: tokens, stream: true}));
  const gaps = [];
  await Promise.all(Array.from({length: streams}, () => new Promise((resolve, reject) => {
    let last = 0, events = 0, tail = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(request));
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      const now = performance.now();
      const text = bytes.toString('latin1');
      for (let at = text.indexOf('data: {'); at >= 0; at = text.indexOf('data: {', at + 7)) {
        if (events++ > 0) gaps.push(now - last);
        last = now;
      }
      tail = (tail + text).slice(-32);
      if (!tail.endsWith('data: [DONE]\n\n\r\n0\r\n\r\n')) return;
      socket.destroy();
      events >= tokens ? resolve() : reject(new Error(`a stream of ${events} events`));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('a stream broke')));
  })));
  return gaps;
}

try {
  const {ports: [engine]} = await bench.start('emulate', `max_running: ${streams}\nstep: {from: measured, fixed: 40ms}\n`);
  const {ports: [port, admin]} = await bench.start('gateway', 'listen: {port: 0}\nadmin: {port: 0}\nlog: none\n' +
    `workers: [{name: engine, url: "http://127.0.0.1:${engine}"}]\n`);
  const proxy = await freePort();
  await bench.nginx(proxy, `upstream engine { server 127.0.0.1:${engine}; keepalive 256; }
    server { listen 127.0.0.1:${proxy}; location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; } }`);
  while ((await fetch(`http://127.0.0.1:${admin}/ready`)).status !== 200) await pause(50);
  const ways = {engine, nginx: proxy, gateway: port};
  const p99 = {engine: [], nginx: [], gateway: []}, ratios = [];
  await run(port);
  for (let pair = 0; pair < pairs; ++pair) {
    const line = [];
    for (const [way, at] of Object.entries(ways)) {
      const gaps = await run(at);
      p99[way].push(quantile(gaps, 0.99));
      line.push(`${way} p50 ${quantile(gaps, 0.5).toFixed(2)}, p99 ${p99[way].at(-1).toFixed(2)} ms`);
    }
    ratios.push(p99.gateway.at(-1) / p99.nginx.at(-1));
    console.log(`pair ${pair + 1}: ${line.join('; ')}; ratio ${ratios.at(-1).toFixed(3)}`);
  }
  for (const way of Object.keys(ways)) console.log(`p99 between tokens, ms, ${way}: ${spread(p99[way], 2)}`);
  console.log(`p99 between tokens, gateway to nginx: ${spread(ratios)}`);
} finally {
  bench.stop();
}
