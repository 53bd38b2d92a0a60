/**
 * Runs in a page (page.evaluate): visible texts below `selector` whose contrast is under 4.5 : 1 (WCAG 2, AA), and a
 * page wider than its window. Fewer than `least` texts are a problem too: then nothing was looked at.
 */
export function unreadable([selector, least]) {
  const problems = [];
  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = channels(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let looked = 0;
  const walk = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
  for (let text = walk.nextNode(); text; text = walk.nextNode()) {
    const e = text.parentElement;
    const seen = e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
    if (!text.textContent.trim() || !seen || e.closest("option, title")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(channels(e instanceof SVGElement ? style.fill : style.color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    ++looked;
    if (ratio < 4.5) problems.push(`"${text.textContent}": contrast ${ratio.toFixed(2)}`);
  }
  if (looked < least) problems.push(`only ${looked} texts were looked at`);
  if (document.documentElement.scrollWidth > innerWidth) problems.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  return [...new Set(problems)];
}
