/**
 * What the page says, in the person's language.
 *
 * Each area of the page has a file of its own in each language's folder. What varies is a function:
 * `turns: (count: number) => string`. English is in the page; other languages come when they are
 * chosen, before anything shows.
 */
import { signal } from "@preact/signals";

import { en } from "./en/index.ts";

export type Language = "en" | "de" | "ar";

/** Each in its own words, for the list to choose from. */
export const LANGUAGES: Readonly<Record<Language, string>> = {
  en: "English",
  de: "Deutsch",
  ar: "العربية",
};

/** The words of one area: the same keys in each language, and functions of the same arguments. */
type Same<T> = { [K in keyof T]: T[K] extends string ? string : T[K] };

export type Words = { [Area in keyof typeof en]: Same<(typeof en)[Area]> };

/** Components read `words.value.chat.send`, and show again when the language changes. */
export const words = signal<Words>(en);
export const language = signal<Language>("en");

/** Speak this language from now on; it shows when its words are here. */
export async function speak(wanted: Language): Promise<void> {
  words.value = await wordsOf(wanted);
  language.value = wanted;
  document.documentElement.lang = wanted;
  document.documentElement.dir = wanted === "ar" ? "rtl" : "ltr";
}

/** The first of the browser's languages that we speak. */
export function preferredLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const [primary] = tag.toLowerCase().split("-");
    if (primary !== undefined && primary in LANGUAGES) {
      return primary as Language;
    }
  }
  return "en";
}

async function wordsOf(wanted: Language): Promise<Words> {
  switch (wanted) {
    case "en":
      return en;
    case "de":
      return (await import("./de/index.ts")).de;
    case "ar":
      return (await import("./ar/index.ts")).ar;
  }
}
