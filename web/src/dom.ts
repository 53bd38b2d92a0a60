// Elements from code. Text is always set as text: names in the data come from foreign files.

type Children = (Node | string)[];

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Children
): HTMLElementTagNameMap[K] {
  const out = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) out.setAttribute(name, value);
  out.append(...children);
  return out;
}

let ids = 0;
export function freshId(prefix: string): string {
  return `${prefix}-${++ids}`;
}
