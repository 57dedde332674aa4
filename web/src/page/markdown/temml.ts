/** temml, as far as a model may use it. Loaded at the first formula, with the looks of its classes. */
import temml from "temml";

import "./formula.css";

/** MathML as text, to be sanitized; null: the source is no TeX that temml knows. */
export function toMathMl(source: string, isDisplay: boolean): string | null {
  try {
    return temml.renderToString(source, {
      displayMode: isDisplay,
      throwOnError: true,
      // No \href, \includegraphics, \class, \id, \style.
      trust: false,
      strict: false,
      // A macro that doubles itself ends here; real formulas expand a few dozen.
      maxExpand: 300,
      // No rule or space is larger than this, in em and in points.
      maxSize: [30, 300],
      macros: {},
      colorIsTextColor: true,
    });
  } catch {
    return null;
  }
}
