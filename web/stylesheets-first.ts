/**
 * The page shows before any script has come (index.html): so its styles are asked for before its
 * scripts, which are ten times as large and would share the line with them. Vite writes them last.
 */
import type { Plugin } from "vite";

const STYLESHEET = /[ \t]*<link rel="stylesheet"[^>]*>\n?/g;

/** The same page with its stylesheets before its first script or module. */
export function withStylesheetsFirst(html: string): string {
  const links = html.match(STYLESHEET)?.join("") ?? "";
  const rest = html.replace(STYLESHEET, "");
  const at = /[ \t]*<(?:script|link rel="modulepreload")/.exec(rest)?.index;
  if (links === "" || at === undefined) {
    return html;
  }
  return rest.slice(0, at) + (links.endsWith("\n") ? links : `${links}\n`) + rest.slice(at);
}

export function stylesheetsFirst(): Plugin {
  return {
    name: "transom-stylesheets-first",
    apply: "build",
    transformIndexHtml: { order: "post", handler: withStylesheetsFirst },
  };
}
