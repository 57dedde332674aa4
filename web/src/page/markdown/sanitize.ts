/**
 * The one door of a model's output into the page: DOMPurify with an allow-list of what html.ts, temml
 * and highlight.js write. What is not on it is shown as its text.
 *
 * No `style`, no `id`, no class but ours, no `data:`; images and forms are not on the list.
 */
import DOMPurify, { type Config, type DOMPurify as Purifier } from "dompurify";

/** temml's styles on their way through DOMPurify; formula.ts applies them (CSP: no style attribute). */
export const FORMULA_STYLE = "data-md-style";

const MARKDOWN_TAGS = [
  ...["p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code"],
  ...["strong", "em", "del", "a", "span", "table", "thead", "tbody", "tr", "th", "td"],
];
const SHARED: Config = {
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOW_UNKNOWN_PROTOCOLS: false,
  RETURN_DOM_FRAGMENT: true,
};
const MARKDOWN: Config = {
  ...SHARED,
  ALLOWED_TAGS: MARKDOWN_TAGS,
  ALLOWED_ATTR: ["href", "title", "start", "dir", "class", "scope"],
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  // Everything else is held to be an address.
  ADD_URI_SAFE_ATTR: ["title", "start", "dir", "class", "scope"],
};
const COLOURS: Config = { ...SHARED, ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"] };
const FORMULA: Config = {
  ...SHARED,
  USE_PROFILES: { mathMl: true },
  FORBID_TAGS: ["semantics", "annotation", "annotation-xml", "maction", "mglyph", "malignmark"],
  FORBID_ATTR: ["style", "href", "xlink:href", "actiontype", "id"],
  ADD_ATTR: [FORMULA_STYLE],
  ADD_URI_SAFE_ATTR: [FORMULA_STYLE],
};

export function sanitizeMarkdown(html: string): DocumentFragment {
  return markdownPurifier().sanitize(html, MARKDOWN) as unknown as DocumentFragment;
}

/** What highlight.js made of code. */
export function sanitizeColours(html: string): DocumentFragment {
  return coloursPurifier().sanitize(html, COLOURS) as unknown as DocumentFragment;
}

/** What temml made of a formula. */
export function sanitizeFormula(mathml: string): DocumentFragment {
  return formulaPurifier().sanitize(mathml, FORMULA) as unknown as DocumentFragment;
}

// An instance each: it reads its settings once, and its hooks are its own.
const markdownPurifier = once(() => {
  const purifier = withClasses(/^md-[a-z0-9-]+$/);
  purifier.addHook("afterSanitizeAttributes", (node) => {
    if (node.nodeName === "A") {
      node.setAttribute("target", "_blank");
      node.setAttribute("rel", "noopener noreferrer nofollow");
    }
  });
  return purifier;
});
const coloursPurifier = once(() => withClasses(/^hljs-[a-z_-]+$|^[a-z]+_$/));
const formulaPurifier = once(() => withClasses(/^[a-z][a-z0-9-]{0,30}$/));

function withClasses(ours: RegExp): Purifier {
  const purifier = DOMPurify(window);
  purifier.addHook("uponSanitizeAttribute", (_node, data) => {
    if (data.attrName === "class") {
      data.attrValue = data.attrValue
        .split(/\s+/)
        .filter((name) => ours.test(name))
        .join(" ");
      data.keepAttr = data.attrValue !== "";
    }
  });
  return purifier;
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
