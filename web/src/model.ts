// The data of a page, as src/report/page.hpp writes it.

export interface Axis {
  name: string;
  unit: string;
  labels: string[];
  log: boolean;
}

export interface Series {
  name: string;
  reference: boolean;
  y: (number | null)[];
}

export interface Curves {
  kind: "curves";
  title: string;
  note: string;
  x: Axis;
  y: Axis;
  at: number[];
  bars: boolean;
  from_zero: boolean;
  series: Series[];
}

export interface View {
  name: string;
  value: string;
  unit: string;
  largest: number;
  codes: string;
  scale: "sequential" | "unit" | "ratio";
}

export interface HeatMap {
  kind: "heat_map";
  title: string;
  note: string;
  rows: Axis;
  columns: Axis;
  row_count: number;
  column_count: number;
  views: View[];
}

export interface DataTable {
  kind: "table";
  title: string;
  note: string;
  headers: string[];
  rows: string[][];
}

export type Item = Curves | HeatMap | DataTable;

export interface Page {
  title: string;
  subtitle: string;
  facts: { name: string; value: string }[];
  summary: { title: string; verdict: string; mood: "neutral" | "good" | "bad"; text: string }[];
  sections: { title: string; paragraphs: string[]; items: Item[] }[];
  notes: string[];
}

/** Values of a view; NaN where there are none. */
export function decode(view: View): Float64Array {
  const bytes = Uint8Array.from(atob(view.codes), (c) => c.charCodeAt(0));
  const out = new Float64Array(bytes.length / 2);
  for (let i = 0; i < out.length; ++i) {
    const code = bytes[2 * i]! | (bytes[2 * i + 1]! << 8);
    out[i] = code === 0xffff ? NaN : (code / 0xfffe) * view.largest;
  }
  return out;
}

/** "experts per step" or "Jensen-Shannon divergence (bits)". */
export function axisTitle(axis: { name: string; unit: string }): string {
  return axis.unit ? `${axis.name} (${axis.unit})` : axis.name;
}

/** Three significant digits, no exponent where one is not needed. */
export function short(value: number): string {
  if (Number.isNaN(value)) return "no value";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}
