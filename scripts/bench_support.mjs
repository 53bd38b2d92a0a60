// What the gateway's benches share: programs started in a scratch folder and stopped at the end, an nginx of one
// worker, HTTP/1.1 by raw sockets (a client library would cost more than what is measured), quantiles.
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Bench {
  constructor(program) {
    this.program = program;
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'moesaic-bench-'));
    this.running = [];
  }

  /// Starts `moesaic COMMAND FILE`; gives the process and the ports that it prints.
  start(command, yaml) {
    const file = path.join(this.folder, `${command}${this.running.length}.yaml`);
    fs.writeFileSync(file, yaml);
    const child = spawn(this.program, [command, file], {stdio: ['ignore', 'pipe', 'inherit']});
    this.running.push(child);
    return new Promise((resolve, reject) => {
      child.stdout.on('data', (text) =>
        resolve({child, ports: [...String(text).matchAll(/:(\d+)/g)].map((found) => Number(found[1]))}));
      child.on('exit', (code) => reject(new Error(`${command} exits ${code}`)));
    });
  }

  /// An nginx of one worker with `http` as its block, listening on `port` within 5 s.
  async nginx(port, http) {
    const folder = path.join(this.folder, `nginx${this.running.length}`);
    fs.mkdirSync(folder);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`);
    fs.writeFileSync(`${folder}/nginx.conf`, `worker_processes 1; daemon off; pid ${folder}/pid; error_log ${folder}/log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; ${temporary.join(' ')} ${http} }\n`);
    const child = spawn('nginx', ['-c', `${folder}/nginx.conf`], {stdio: ['ignore', 'inherit', 'inherit']});
    this.running.push(child);
    for (let i = 0; i < 100; ++i) {
      const open = await new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
        socket.on('error', () => resolve(false));
      });
      if (open) return child;
      await pause(50);
    }
    throw new Error(`nginx does not listen on ${port}: ${fs.readFileSync(`${folder}/log`, 'utf8')}`);
  }

  stop() {
    for (const child of this.running) {
      child.removeAllListeners('exit');
      child.kill('SIGTERM');
    }
    fs.rmSync(this.folder, {recursive: true, force: true});
  }
}

/// A loopback port that was free a moment ago.
export function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const {port} = server.address();
      server.close(() => resolve(port));
    });
  });
}

export function post(target, body) {
  return `POST ${target} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/// A kept connection: one request at a time, answers with a Content-Length.
export class Caller {
  constructor(port) {
    this.socket = net.connect(port, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.text = '';
    this.socket.on('data', (bytes) => this.take(bytes));
    this.socket.on('error', (error) => this.fail?.(error));
    this.socket.on('close', () => this.fail?.(new Error('closed')));
  }
  call(request) {
    this.socket.write(request);
    return new Promise((resolve, reject) => { this.give = resolve; this.fail = reject; });
  }
  take(bytes) {
    this.text += bytes.toString('latin1');
    const end = this.text.indexOf('\r\n\r\n');
    if (end < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(this.text.slice(0, end))?.[1]);
    if (this.text.length < end + 4 + length) return;
    const answer = {status: Number(this.text.slice(9, 12)), body: this.text.slice(end + 4)};
    this.text = '';
    this.give(answer);
  }
  close() {
    this.fail = undefined;
    this.socket.destroy();
  }
}

export function quantile(values, q) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
export function spread(values, digits = 3) {
  return `median ${quantile(values, 0.5).toFixed(digits)}, from ${Math.min(...values).toFixed(digits)} to ` +
    `${Math.max(...values).toFixed(digits)}`;
}
