// Memory of the gateway while many streams wait for their next event.
// usage: node scripts/bench_idle_streams.mjs [STREAMS] [PROGRAM]      (needs 2 x STREAMS open files)
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const streams = Number(process.argv[2] ?? 4000), program = process.argv[3] ?? 'build/release/bin/moesaic';
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'moesaic-idle-'));
const running = [];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function start(command, yaml) {
  const file = path.join(folder, `${command}.yaml`);
  fs.writeFileSync(file, yaml);
  const child = spawn(program, [command, file], {stdio: ['ignore', 'pipe', 'inherit']});
  running.push(child);
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => resolve([...String(text).matchAll(/:(\d+)/g)].map((found) => Number(found[1]))));
    child.on('exit', (code) => reject(new Error(`${command} exits ${code}`)));
  });
}
const resident = (pid) => Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s*(\d+)/)[1]) / 1024;

try {
  const [engine] = await start('emulate', `max_running: ${streams}\nstep: {from: measured, fixed: 5s}\n`);
  const [port, admin] = await start('gateway', 'listen: {port: 0}\nadmin: {port: 0}\nlog: none\n' +
    `limits: {in_flight: ${streams}}\nworkers: [{name: engine, url: "http://127.0.0.1:${engine}"}]\n`);
  while ((await fetch(`http://127.0.0.1:${admin}/ready`)).status !== 200) await pause(50);
  const before = resident(running[1].pid);
  const body = JSON.stringify({prompt: 'word '.repeat(200), max_tokens: 1000, stream: true});
  const request = 'POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${body.length}\r\n\r\n${body}`;
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
  const after = resident(running[1].pid);
  console.log(`${streams} streams: ${after.toFixed(0)} MiB, ${before.toFixed(0)} MiB without; ` +
    `${(1024 * (after - before) / streams).toFixed(1)} KiB each`);
  for (const socket of sockets) socket.destroy();
} finally {
  for (const child of running) {
    child.removeAllListeners('exit');
    child.kill('SIGTERM');
  }
  fs.rmSync(folder, {recursive: true});
}
