// The gateway's dashboard in a real browser, before emulated engines that serve real streams: what it shows is what
// the gateway counted, the policy is switched from it, the key is asked for, nothing foreign is loaded or run.
// usage: node dashboard_test.mjs PROGRAM SOURCE_FOLDER [FOLDER_FOR_SCREENSHOTS]
// (exit 77: playwright-core or chromium is missing)
import { spawn, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unreadable } from "./readable.mjs";

const [program, source, pictures] = process.argv.slice(2);
const chromiumPath = process.env.MOESAIC_CHROMIUM ?? "/usr/bin/chromium";
let chromium;
try {
  ({ chromium } = await import("playwright-core"));
} catch {
  console.log("skipped: needs playwright-core (npm ci --prefix tests/web)");
  process.exit(77);
}
if (!existsSync(chromiumPath)) {
  console.log("skipped: needs chromium");
  process.exit(77);
}

const failures = [];
const check = (holds, what) => holds || failures.push(what);
const folder = mkdtempSync(join(tmpdir(), "moesaic-dashboard-"));
const running = [];
const kKey = "an-admin-key-of-some-length";

function serve(name, command, yaml) {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, yaml);
  const child = spawn(program, [command, file], { stdio: ["ignore", "pipe", "inherit"] });
  running.push(child);
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (piece) => {
      text += piece;
      if (text.includes("\n")) resolve([...text.matchAll(/http:\/\/127\.0\.0\.1:(\d+)/g)].map((m) => Number(m[1])));
    });
    child.on("exit", (code) => reject(new Error(`${name} exits ${code}`)));
  });
}

