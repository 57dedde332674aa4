/**
 * What a person chose about the page itself: language, looks, keys.
 *
 * In localStorage, because the looks have to be known before anything shows. Other tabs hear of it.
 * Without storage a choice holds for the visit.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import { LANGUAGES, type Language, preferredLanguage, speak } from "../i18n/words.ts";
import { showAppearance } from "./appearance.ts";

export const THEMES = ["system", "light", "dark"] as const;
export const CONTRASTS = ["system", "more"] as const;
export const TEXT_SIZES = ["small", "normal", "large", "larger"] as const;
export const SEND_KEYS = ["enter", "ctrl-enter"] as const;

export interface Preferences {
  /** null: as the browser has it. */
  language: Language | null;
  theme: (typeof THEMES)[number];
  contrast: (typeof CONTRASTS)[number];
  textSize: (typeof TEXT_SIZES)[number];
  sendKey: (typeof SEND_KEYS)[number];
}

export const USUAL: Preferences = {
  language: null,
  theme: "system",
  contrast: "system",
  textSize: "normal",
  sendKey: "enter",
};

const STORED_AS = "transom-preferences";

type Shelf = Pick<Storage, "getItem" | "setItem">;

const current = signal<Preferences>(USUAL);
export const preferences: ReadonlySignal<Preferences> = current;

let shelf: Shelf | null = null;

/**
 * Reads what was chosen before and shows the page so: looks at once, words when it resolves.
 *
 * @param storage null where the browser keeps nothing.
 */
export async function openPreferences(
  storage: Shelf | null,
  languages: readonly string[] = navigator.languages,
): Promise<void> {
  shelf = storage;
  const show = async () => {
    current.value = readPreferences(keptText());
    showAppearance(current.value);
    await speak(current.value.language ?? preferredLanguage(languages));
  };
  window.addEventListener("storage", (event) => {
    if (event.key === STORED_AS || event.key === null) {
      void show();
    }
  });
  await show();
}

/** Changes something, for this visit and later ones. */
export async function choose(
  change: Partial<Preferences>,
  languages: readonly string[] = navigator.languages,
): Promise<void> {
  current.value = { ...current.value, ...change };
  try {
    shelf?.setItem(STORED_AS, JSON.stringify(current.value));
  } catch {
    // It holds for this visit.
  }
  showAppearance(current.value);
  if ("language" in change) {
    await speak(current.value.language ?? preferredLanguage(languages));
  }
}

/** What is not as it should be is as usual: pages of other versions wrote it, or people. */
export function readPreferences(text: string | null): Preferences {
  let kept: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    kept = typeof value === "object" && value !== null ? (value as typeof kept) : {};
  } catch {
    // As usual.
  }
  const { language, theme, contrast, textSize, sendKey } = kept;
  const oneOf = <T extends string>(values: readonly T[], value: unknown, usual: T): T =>
    values.find((each) => each === value) ?? usual;
  return {
    language:
      typeof language === "string" && Object.hasOwn(LANGUAGES, language)
        ? (language as Language)
        : null,
    theme: oneOf(THEMES, theme, USUAL.theme),
    contrast: oneOf(CONTRASTS, contrast, USUAL.contrast),
    textSize: oneOf(TEXT_SIZES, textSize, USUAL.textSize),
    sendKey: oneOf(SEND_KEYS, sendKey, USUAL.sendKey),
  };
}

/** localStorage, or null where the browser keeps nothing and says so by throwing. */
export function keptStorage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

function keptText(): string | null {
  try {
    return shelf?.getItem(STORED_AS) ?? null;
  } catch {
    return null;
  }
}
