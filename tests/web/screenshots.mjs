// Pictures of every section of a page, to be looked at and for the docs: light at 1280 px, dark at 800 px.
// usage: node screenshots.mjs PAGE.html FOLDER
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const [file, folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: node screenshots.mjs PAGE.html FOLDER");
  process.exit(2);
}
const kMaxBytes = 100_000;
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.MOESAIC_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
for (const [theme, width] of [["light", 1280], ["dark", 800]]) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: theme });
  await page.goto(`file://${resolve(file)}`);
  await page.addStyleTag({ content: "nav { position: static !important; }" });
  const devtools = await page.context().newCDPSession(page);
  const sections = await page.$$eval("main > section", (all) =>
    all.map((s) => ({ name: s.querySelector("h2").textContent.toLowerCase().replace(/[^a-z]+/g, "-"), box: s.getBoundingClientRect().toJSON() })));
  for (const { name, box } of sections) {
    const clip = { x: 0, y: Math.max(0, box.top - 8), width, height: box.height + 16, scale: width > 1000 ? 0.75 : 1 };
    let picture;
    for (let quality = 80; quality > 10; quality -= 15) {
      const { data } = await devtools.send("Page.captureScreenshot", { format: "webp", quality, clip, captureBeyondViewport: true });
      picture = Buffer.from(data, "base64");
      if (picture.length <= kMaxBytes) break;
    }
    writeFileSync(join(folder, `${name}-${width}-${theme}.webp`), picture);
    console.log(name, width, theme, picture.length);
  }
  await page.close();
}
await browser.close();