function post(port, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", port, path, method: "POST", headers }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => resolve({ status: answer.statusCode, text }));
      answer.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

let browser;
try {
  execFileSync(program, ["import", join(source, "samples/moesaic-mini"), "-o", join(folder, "mini.zarr")], { stdio: "pipe" });
  const step = "{from: measured, fixed: 2ms, per_token_ns: 20000, per_expert_ns: 20000}";
  const engines = [];
  for (const [name, role] of [["prefill-a", "prefill"], ["decode-a", "decode"], ["decode-b", "decode"]]) {
    const [port] = await serve(name, "emulate", `role: ${role}\nhandoff: eldr\nengine_id: ${name}\ntrace: ${folder}/mini.zarr\n` +
      `eldr_signature: true\nkv_tokens: 40000\nstep: ${step}\n`);
    engines.push(`  - {name: ${name}, url: "http://127.0.0.1:${port}", role: ${role}}\n`);
  }
  writeFileSync(join(folder, "keys"), `${kKey}\n`);
  const [port, admin] = await serve("gateway", "gateway", `listen: {port: 0}\nadmin: {port: 0, keys_file: ${folder}/keys}\nprotocol: eldr\n` +
    `workers:\n${engines.join("")}policy: {decode: jsq, trace: ${folder}/mini.zarr, step: ${step}}\nhealth: {interval: 100ms}\nlog: none\n`);
  const gateway = running.at(-1);
  // A stranger's page may neither ask nor change anything, with or without the key.
  const stranger = { Origin: "http://evil.example", Authorization: `Bearer ${kKey}`, "Content-Type": "text/plain" };
  check((await post(admin, "/admin/policy", '{"decode":"random"}', stranger)).status === 403, "a stranger's page may switch policies");
  check((await post(admin, "/admin/policy", '{"decode":"random"}')).status === 401, "who has no key may switch policies");

  browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox", "--disable-gpu"] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  const page = await context.newPage();
  let where = "light";
  page.on("console", (m) => m.text().includes("401") || check(false, `${where}: the console says "${m.text()}"`));
  page.on("pageerror", (e) => check(false, `${where}: ${e.message}`));
  const foreign = [];
  page.on("request", (r) => r.url().startsWith(`http://127.0.0.1:${admin}/`) || r.url().startsWith("data:") || foreign.push(r.url()));
  const answer = await page.goto(`http://127.0.0.1:${admin}/`);
  const policy = answer.headers()["content-security-policy"] ?? "";
  check(policy.startsWith("default-src 'none'") && !policy.includes("unsafe"), `the content security policy is "${policy}"`);
  await page.waitForSelector("#key-form:not([hidden])");
  check(await page.isHidden("#sections"), "data is shown without a key");
  await page.fill("#key", "a-key-that-is-not-the-one");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("state").textContent === "this key is not valid");
  await page.fill("#key", kKey);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("state").textContent === "ready");

  const load = async (count) => {
    let next = 0;
    await Promise.all(Array.from({ length: 8 }, async () => {
      while (next < count) {
        const i = next++;
        const { status, text } = await post(port, "/v1/completions", JSON.stringify({ prompt: `trace:${(i * 7919) % 797} r${i}`, max_tokens: 24, stream: true }));
        check(status === 200 && text.endsWith("data: [DONE]\n\n"), `request ${i}: ${status}`);
      }
    }));
  };
  const cells = (table, column) => page.$$eval(`#${table} tbody tr`, (rows, at) => rows.map((r) => r.children[at]?.textContent), column);
  await load(40);
  await page.waitForFunction(() => document.querySelectorAll("#decisions tbody tr").length === 20);
  check((await cells("decisions", 1)).every((reason) => reason === "load"), "jsq did not place by load");
  // The policy is switched from the page, by keyboard.
  await page.focus("#policy");
  await page.selectOption("#policy", "marginal");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("said").textContent === "switched to marginal");
  const running_now = load(160);
  await page.waitForFunction(() => [...document.querySelectorAll("#workers tbody tr")].some((r) => Number(r.children[6].textContent) > 0));
  await running_now;
  await page.waitForFunction(() => [...document.querySelectorAll("#decisions tbody tr")].every((r) => r.children[1].textContent === "signature"));
  await page.waitForFunction(() => /200 in all/.test(document.getElementById("tiles").textContent));
  check((await cells("decisions", 2)).every((usage) => usage === "eldr_sig"), "decisions do not say where the usage came from");
  check((await cells("decisions", 3)).every((text) => /^\d+ %$/.test(text)), "decisions do not say what was shared");
  const names = await cells("workers", 0);
  check(names.join() === "prefill-a,decode-a,decode-b", `workers: ${names}`);
  check((await cells("workers", 2)).every((state) => state === "up"), "a worker is not up");
  const given = await cells("workers", 7);
  check(Number(given[0]) === 200 && Number(given[1]) + Number(given[2]) === 200, `requests of the workers: ${given}`);
  const latency = await (await fetch(`http://127.0.0.1:${admin}/admin/latency`, { headers: { Authorization: `Bearer ${kKey}` } })).json();
  for (const id of ["first_token", "per_token"]) {
    check(latency[id].count === 200, `${id}: ${latency[id].count} streams counted`);
    check(latency[id].bins.reduce((sum, bin) => sum + bin.count, 0) === 200, `${id}: its bins do not add up`);
    // A step takes 2 ms at least, and so does a token, but for the first, which ELDR's prefiller answers.
    const least = id === "per_token" ? 0.0015 : 0;
    check(latency[id].p50_seconds > least && latency[id].p50_seconds <= latency[id].p99_seconds, `${id}: ${latency[id].p50_seconds}`);
    check((await page.$$eval(`#${id} .bin`, (all) => all.length)) > 0, `${id}: no bins are drawn`);
    check((await page.$$eval(`#${id} path.line, #${id} .dot`, (all) => all.length)) >= 2, `${id}: no course is drawn`);
    check(/200 streams/.test(await page.$eval(`#${id} svg`, (e) => e.getAttribute("aria-label"))), `${id}: its label does not tell it`);
  }
  for (const [name, width, scheme] of [["wide", 1280, "light"], ["narrow", 390, "light"], ["dark", 1280, "dark"]]) {
    where = name;
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.evaluate(() => refresh());
    for (const problem of await page.evaluate(unreadable, ["main", 60])) check(false, `${where}: ${problem}`);
    if (!pictures) continue;
    mkdirSync(pictures, { recursive: true });
    writeFileSync(join(pictures, `dashboard-${name}.png`), await page.screenshot({ fullPage: true }));
  }
  // With a plan a decision has a home too: that of the rank which it names.
  execFileSync(program, ["plan", join(folder, "mini.zarr"), "--nodes", "2", "--gpus-per-node", "2", "-o", join(folder, "plan.json")],
    { stdio: "pipe" });
  const [plain] = await serve("plain", "emulate", `engine_id: plain\nranks: 4\ntrace: ${folder}/mini.zarr\nstep: ${step}\n`);
  const [grouped, group_admin] = await serve("groups", "gateway", `listen: {port: 0}\nadmin: {port: 0}\nworkers:\n` +
    `  - {name: plain, url: "http://127.0.0.1:${plain}", ranks: 4}\npolicy: {decode: group, plan: ${folder}/plan.json}\n` +
    "health: {interval: 100ms}\nlog: none\n");
  const groups = await context.newPage();
  groups.on("pageerror", (e) => check(false, `groups: ${e.message}`));
  await groups.goto(`http://127.0.0.1:${group_admin}/`);
  await groups.waitForFunction(() => document.getElementById("state").textContent === "ready");
  await Promise.all(Array.from({ length: 8 }, () => post(grouped, "/v1/completions", '{"prompt":"trace:3","max_tokens":60}')));
  await groups.waitForFunction(() => document.querySelectorAll("#decisions tbody tr").length === 8);
  const placed = await groups.$$eval("#decisions tbody tr", (rows) => rows.map((r) => [r.children[0].textContent, r.children[1].textContent]));
  check((await groups.$eval("#decisions thead", (e) => e.textContent)).startsWith("workerhomereason"), "no column tells the home");
  check(placed.every(([rank, home]) => rank === `plain / ${home}`), `homes: ${placed}`);
  check(new Set(placed.map(([, home]) => home)).size > 1, `all in one home: ${placed}`);
  for (const problem of await groups.evaluate(unreadable, ["main", 60])) check(false, `groups: ${problem}`);
  if (pictures) writeFileSync(join(pictures, "dashboard-groups.png"), await groups.screenshot({ fullPage: true }));
  await groups.close();
  check(foreign.length === 0, `asks others: ${foreign}`);
  page.removeAllListeners("console");  // that nobody answers is what comes now
  gateway.kill("SIGTERM");
  await page.waitForFunction(() => /no answer|draining/.test(document.getElementById("state").textContent));
} finally {
  await browser?.close();
  for (const child of running) {
    child.removeAllListeners("exit");
    child.kill("SIGKILL");
  }
  rmSync(folder, { recursive: true, force: true });
}
for (const failure of failures.slice(0, 40)) console.error(failure);
if (failures.length > 0) process.exit(1);
console.log("the dashboard shows what the gateway counts");
process.exit(0);
