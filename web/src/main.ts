// Builds the page out of its data.
import { drawCurves } from "./curves";
import { element, freshId } from "./dom";
import { drawHeatMap } from "./heatmap";
import type { DataTable, Item, Page } from "./model";
import "./page.css";
import { onTheme, startTheme, themeName, toggleTheme } from "./theme";

/** A number stays on one line with its sign. */
function unbroken(text: string): string {
  return text.replace(/ (?=[%×])/g, "\u00a0");
}

function drawTable(table: DataTable, into: HTMLElement): void {
  const isNumber = table.headers.map((_, c) => table.rows.every((row) => /^[-+]?[\d.,]*$/.test(row[c] ?? "")));
  const head = element("tr");
  table.headers.forEach((h, c) => head.append(element("th", { scope: "col", class: isNumber[c] ? "number" : "" }, h.replace("\n", " "))));
  const body = element("tbody");
  for (const row of table.rows) {
    const line = element("tr");
    row.forEach((cell, c) => line.append(element("td", isNumber[c] ? { class: "number" } : {}, cell)));
    body.append(line);
  }
  into.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": table.title },
    element("table", {}, element("thead", {}, head), body)));
}

function isWide(item: Item): boolean {
  if (item.kind === "curves") return item.at.length > 48 || (item.bars && item.at.length > 14);
  if (item.kind === "heat_map") return item.row_count !== item.column_count || item.row_count > 24;
  return item.headers.length > 5 || (item.headers.length > 4 && item.rows.length > 20);
}

function figure(item: Item): { box: HTMLElement; draw: () => void } {
  const id = freshId("item");
  const box = element("figure", { class: isWide(item) ? "wide" : "", "aria-labelledby": id, "data-kind": item.kind },
    element("figcaption", {}, element("h3", { id }, item.title)));
  if (item.note) box.append(element("p", { class: "note" }, item.note));
  const draw = (): void => {
    if (item.kind === "curves") drawCurves(item, box);
    else if (item.kind === "heat_map") drawHeatMap(item, box);
    else drawTable(item, box);
  };
  return { box, draw };
}

function themeSwitch(): HTMLElement {
  const button = element("button", { type: "button", class: "theme" });
  const name = (): void => {
    button.textContent = themeName() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${themeName() === "dark" ? "light" : "dark"} colours`);
  };
  name();
  onTheme(name);
  button.addEventListener("click", toggleTheme);
  return button;
}

function build(page: Page, root: HTMLElement): void {
  document.title = page.title;
  const nav = element("nav", { "aria-label": "Sections" });
  const main = element("main", { id: "main" });
  const facts = element("dl", { class: "facts" });
  for (const fact of page.facts)
    facts.append(element("div", {}, element("dt", {}, fact.name), element("dd", {}, fact.value)));
  root.append(
    element("a", { class: "skip", href: "#main" }, "Skip to the content"),
    element("header", {}, element("div", { class: "head" },
      element("div", {}, element("h1", {}, page.title), element("p", { class: "subtitle" }, page.subtitle)), themeSwitch()), facts),
    nav, main);
  const drawings: (() => void)[] = [];
  const section = (title: string): HTMLElement => {
    const id = freshId("section");
    nav.append(element("a", { href: `#${id}` }, title));
    const out = element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title));
    main.append(out);
    return out;
  };
  if (page.summary.length > 0) {
    const list = element("div", { class: "findings" });
    for (const finding of page.summary) {
      const title = element("h3", {}, finding.title);
      if (finding.verdict) title.append(" ", element("span", { class: `verdict ${finding.mood}` }, finding.verdict));
      list.append(element("article", {}, title, element("p", {}, unbroken(finding.text))));
    }
    section("In plain words").append(list);
  }
  for (const part of page.sections) {
    const box = section(part.title);
    for (const text of part.paragraphs) box.append(element("p", {}, unbroken(text)));
    const grid = element("div", { class: "items" });
    for (const item of part.items) {
      const { box: drawn, draw } = figure(item);
      grid.append(drawn);
      drawings.push(draw);
    }
    box.append(grid);
  }
  if (page.notes.length > 0) {
    const list = element("ul");
    for (const note of page.notes) list.append(element("li", {}, note));
    section("What the data cannot tell").append(list);
  }
  root.append(element("footer", {}, "Made by Moesaic. Curves are drawn with Apache ECharts (Apache-2.0) on zrender (BSD-3-Clause)."));
  // After everything has its place, so that charts know their width.
  for (const draw of drawings) draw();
}

startTheme();
build(JSON.parse(document.getElementById("page-data")!.textContent!) as Page, document.getElementById("page")!);
