/** Numbers as each language writes them: the one place that makes formats. Knows no page. */

const formats = new Map<string, Intl.NumberFormat>();

/**
 * 1234.5 -> "1,234.5" in English, "1.234,5" in German.
 *
 * In the digits of code, addresses and versions also in Arabic, as its press and its software mostly do: one
 * line has one kind of digits.
 *
 * @param decimals exactly so many.
 */
export function formatNumber(language: string, value: number, decimals = 0): string {
  const key = `${language} ${decimals}`;
  let format = formats.get(key);
  if (format === undefined) {
    format = new Intl.NumberFormat(language, {
      numberingSystem: "latn",
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    // Making one takes longer than a hundred uses, and the speed changes while an answer comes.
    formats.set(key, format);
  }
  return format.format(value);
}
