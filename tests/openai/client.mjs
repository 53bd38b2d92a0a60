// The official client against the gateway and against the engine behind it: answers must be the same but for
// ids. usage: client.mjs PROGRAM   (exit 77: the client is not installed, `npm ci` here installs it)
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

let OpenAI;
try {
  OpenAI = (await import('openai')).default;
} catch {
  console.log('skipped: run npm ci in tests/openai');
  process.exit(77);
}

const program = process.argv[2];
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'moesaic-openai-'));
const running = [];

function start(name, command, yaml) {
  const file = path.join(folder, `${name}.yaml`);
  fs.writeFileSync(file, yaml);
  const child = spawn(program, [command, file], {stdio: ['ignore', 'pipe', 'inherit']});
  running.push(child);
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (piece) => {
      text += piece;
      const ports = [...text.matchAll(/http:\/\/127\.0\.0\.1:(\d+)/g)].map((found) => Number(found[1]));
      if (text.includes('\n')) resolve(ports);
    });
    child.on('exit', (code) => reject(new Error(`${name} exits ${code}`)));
  });
}

/// The answer without what differs between any two requests.
const plain = (value) => JSON.parse(JSON.stringify(value, (key, inner) =>
  key === 'id' || key === '_request_id' ? undefined : inner));

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(plain(chunk));
  return chunks;
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return {name: error.constructor.name, status: error.status, message: error.message};
  }
  return 'no failure';
}

const messages = [{role: 'user', content: 'tell me'}];
const tools = [{type: 'function', function: {name: 'look_up', parameters: {type: 'object', properties: {}}}}];
const model = 'emulated';
const calls = {
  models: (client) => client.models.list().then((list) => plain(list.data)),
  completion: (client) => client.completions.create({model, prompt: 'a', max_tokens: 5}),
  'completion, streamed': async (client) =>
    collect(await client.completions.create({model, prompt: 'a', max_tokens: 5, stream: true})),
  chat: (client) => client.chat.completions.create({model, messages, max_completion_tokens: 4}),
  'chat, streamed with usage': async (client) => collect(await client.chat.completions.create(
    {model, messages, max_tokens: 4, stream: true, stream_options: {include_usage: true}})),
  'chat, three choices': (client) => client.chat.completions.create({model, messages, n: 3, max_tokens: 2}),
  'chat with logprobs': (client) => client.chat.completions.create({model, messages, logprobs: true, max_tokens: 2}),
  'completion with logprobs': (client) => client.completions.create({model, prompt: 'b', logprobs: 1, max_tokens: 2}),
  tools: (client) => client.chat.completions.create({model, messages, tools}),
  'tools, streamed': async (client) =>
    collect(await client.chat.completions.create({model, messages, tools, stream: true})),
  'a model that is not there': (client) => failure(client.completions.create({model: 'none', prompt: 'a'})),
  'a bad field': (client) => failure(client.completions.create({model, prompt: 'a', max_tokens: 2, min_tokens: 9})),
  abort: async (client) => {
    const stream = await client.completions.create({model, prompt: 'a', max_tokens: 100000, stream: true});
    let chunks = 0;
    for await (const _ of stream) {
      if (++chunks === 3) break;  // the client closes the connection
    }
    return chunks;
  },
};

try {
  const [engine] = await start('engine', 'emulate', 'model: emulated\nstep: {from: measured, fixed: 1ms}\n');
  const [port, admin] = await start('gateway', 'gateway',
    'listen: {port: 0}\nadmin: {port: 0}\nlog: none\nhealth: {interval: 50ms}\n' +
    `workers: [{name: engine, url: "http://127.0.0.1:${engine}"}]\n`);
  for (let i = 0; (await fetch(`http://127.0.0.1:${admin}/ready`)).status !== 200; ++i) {
    assert.ok(i < 200, 'the gateway is not ready');
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  // Node's own fetch: under Debian's node 18 the client's bundled one takes any finished stream for a broken one.
  const client = (to) =>
    new OpenAI({baseURL: `http://127.0.0.1:${to}/v1`, apiKey: 'any', maxRetries: 0, fetch: globalThis.fetch});
  for (const [name, call] of Object.entries(calls)) {
    const direct = plain(await call(client(engine))), through = plain(await call(client(port)));
    assert.deepEqual(through, direct, name);
    assert.notDeepEqual(direct, 'no failure', name);
    console.log(`same: ${name}`);
  }
  // Whoever aborts leaves nothing running.
  for (let i = 0; ; ++i) {
    const text = await (await fetch(`http://127.0.0.1:${engine}/metrics`)).text();
    if (/emulator:in_flight\{[^}]*\} 0\n/.test(text)) break;
    assert.ok(i < 200, 'an aborted request still runs');
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  console.log('nothing is left running');
} finally {
  for (const child of running) {
    child.removeAllListeners('exit');
    child.kill('SIGTERM');
  }
  fs.rmSync(folder, {recursive: true});
}
