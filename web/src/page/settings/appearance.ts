/** The looks that somebody chose, as attributes of <html> that `tokens.css` reads. */
import type { Preferences } from "./preferences.ts";

type Looks = Pick<Preferences, "theme" | "contrast" | "textSize">;

export function showAppearance(looks: Looks, page: Document = document): void {
  const { dataset } = page.documentElement;
  set(dataset, "theme", looks.theme, "system");
  set(dataset, "contrast", looks.contrast, "system");
  set(dataset, "text", looks.textSize, "normal");
  // The bar of a phone's browser around the page: one for each of the system's two wishes.
  const metas = page.querySelectorAll<HTMLMetaElement>('meta[name="theme-color"][media]');
  for (const meta of metas) {
    const wish = meta.dataset["wish"] ?? meta.getAttribute("media") ?? "";
    meta.dataset["wish"] = wish;
    const isMeant = wish.includes("dark") === (looks.theme === "dark");
    meta.setAttribute("media", looks.theme === "system" ? wish : isMeant ? "all" : "not all");
  }
}

function set(dataset: DOMStringMap, name: string, value: string, usual: string): void {
  if (value === usual) {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the attribute goes with it
    delete dataset[name];
  } else {
    dataset[name] = value;
  }
}
