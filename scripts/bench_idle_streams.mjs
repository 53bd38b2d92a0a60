// Memory of the gateway while many streams wait for their next event.
// usage: node scripts/bench_idle_streams.mjs [STREAMS] [PROGRAM]      (needs 2 x STREAMS open files)
import fs from 'node:fs';
import net from 'node:net';
import {Bench, pause, post} from './bench_support.mjs';

const streams = Number(process.argv[2] ?? 4000);
const bench = new Bench(process.argv[3] ?? 'build/release/bin/moesaic');
const resident = (pid) => Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s*(\d+)/)[1]) / 1024;

try {
  const {ports: [engine]} = await bench.start('emulate', `max_running: ${streams}\nstep: {from: measured, fixed: 5s}\n`);
  const {child, ports: [port, admin]} = await bench.start('gateway', 'listen: {port: 0}\nadmin: {port: 0}\nlog: none\n' +
    `limits: {in_flight: ${streams}}\nworkers: [{name: engine, url: "http://127.0.0.1:${engine}"}]\n`);
  while ((await fetch(`http://127.0.0.1:${admin}/ready`)).status !== 200) await pause(50);
  const before = resident(child.pid);
  const request = post('/v1/completions', JSON.stringify({prompt: 'word '.repeat(200), max_tokens: 1000, stream: true}));
  let open = 0, failed = 0;
  const sockets = [];
  for (let i = 0; i < streams; ++i) {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(request));
    socket.once('data', (bytes) => { String(bytes).startsWith('HTTP/1.1 200') ? ++open : ++failed; });
    socket.on('data', () => {});
    socket.on('error', () => ++failed);
    sockets.push(socket);
    if (i % 200 === 199) await pause(50);
  }
  for (let i = 0; i < 60 && open + failed < streams; ++i) await pause(500);
  if (open !== streams) throw new Error(`${open} of ${streams} streams opened, ${failed} failed`);
  await pause(1000);
  const after = resident(child.pid);
  console.log(`${streams} streams: ${after.toFixed(0)} MiB, ${before.toFixed(0)} MiB without; ` +
    `${(1024 * (after - before) / streams).toFixed(1)} KiB each`);
  for (const socket of sockets) socket.destroy();
} finally {
  bench.stop();
}
