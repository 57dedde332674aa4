/** A built page asks for its styles before its scripts. */
import { describe, expect, it } from "vitest";

import { withStylesheetsFirst } from "../../web/stylesheets-first.ts";

const SCRIPT = '    <script type="module" src="./assets/a.js"></script>\n';
const PRELOAD = '    <link rel="modulepreload" href="./assets/b.js">\n';
const STYLE = '    <link rel="stylesheet" href="./assets/c.css">\n';

describe("a built page", () => {
  it("has its styles before its scripts, and all else as it was", () => {
    const page = `<head>\n    <title>x</title>\n${SCRIPT}${PRELOAD}${STYLE}  </head>`;
    expect(withStylesheetsFirst(page)).toBe(
      `<head>\n    <title>x</title>\n${STYLE}${SCRIPT}${PRELOAD}  </head>`,
    );
  });

  it("keeps several styles in their order", () => {
    const other = STYLE.replace("c.css", "d.css");
    expect(withStylesheetsFirst(SCRIPT + STYLE + PRELOAD + other)).toBe(
      STYLE + other + SCRIPT + PRELOAD,
    );
  });

  it("stays as it is without styles or without scripts", () => {
    expect(withStylesheetsFirst(SCRIPT)).toBe(SCRIPT);
    expect(withStylesheetsFirst(STYLE)).toBe(STYLE);
  });
});
