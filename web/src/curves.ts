// Lines and bars, drawn by ECharts as SVG: sharp on paper, and its text is text.
import { BarChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import type { ECharts } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { element } from "./dom";
import { axisTitle, short } from "./model";
import type { Axis, Curves } from "./model";
import { colours, onTheme } from "./theme";

use([BarChart, LineChart, GridComponent, LegendComponent, TooltipComponent, SVGRenderer]);

const kHeight = 300;
const kFont = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";

function place(chart: Curves, index: number): string {
  const label = chart.x.labels[index];
  return label ?? short(chart.at[index]!);
}

function readout(chart: Curves, index: number, hidden: Set<string>): string[] {
  const lines = [`${axisTitle(chart.x)}: ${place(chart, index)}`];
  for (const series of chart.series) {
    const value = series.y[index];
    if (!hidden.has(series.name) && value !== null && value !== undefined)
      lines.push(`${series.name}: ${short(value)}${chart.y.unit ? ` ${chart.y.unit}` : ""}`);
  }
  return lines;
}

function options(chart: Curves, width: number): Record<string, unknown> {
  const c = colours();
  const text = { color: c.muted, fontFamily: kFont, fontSize: 12 };
  const axis = (a: Axis, horizontal: boolean): object => ({
    name: axisTitle(a),
    nameLocation: "middle",
    nameGap: horizontal ? 32 : 46,
    nameTextStyle: text,
    axisLabel: { ...text, hideOverlap: true, formatter: (v: number | string) => (typeof v === "number" ? short(v) : v) },
    axisLine: { show: horizontal, lineStyle: { color: c.muted } },
    axisTick: { show: horizontal, lineStyle: { color: c.muted } },
    splitLine: { show: !horizontal, lineStyle: { color: c.line } },
  });
  const categories = chart.x.labels.length > 0 || chart.bars;
  const longest = Math.max(0, ...chart.x.labels.map((l) => l.length));
  const crowded = longest * 7 * chart.x.labels.length > width - 80;
  const x = categories
    ? {
        ...axis(chart.x, true),
        type: "category",
        data: chart.at.map((_, i) => place(chart, i)),
        boundaryGap: chart.bars,
        ...(crowded && longest > 6
          ? { nameGap: Math.min(110, longest * 6 + 22), axisLabel: { ...text, rotate: 40, width: 110, overflow: "truncate", hideOverlap: true } }
          : {}),
      }
    : { ...axis(chart.x, true), type: chart.x.log ? "log" : "value", logBase: 2, min: "dataMin", max: "dataMax" };
  return {
    animation: false,
    textStyle: { fontFamily: kFont },
    grid: { left: 66, right: 22, top: 14, bottom: crowded && longest > 6 ? Math.min(132, longest * 6 + 44) : 52 },
    legend: { show: false },
    tooltip: {
      trigger: "axis",
      confine: true,
      backgroundColor: c.surface,
      borderColor: c.muted,
      textStyle: { color: c.ink, fontFamily: kFont, fontSize: 13 },
      formatter: (points: { dataIndex: number }[]) => {
        const index = points[0]?.dataIndex ?? 0;
        return element("div", {}, ...readout(chart, index, new Set()).map((l) => element("div", {}, l)));
      },
    },
    xAxis: x,
    yAxis: {
      ...axis(chart.y, false),
      type: chart.y.log ? "log" : "value",
      ...(chart.from_zero || chart.y.log ? {} : { scale: true }),
    },
    series: chart.series.map((s, i) => {
      const colour = s.reference ? c.muted : c.series[i % c.series.length];
      return {
        name: s.name,
        type: chart.bars ? "bar" : "line",
        data: categories ? s.y : s.y.map((y, j) => [chart.at[j], y]),
        color: colour,
        barMaxWidth: 36,
        symbol: s.reference || chart.at.length > 40 ? "none" : "circle",
        symbolSize: 6,
        lineStyle: { color: colour, width: 2, type: s.reference ? "dashed" : "solid" },
        itemStyle: { color: colour },
        emphasis: { disabled: true },
      };
    }),
  };
}

/** A button a series, to hide and show it; only where there are several. */
function legend(chart: Curves, hidden: Set<string>, draw: ECharts): HTMLElement {
  const out = element("div", { class: "legend" });
  chart.series.forEach((series, i) => {
    const mark = element("span", { class: series.reference ? "mark dashed" : "mark" });
    const paint = (): void => {
      const c = colours();
      mark.style.color = series.reference ? c.muted : c.series[i % c.series.length]!;
    };
    paint();
    onTheme(paint);
    const button = element("button", { type: "button", "aria-pressed": "true" }, mark, series.name);
    button.addEventListener("click", () => {
      if (hidden.has(series.name)) hidden.delete(series.name);
      else hidden.add(series.name);
      button.setAttribute("aria-pressed", String(!hidden.has(series.name)));
      draw.dispatchAction({ type: "legendToggleSelect", name: series.name });
    });
    out.append(button);
  });
  return out;
}

function numbers(chart: Curves): HTMLElement {
  const head = element("tr", {}, element("th", { scope: "col" }, axisTitle(chart.x)));
  for (const s of chart.series) head.append(element("th", { scope: "col" }, s.name));
  const body = element("tbody");
  chart.at.forEach((_, i) => {
    const row = element("tr", {}, element("th", { scope: "row" }, place(chart, i)));
    for (const s of chart.series) row.append(element("td", { class: "number" }, short(s.y[i] ?? NaN)));
    body.append(row);
  });
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Numbers of: ${chart.title}` },
    element("table", {}, element("thead", {}, head), body));
  return element("details", { class: "numbers" }, element("summary", {}, "Numbers"), scroll);
}

export function drawCurves(chart: Curves, into: HTMLElement): void {
  const hidden = new Set<string>();
  const plot = element("div", {
    class: "plot", tabindex: "0", role: "img",
    "aria-label": `${chart.title}. ${axisTitle(chart.y)} over ${axisTitle(chart.x)}. Arrow keys read the values.`,
    "data-x": axisTitle(chart.x), "data-y": axisTitle(chart.y),
  });
  const said = element("p", { class: "readout", "aria-live": "polite" });
  plot.style.height = `${kHeight}px`;
  into.append(plot);
  const draw = init(plot, null, { renderer: "svg", height: kHeight, width: Math.max(260, plot.clientWidth) });
  const redraw = (): void => draw.setOption(options(chart, plot.clientWidth || 500));
  redraw();
  onTheme(redraw);
  if (chart.series.length > 1) plot.before(legend(chart, hidden, draw));
  into.append(said, numbers(chart));
  let at = -1;
  plot.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    at = Math.min(chart.at.length - 1, Math.max(0, at + step));
    draw.dispatchAction({ type: "showTip", seriesIndex: 0, dataIndex: at });
    said.textContent = readout(chart, at, hidden).join("; ");
  });
  plot.addEventListener("blur", () => draw.dispatchAction({ type: "hideTip" }));
  new ResizeObserver(() => {
    if (plot.clientWidth === 0) return;
    draw.resize({ width: plot.clientWidth, height: kHeight });
    redraw();
  }).observe(plot);
}
