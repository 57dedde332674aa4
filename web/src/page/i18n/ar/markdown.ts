import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("ar");
const number = (value: number) => formatNumber("ar", value);

/** Arabic counts in six ways; "other" and "many" take the singular. */
function rowsOf(rows: number): string {
  switch (plural.select(rows)) {
    case "zero":
      return "لا صفوف";
    case "one":
      return "صف واحد";
    case "two":
      return "صفان";
    case "few":
      return `${number(rows)} صفوف`;
    case "many":
      return `${number(rows)} صفًا`;
    case "other":
      return `${number(rows)} صف`;
  }
}

export const markdown: Words["markdown"] = {
  copy: "نسخ",
  copyCode: (language) => (language === "" ? "نسخ الشيفرة" : `نسخ شيفرة ${language}`),
  copied: "تم النسخ",
  notCopied: "لم يسمح المتصفح بالنسخ. حدِّد النص وانسخه يدويًا.",
  code: (language) => (language === "" ? "شيفرة" : `شيفرة ${language}`),
  plainCode: "نص",
  image: (description) => (description === "" ? "صورة" : `صورة: ${description}`),
  table: (rows) => `جدول، ${rowsOf(rows)}`,
  showAllRows: (rows) => `عرض كل الصفوف (${number(rows)})`,
  moreRows: (rows) => `غير معروض: ${rowsOf(rows)}`,
  done: "منجز",
  notDone: "غير منجز",
  source: (index, name) => `المصدر ${number(index)}: ${name}`,
  sourceOnPage: (index, name, page) => `المصدر ${number(index)}: ${name}، الصفحة ${number(page)}`,
  directionMarks: "يحتوي على علامات غير مرئية تغيّر اتجاه النص",
};
