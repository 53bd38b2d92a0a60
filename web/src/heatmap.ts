// A heat map: one canvas pixel a cell, scaled by the browser; labels, scale and cursor are elements around it.
import { element, freshId } from "./dom";
import { axisTitle, decode, short } from "./model";
import type { Axis, HeatMap, View } from "./model";
import { colours, onTheme, ramp } from "./theme";

function labelOf(axis: Axis, index: number): string {
  return axis.labels[index] ?? String(index);
}

/** The value at the upper end of the scale; of ratios the lower end is one over it. */
function topOf(view: View): number {
  return view.scale === "unit" ? 1 : view.scale === "ratio" ? Math.max(8, view.largest) : view.largest;
}

/** Where a value lies on its scale, 0..1. */
function position(view: View, value: number): number {
  if (view.scale === "unit") return value;
  if (view.scale === "sequential") return view.largest > 0 ? value / view.largest : 0;
  const reach = Math.log2(topOf(view));
  return value <= 0 ? 0 : 0.5 + Math.log2(value) / reach / 2;
}

function stops(view: View): string[] {
  return view.scale === "ratio" ? colours().ratio : colours().sequential;
}

function paint(canvas: HTMLCanvasElement, map: HeatMap, view: View, values: Float64Array): void {
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(map.column_count, map.row_count);
  const nothing = ramp([colours().nothing, colours().nothing], 0);
  values.forEach((value, i) => {
    const [r, g, b] = Number.isNaN(value) ? nothing : ramp(stops(view), position(view, value));
    image.data.set([r, g, b, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}

/** Labels of an axis, so many that they do not touch. */
function placeLabels(box: HTMLElement, axis: Axis, count: number, vertical: boolean): void {
  box.replaceChildren();
  const size = vertical ? box.clientHeight : box.clientWidth;
  const longest = Math.max(...Array.from({ length: count }, (_, i) => labelOf(axis, i).length));
  const slanted = !vertical && longest > 4;
  const wanted = vertical || slanted ? 16 : longest * 8 + 8;
  const every = Math.max(1, Math.ceil((wanted * count) / Math.max(1, size)));
  box.classList.toggle("slanted", slanted);
  for (let i = 0; i < count; i += every) {
    const label = element("span", { title: labelOf(axis, i) }, labelOf(axis, i));
    label.style[vertical ? "top" : "left"] = `${((i + 0.5) / count) * 100}%`;
    box.append(label);
  }
}

function legend(box: HTMLElement, view: View): void {
  const bar = element("span", { class: "ramp" });
  bar.style.background = `linear-gradient(to right, ${stops(view).join(",")})`;
  const top = topOf(view);
  const low = view.scale === "ratio" ? `≤ ${short(1 / top)}` : "0";
  const middle = view.scale === "ratio" ? "1" : short(top / 2);
  box.replaceChildren(
    element("span", { class: "unit" }, axisTitle({ name: view.value, unit: view.unit })),
    element("span", { class: "scale" }, bar,
      element("span", { class: "ticks" }, element("span", {}, low), element("span", {}, middle), element("span", {}, short(top)))));
}

export function drawHeatMap(map: HeatMap, into: HTMLElement): void {
  let view = map.views[0]!;
  let values = decode(view);
  let row = 0;
  let column = 0;
  const canvas = element("canvas", { width: String(map.column_count), height: String(map.row_count) });
  const cursor = element("div", { class: "cursor" });
  const cells = element("div", { class: "cells", tabindex: "0", role: "img" }, canvas, cursor);
  const rows = element("div", { class: "row-labels", "aria-hidden": "true" });
  const columns = element("div", { class: "column-labels", "aria-hidden": "true" });
  const said = element("p", { class: "readout", "aria-live": "polite" }, "Point at a cell, or use the arrow keys.");
  const scale = element("div", { class: "heat-legend" });
  const grid = element("div", { class: "heat" },
    element("div", { class: "row-title" }, element("span", {}, axisTitle(map.rows))), rows, cells,
    columns, element("div", { class: "column-title" }, axisTitle(map.columns)));
  const widest = Math.max(...Array.from({ length: map.row_count }, (_, i) => labelOf(map.rows, i).length));
  const longest = Math.max(...Array.from({ length: map.column_count }, (_, i) => labelOf(map.columns, i).length));
  grid.style.setProperty("--row-labels", `${Math.min(150, widest * 7 + 10)}px`);
  grid.style.setProperty("--column-labels", longest > 4 ? `${Math.min(100, longest * 5 + 16)}px` : "18px");
  // Cells of a square table are square; others at least 5 px high.
  const square = map.row_count === map.column_count;
  cells.style.aspectRatio = square ? "1" : "auto";
  if (!square) cells.style.height = `${Math.min(620, Math.max(160, map.row_count * 14))}px`;
  if (square) grid.style.maxWidth = `${Math.max(360, Math.min(620, map.row_count * 34 + 190))}px`;

  const describe = (): void => {
    cells.setAttribute("aria-label",
      `${map.title}. ${axisTitle({ name: view.value, unit: view.unit })} by ${axisTitle(map.rows)} and ${axisTitle(map.columns)}. Arrow keys read the cells.`);
    cells.dataset["unit"] = axisTitle({ name: view.value, unit: view.unit });
  };
  const repaint = (): void => {
    paint(canvas, map, view, values);
    legend(scale, view);
    describe();
  };
  const show = (): void => {
    const value = values[row * map.column_count + column]!;
    const unit = view.unit && !Number.isNaN(value) ? ` ${view.unit}` : "";
    said.textContent = `${map.rows.name} ${labelOf(map.rows, row)}, ${map.columns.name} ${labelOf(map.columns, column)}: ${short(value)}${unit}`;
    cursor.style.display = "block";
    cursor.style.left = `${(column / map.column_count) * 100}%`;
    cursor.style.top = `${(row / map.row_count) * 100}%`;
    cursor.style.width = `${100 / map.column_count}%`;
    cursor.style.height = `${100 / map.row_count}%`;
  };
  cells.addEventListener("pointermove", (event) => {
    const box = cells.getBoundingClientRect();
    column = Math.min(map.column_count - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * map.column_count)));
    row = Math.min(map.row_count - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * map.row_count)));
    show();
  });
  cells.addEventListener("keydown", (event) => {
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [0, 0];
    if (!down && !right) return;
    event.preventDefault();
    row = Math.min(map.row_count - 1, Math.max(0, row + down!));
    column = Math.min(map.column_count - 1, Math.max(0, column + right!));
    show();
  });
  cells.addEventListener("focus", show);
  if (map.views.length > 1) {
    const id = freshId("view");
    const select = element("select", { id });
    map.views.forEach((v, i) => select.append(element("option", { value: String(i) }, v.name)));
    select.addEventListener("change", () => {
      view = map.views[Number(select.value)]!;
      values = decode(view);
      repaint();
      if (cursor.style.display === "block") show();
    });
    into.append(element("div", { class: "choice" }, element("label", { for: id }, "Show"), select));
  }
  into.append(grid, scale, said);
  repaint();
  onTheme(repaint);
  new ResizeObserver(() => {
    placeLabels(rows, map.rows, map.row_count, true);
    placeLabels(columns, map.columns, map.column_count, false);
  }).observe(cells);
}
