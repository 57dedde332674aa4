/** Figures as people read them, in the page's language. */
import { formatNumber } from "./i18n/numbers.ts";
import { language, words } from "./i18n/words.ts";

/** 97543210 -> "97.5 MB", "97,5 MB" (decimal units, as browsers and disks count). */
export function formatBytes(bytes: number): string {
  const units = words.value.units.bytes;
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  const value = bytes / 1000 ** power;
  return `${number(value, power === 0 || value >= 100 ? 0 : 1)} ${units[power] ?? ""}`;
}

/** 3.2 -> "3 s", 75 -> "1 min 15 s", 3700 -> "1 h 2 min". */
export function formatSeconds(seconds: number): string {
  const { units } = words.value;
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  const parts =
    whole < 60
      ? [[whole, units.second] as const]
      : minutes < 60
        ? ([
            [minutes, units.minute],
            [whole % 60, units.second],
          ] as const)
        : ([
            [Math.floor(minutes / 60), units.hour],
            [minutes % 60, units.minute],
          ] as const);
  return parts.map(([count, unit]) => `${number(count)} ${unit}`).join(" ");
}

/** What somebody waited for: 0.23 -> "0.2 s", and in whole seconds once they are ten. */
export function formatDelay(seconds: number): string {
  return seconds < 10
    ? `${number(seconds, 1)} ${words.value.units.second}`
    : formatSeconds(seconds);
}

/** One decimal while it is small enough to matter. */
export function formatCount(value: number): string {
  return number(value, value < 20 ? 1 : 0);
}

/** "48 tokens/s": one decimal while it is slow enough to matter. */
export function formatRate(tokensPerSecond: number): string {
  return words.value.place.facts.rate(formatCount(tokensPerSecond));
}

/** A whole number: "4,096". */
export function formatWhole(value: number): string {
  return number(value);
}

function number(value: number, decimals = 0): string {
  return formatNumber(language.value, value, decimals);
}
