// The pages of `profile --html`, `simulate --html`, `plan --html` and `moesaic-mpi replay --html` in a real browser: they
// open from disk without network or errors, every chart is drawn and has units, every control is reached by the keyboard, text is
// readable in both themes.
// usage: node page_test.mjs PROGRAM SOURCE_FOLDER [MOESAIC_MPI]    (exit 77: playwright-core or chromium is missing; no
// page of a replay where there is no moesaic-mpi)
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unreadable } from "./readable.mjs";

const [program, source, mpi] = process.argv.slice(2);
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

const kMaxBytes = 3e6;
const failures = [];
const check = (holds, what) => holds || failures.push(what);

/** 94 layers x 128 experts, 20 domains with hostile names: the largest page that is promised to be small. */
function writeBigTrace(folder) {
  const [layers, experts, k, domains, perDomain, length] = [94, 128, 8, 20, 6, 24];
  const requests = [];
  const tokens = domains * perDomain * length;
  const bytes = new Uint8Array(tokens * layers * k);
  let state = 1n;
  const random = (n) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number(state >> 33n) % n;
  };
  for (let r = 0, at = 0; r < domains * perDomain; ++r) {
    const domain = r % domains;
    requests.push({ start: r * length, n: length, prefill: 8, domain: `d${domain} </script><img src=x onerror=alert(1)> & "é"` });
    for (let t = 0; t < length * layers; ++t) {
      const first = (domain * 6 + random(24)) % experts;
      for (let i = 0; i < k; ++i) bytes[at++] = (first + i * (1 + random(3) * 0) + i * 5) % experts;
    }
  }
  mkdirSync(folder);
  writeFileSync(join(folder, "index.json"), JSON.stringify({
    model: "big </script> model", shape: [tokens, layers, k], axes: ["token", "layer", "k"], dtype: "uint8", experts, top_k: k, requests,
  }));
  writeFileSync(join(folder, "experts.u8.bin"), bytes);
}

/** Runs in the page: problems of what is drawn, in words. */
function inspect() {
  const problems = [];
  for (const figure of document.querySelectorAll("figure")) {
    const title = figure.querySelector("h3").textContent;
    const plot = figure.querySelector(".plot");
    if (plot) {
      const texts = [...plot.querySelectorAll("svg text")].map((t) => t.textContent);
      for (const axis of [plot.dataset.x, plot.dataset.y])
        if (!texts.includes(axis)) problems.push(`${title}: no axis title "${axis}"`);
      if (!/\(.+\)$/.test(plot.dataset.y)) problems.push(`${title}: its y axis has no unit`);
      if (plot.querySelectorAll("svg path").length < 4) problems.push(`${title}: nothing is drawn`);
      const boxes = [...plot.querySelectorAll("svg text")].filter((t) => !/matrix\(0\.[0-8]/.test(t.getAttribute("transform") ?? ""))
        .map((t) => [t.textContent, t.getBoundingClientRect()]);
      boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
        if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3)
          problems.push(`${title}: "${a}" lies over "${b}"`);
      }));
    }
    const cells = figure.querySelector(".cells");
    if (cells) {
      const unit = figure.querySelector(".heat-legend .unit").textContent;
      if (unit !== cells.dataset.unit || !/\(.+\)$/.test(unit)) problems.push(`${title}: its colours have no unit`);
      for (const part of [".row-title", ".column-title"])
        if (!figure.querySelector(part).textContent) problems.push(`${title}: ${part} is empty`);
      const canvas = cells.querySelector("canvas");
      const data = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
      if (new Set(data).size < 2) problems.push(`${title}: all cells have one colour`);
      for (const box of figure.querySelectorAll(".row-labels, .column-labels:not(.slanted)")) {
        const labels = [...box.children].map((l) => l.getBoundingClientRect());
        if (labels.length === 0) problems.push(`${title}: an axis has no labels`);
        for (let i = 1; i < labels.length; ++i) {
          const [p, q] = [labels[i - 1], labels[i]];
          if (p.right > q.left + 0.5 && p.bottom > q.top + 2.5) problems.push(`${title}: labels overlap`);
        }
      }
    }
    if (!plot && !cells && figure.querySelectorAll("tbody tr").length === 0) problems.push(`${title}: an empty table`);
  }
  return [...new Set(problems)];
}

/** Every control that is visible, marked; returns how many. */
function markControls() {
  const all = [...document.querySelectorAll("a[href], button, select, summary, [tabindex='0']")]
    .filter((e) => e.checkVisibility({ checkVisibilityCSS: true }));
  all.forEach((e, i) => (e.dataset.control = String(i)));
  addEventListener("focusin", (event) => (event.target.dataset.reached = "yes"));
  return all.length;
}

async function keyboard(page, name) {
  const count = await page.evaluate(markControls);
  check(count > 20, `${name}: only ${count} controls`);
  for (let i = 0; i < count; ++i) await page.keyboard.press("Tab");
  const missed = await page.$$eval("[data-control]:not([data-reached])", (all) => all.map((e) => e.outerHTML.slice(0, 80)));
  check(missed.length === 0, `${name}: Tab does not reach ${missed.length} controls: ${missed.slice(0, 3).join("; ")}`);
  for (const kind of [".cells", ".plot"]) {
    await page.focus(kind);
    const said = () => page.$eval(kind, (e) => e.closest("figure").querySelector(".readout").textContent);
    const before = await said();
    await page.keyboard.press("ArrowRight");
    const after = await said();
    check(after !== before && /\d/.test(after), `${name}: arrow keys on ${kind} say "${after}"`);
  }
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme + getComputedStyle(document.body).backgroundColor);
  const before = await theme();
  await page.focus(".theme");
  await page.keyboard.press("Enter");
  check((await theme()) !== before, `${name}: the theme switch does nothing`);
  await page.keyboard.press("Enter");
}

