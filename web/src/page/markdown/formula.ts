/**
 * Draws TeX as MathML by temml, which is loaded at the first formula. What temml refuses, and what is
 * not drawn yet, shows as its source.
 */
import { MOST_FORMULA_CHARACTERS, MOST_FORMULAS_KEPT } from "./limits.ts";
import { FORMULA_STYLE, sanitizeFormula } from "./sanitize.ts";
import type { toMathMl } from "./temml.ts";

/** Drawn ones by source, the least recently used first; null: temml refuses it. */
const drawn = new Map<string, Element | null>();
const waiting = new Set<HTMLElement>();
let temml: typeof toMathMl | null = null;
let loading: Promise<void> | null = null;

/** Draw the formula whose source stands in `mark`: now where that is possible, else as soon as it is. */
export function drawFormula(mark: HTMLElement): void {
  if (temml === null) {
    waiting.add(mark);
    loading ??= load();
    return;
  }
  const source = mark.textContent;
  const isDisplay = mark.classList.contains("md-display");
  const math = formulaOf(source, isDisplay);
  if (math !== null) {
    mark.title = source;
    mark.replaceChildren(math.cloneNode(true));
    mark.classList.add("md-drawn");
  }
}

async function load(): Promise<void> {
  try {
    ({ toMathMl: temml } = await import("./temml.ts"));
  } catch {
    // Sources it stays, until the next formula asks again.
    loading = null;
    return;
  }
  for (const mark of waiting) {
    if (!mark.classList.contains("md-drawn")) {
      drawFormula(mark);
    }
  }
  waiting.clear();
}

function formulaOf(source: string, isDisplay: boolean): Element | null {
  const key = `${isDisplay ? "d" : "i"}${source}`;
  const known = drawn.get(key);
  drawn.delete(key);
  const math = known === undefined ? draw(source, isDisplay) : known;
  drawn.set(key, math);
  if (drawn.size > MOST_FORMULAS_KEPT) {
    const [oldest = ""] = drawn.keys();
    drawn.delete(oldest);
  }
  return math;
}

function draw(source: string, isDisplay: boolean): Element | null {
  if (temml === null || source.length > MOST_FORMULA_CHARACTERS) {
    return null;
  }
  const markup = temml(source, isDisplay);
  if (markup === null) {
    return null;
  }
  // temml escapes quotes in what it was given, so this is only ever an attribute of its own.
  const fragment = sanitizeFormula(markup.replaceAll(' style="', ` ${FORMULA_STYLE}="`));
  for (const element of fragment.querySelectorAll<HTMLElement>(`[${FORMULA_STYLE}]`)) {
    applyStyle(element, element.getAttribute(FORMULA_STYLE) ?? "");
    element.removeAttribute(FORMULA_STYLE);
  }
  return fragment.firstElementChild;
}

/** What temml says by styles: colours, widths and shifts. Nothing that leaves its place or fetches. */
const STYLES = new Set([
  ...["color", "background-color", "border", "border-color", "border-top", "border-bottom"],
  ...["border-left", "border-right", "border-style", "border-width", "padding", "padding-left"],
  ...["padding-right", "padding-top", "padding-bottom", "margin", "margin-left", "margin-right"],
  ...["text-align", "text-align-last", "width", "height", "min-width", "min-height", "transform"],
  ...["font-weight", "font-style", "font-family", "font-size", "font-feature-settings"],
  ...["math-depth", "math-style", "math-shift", "vertical-align", "direction", "display"],
  ...["text-decoration", "white-space", "letter-spacing", "font-variant"],
]);

function applyStyle(element: HTMLElement, style: string): void {
  for (const declaration of style.split(";")) {
    const colon = declaration.indexOf(":");
    const name = declaration.slice(0, colon).trim();
    const value = declaration.slice(colon + 1).trim();
    // Not every browser has styles on MathML.
    if ("style" in element && STYLES.has(name) && !/url|expression|\\/i.test(value)) {
      element.style.setProperty(name, value);
    }
  }
}
