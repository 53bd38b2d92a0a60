// Load for scripts/demo-cluster.sh: the same recorded requests in the same order under each policy.
import http from 'node:http';

const option = (name, otherwise) => {
  const at = process.argv.indexOf('--' + name);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const gateway = Number(option('gateway')), admin = Number(option('admin'));
const decoders = option('decoders').split(',').map(Number);
const requests = Number(option('requests', '160')), concurrency = Number(option('concurrency', '24'));
const policies = option('policies', 'jsq,eldr,marginal').split(',');
const agent = new http.Agent({keepAlive: true, maxSockets: concurrency});

function call(port, method, path, body, onData) {
  return new Promise((resolve, reject) => {
    const request = http.request({host: '127.0.0.1', port, method, path, agent,
                                  headers: {'content-type': 'application/json'}}, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece) => { text += piece; if (onData) onData(piece); });
      answer.on('end', () => resolve({status: answer.statusCode, text}));
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function metric(name) {
  let sum = 0;
  for (const port of decoders) {
    const {text} = await call(port, 'GET', '/metrics');
    sum += Number(text.match(new RegExp(`^${name}\\{[^}]*\\} (\\S+)`, 'm'))[1]);
  }
  return sum;
}

async function one(i, times) {
  // A fixed shuffle: neighbours in time are of different domains. The engines count modulo what they replay.
  const recorded = i * 7919;
  const events = [];
  const answer = await call(gateway, 'POST', '/v1/completions',
    JSON.stringify({prompt: `trace:${recorded} request ${i}`, max_tokens: 48, stream: true}),
    () => events.push(performance.now()));
  if (answer.status !== 200 || !answer.text.endsWith('data: [DONE]\n\n')) {
    throw new Error(`request ${i}: ${answer.status} ${answer.text.slice(-200)}`);
  }
  times.push((events.at(-1) - events[0]) / 47);
}

const quantile = (values, q) => values.sort((a, b) => a - b)[Math.floor(q * (values.length - 1))];

for (let i = 0; ; ++i) {
  const {status} = await call(admin, 'GET', '/ready');
  if (status === 200) break;
  if (i === 200) throw new Error('the gateway did not become ready');
  await new Promise((resolve) => setTimeout(resolve, 50));
}
console.log(`${requests} requests of 48 tokens, ${concurrency} at a time, ${decoders.length} decoders`);
console.log('policy      experts a step   change   TPOT p50 ms   TPOT p99 ms   placed by signature');
let base = 0;
for (const policy of policies) {
  const set = await call(admin, 'POST', '/admin/policy', JSON.stringify({decode: policy}));
  if (set.status !== 200) throw new Error(set.text);
  const before = JSON.parse((await call(admin, 'GET', '/admin/routing')).text).decisions;
  const experts = await metric('emulator:active_experts'), steps = await metric('emulator:steps');
  const times = [];
  let next = 0;
  await Promise.all(Array.from({length: concurrency}, async () => {
    while (next < requests) await one(next++, times);
  }));
  const mean = (await metric('emulator:active_experts') - experts) / (await metric('emulator:steps') - steps);
  const after = JSON.parse((await call(admin, 'GET', '/admin/routing')).text).decisions;
  const key = 'signature,eldr_sig';
  const placed = ((after[key] ?? 0) - (before[key] ?? 0)) / requests;
  base = base || mean;
  console.log(policy.padEnd(12) + mean.toFixed(1).padStart(14) + `${(100 * (mean / base - 1)).toFixed(1)} %`.padStart(9) +
    quantile(times, 0.5).toFixed(2).padStart(14) + quantile(times, 0.99).toFixed(2).padStart(14) +
    `${(100 * placed).toFixed(0)} %`.padStart(22));
}
agent.destroy();