const folder = mkdtempSync(join(tmpdir(), "moesaic-page-"));
const moesaic = (...args) => execFileSync(program, args, { stdio: ["ignore", "pipe", "pipe"] });
let browser;
try {
  writeBigTrace(join(folder, "big"));
  // The sample with fewer requests, to be compared with the whole.
  cpSync(join(source, "samples/moesaic-mini"), join(folder, "part"), { recursive: true });
  const index = JSON.parse(readFileSync(join(folder, "part/index.json"), "utf8"));
  index.requests = index.requests.slice(0, 60);
  writeFileSync(join(folder, "part/index.json"), JSON.stringify(index));
  moesaic("import", join(folder, "part"), "-o", join(folder, "part.zarr"));
  const pages = [["small", join(source, "samples/moesaic-mini")], ["big", join(folder, "big")], ["compared", null],
    ["simulated", null], ["simulated-loads", null], ["planned", null], ["changed", null], ["swept", null]];
  // The sample cluster, smaller: at one load bars by policy, at several lines over loads.
  const cluster = readFileSync(join(source, "samples/clusters/moesaic-mini-4d.yaml"), "utf8")
    .replace("seeds: 10", "seeds: 2").replace("measure: 10s", "measure: 5s");
  writeFileSync(join(folder, "simulated.yaml"), cluster);
  writeFileSync(join(folder, "simulated-loads.yaml"), cluster.replace("running: [6]", "loads: [0.8, 0.2, 0.5]"));
  if (mpi && existsSync(mpi)) pages.push(["replayed", null]);
  else console.log("no moesaic-mpi: no page of a replay");
  const planned = {
    planned: ["--robust", "domains", "-o", join(folder, "p.json")],
    changed: ["--domains", "math,en", "--from", join(folder, "p.json"), "--max-moves", "8", "-o", join(folder, "q.json")],
    swept: ["--sweep", "--sweep-slots", "0,8,16", "--sweep-imbalance", "1.1,1.3", "--time", "--batch", "16"],
  };
  browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox", "--disable-gpu"] });
  for (const [name, trace] of pages) {
    const [store, file] = [join(folder, `${name}.zarr`), join(folder, `${name}.html`)];
    if (trace) {
      moesaic("import", trace, "-o", store);
      moesaic("profile", store, "--html", file);
    } else if (name.startsWith("simulated")) {
      moesaic("simulate", join(folder, `${name}.yaml`), "--trace", join(folder, "small.zarr"), "--html", file);
    } else if (name === "replayed") {
      const plan = join(folder, "plan.json");
      moesaic("plan", join(folder, "small.zarr"), "--nodes", "2", "--gpus-per-node", "2", "-o", plan);
      execFileSync("mpirun", ["-q", "-n", "4", "--oversubscribe", mpi, "replay", plan, join(folder, "small.zarr"),
        "--hidden", "32", "--intermediate", "16", "--limit", "8", "--html", file],
        { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" } });
    } else if (planned[name]) {
      moesaic("plan", join(folder, "small.zarr"), "--nodes", "2", "--gpus-per-node", "2", ...planned[name], "--html", file);
    } else {
      moesaic("profile", "--compare", join(folder, "small.zarr"), join(folder, "part.zarr"), "--html", file);
    }
    const bytes = statSync(file).size;
    console.log(`${name}: ${bytes} bytes`);
    check(bytes <= kMaxBytes, `${name}: ${bytes} bytes, allowed ${kMaxBytes}`);
    const [wide, narrow] = [["light", 1280], ["dark", 800]];
    const looks = { small: [wide, narrow], big: [wide], compared: [narrow], simulated: [wide], "simulated-loads": [narrow],
      replayed: [wide, narrow],
      planned: [wide, narrow], changed: [narrow], swept: [narrow] };
    for (const [theme, width] of looks[name]) {
      const where = `${name}, ${theme}, ${width} px`;
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: theme });
      page.on("console", (m) => check(false, `${where}: the console says "${m.text()}"`));
      page.on("pageerror", (e) => check(false, `${where}: ${e.message}`));
      page.on("dialog", (d) => (check(false, `${where}: foreign text ran as a script`), d.dismiss()));
      let requests = 0;
      page.on("request", (r) => r.url().startsWith("data:") || ++requests);
      await page.goto(`file://${file}`);
      await page.waitForFunction(() => [...document.querySelectorAll(".row-labels")].every((l) => l.children.length > 0));
      for (const problem of [...(await page.evaluate(inspect)), ...(await page.evaluate(unreadable, ["#page", 100]))])
        check(false, `${where}: ${problem}`);
      if (theme === "dark") {
        await page.emulateMedia({ media: "print" });
        const paper = page.waitForFunction(() => document.documentElement.dataset.theme === "light", null, { timeout: 5000 });
        check(await paper.catch(() => false), `${where}: prints dark`);
        await page.emulateMedia({ media: "screen" });
      } else if (name === "small" || name === "replayed") {  // the big page has the same controls, each slower
        await keyboard(page, where);
      }
      check(requests === 1, `${where}: ${requests} requests, expected the page alone`);
      await page.close();
    }
  }
} finally {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
}
for (const failure of failures.slice(0, 40)) console.error(failure);
if (failures.length > 0) process.exit(1);
console.log("pages are whole, readable and reachable");
