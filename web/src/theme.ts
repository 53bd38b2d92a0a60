// Light and dark: follows the system until the reader chooses; paper is always light.

export type ThemeName = "light" | "dark";

export interface Colours {
  ink: string;
  muted: string;
  line: string;
  surface: string;
  series: string[];
  /** From the lowest value to the highest. */
  sequential: string[];
  /** From far below one, over one, to far above. */
  ratio: string[];
  nothing: string;
}

const kLight: Colours = {
  ink: "#1c2128",
  muted: "#555e68",
  line: "#d5dae0",
  surface: "#ffffff",
  series: ["#0b5fbd", "#b3450c", "#1b7a49", "#8038a6", "#8a6100", "#b0306a"],
  sequential: ["#f6f8fb", "#d3e3f3", "#9cc3e6", "#5b9bd0", "#2a72b5", "#134b8a", "#0a2a57"],
  ratio: ["#1d4f91", "#4f86bf", "#9dc0de", "#f4f4f1", "#f3b98c", "#d9722f", "#8f2f0a"],
  nothing: "#e4e4e4",
};

const kDark: Colours = {
  ink: "#e8ebef",
  muted: "#a7b0ba",
  line: "#39414b",
  surface: "#171b21",
  series: ["#6db3ff", "#ff9d5c", "#5fd097", "#d39cf0", "#e5c158", "#ff8fb8"],
  sequential: ["#1c222a", "#1d3550", "#1f5080", "#2c73b2", "#559bd8", "#97c5ee", "#e6f2fd"],
  ratio: ["#8cc4ff", "#3f7fbd", "#27486b", "#20252c", "#6f3d20", "#c9682b", "#ffb686"],
  nothing: "#2c2c2c",
};

const kKey = "moesaic-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const print = matchMedia("print");
let chosen: ThemeName | null = null;
let printing = false;
const listeners: (() => void)[] = [];

function stored(): ThemeName | null {
  try {
    const value = localStorage.getItem(kKey);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null; // a page from disk may have no storage
  }
}

export function themeName(): ThemeName {
  if (printing || print.matches) return "light";
  return chosen ?? (dark.matches ? "dark" : "light");
}

export function colours(): Colours {
  return themeName() === "dark" ? kDark : kLight;
}

function apply(): void {
  document.documentElement.dataset["theme"] = themeName();
  for (const listener of listeners) listener();
}

export function onTheme(listener: () => void): void {
  listeners.push(listener);
}

export function toggleTheme(): void {
  chosen = themeName() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(kKey, chosen);
  } catch {
    // The choice holds for this visit.
  }
  apply();
}

export function startTheme(): void {
  chosen = stored();
  dark.addEventListener("change", apply);
  print.addEventListener("change", apply);
  addEventListener("beforeprint", () => {
    printing = true;
    apply();
  });
  addEventListener("afterprint", () => {
    printing = false;
    apply();
  });
  apply();
}

function channels(hex: string): [number, number, number] {
  const n = parseInt(hex.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}

/** A colour of a ramp at 0..1, between its stops linearly. */
export function ramp(stops: string[], at: number): [number, number, number] {
  const place = Math.min(Math.max(at, 0), 1) * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  const [a, b] = [channels(stops[below]!), channels(stops[below + 1]!)];
  const part = place - below;
  return [0, 1, 2].map((i) => Math.round(a[i]! + (b[i]! - a[i]!) * part)) as [number, number, number];
}
