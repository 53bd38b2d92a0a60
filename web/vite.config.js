// One self-contained file: scripts and styles go into index.html.
import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

/** What the licences of the code in the page ask to go with it. */
function notices() {
  const files = ["echarts/NOTICE", "zrender/LICENSE", "tslib/LICENSE.txt"];
  const text = files.map((file) => readFileSync(`node_modules/${file}`, "utf8").trim());
  const apache = "Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0";
  return `\n<!--\nThis page contains Apache ECharts, zrender and tslib.\n\n${[text[0], apache, ...text.slice(1)]
    .join("\n\n")
    .replaceAll("--", "- -")}\n-->\n`;
}

const inline = {
  name: "inline",
  enforce: "post",
  generateBundle(_, bundle) {
    const html = bundle["index.html"];
    for (const [name, file] of Object.entries(bundle)) {
      if (name === "index.html") continue;
      const isScript = name.endsWith(".js");
      const text = isScript ? file.code.replaceAll("</script", "<\\/script") : file.source;
      const tag = isScript
        ? new RegExp(`<script[^>]*src="[^"]*${name}"[^>]*></script>`)
        : new RegExp(`<link[^>]*href="[^"]*${name}"[^>]*>`);
      const replacement = isScript ? `<script type="module">${text}</script>` : `<style>${text}</style>`;
      if (!tag.test(html.source)) throw new Error(`index.html does not refer to ${name}`);
      html.source = html.source.replace(tag, () => "");
      // Scripts run after the data that they read.
      const at = isScript ? "</body>" : "</head>";
      html.source = html.source.replace(at, () => replacement + at);
      delete bundle[name];
    }
    html.source += notices();
  },
};

export default defineConfig({
  build: { target: "es2022", modulePreload: false, assetsInlineLimit: 1 << 20, cssCodeSplit: false },
  plugins: [inline],
});
