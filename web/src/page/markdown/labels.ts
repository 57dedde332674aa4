/** What a shown answer says beside the model's own words. */
import type { Source } from "../../chat/types.ts";
import type { Words } from "../i18n/words.ts";

export type Labels = Words["markdown"];

/** What is cited, as far as a citation names it. */
export type Cited = Pick<Source, "name" | "page">;

/** The name of the citation [number]. */
export function citationLabel(labels: Labels, sources: readonly Cited[], number: number): string {
  const source = sources[number - 1];
  if (source === undefined) {
    return "";
  }
  return source.page > 0
    ? labels.sourceOnPage(number, source.name, source.page)
    : labels.source(number, source.name);
}
