/** Figures as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** 97543210 -> "97.5 MB" (decimal units, as browsers and disks count). */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** power;
  return `${value.toFixed(power === 0 || value >= 100 ? 0 : 1)} ${UNITS[power] ?? "B"}`;
}

/** 3.2 -> "3 s", 75 -> "1 min 15 s", 3700 -> "1 h 2 min". */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Tokens per second: one decimal while it is slow enough to matter. */
export function formatRate(tokensPerSecond: number): string {
  return `${tokensPerSecond.toFixed(tokensPerSecond < 20 ? 1 : 0)} tokens/s`;
}
