import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("ar");
const number = (value: number) => formatNumber("ar", value);

interface Forms {
  one: string;
  two: string;
  few: string;
  many: string;
  other: string;
}

/** "صفحة واحدة", "صفحتان", "٣ صفحات", "١١ صفحة": one and two are words without a number. */
function counted(count: number, forms: Forms): string {
  switch (plural.select(count)) {
    case "one":
      return forms.one;
    case "two":
      return forms.two;
    case "few":
      return `${number(count)} ${forms.few}`;
    case "many":
      return `${number(count)} ${forms.many}`;
    case "zero":
    case "other":
      return `${number(count)} ${forms.other}`;
  }
}

/** A name may run the other way; isolated, it turns nothing around it. */
const isolated = (name: string) => `\u2068${name}\u2069`;

export const documents: Words["documents"] = {
  attach: "إرفاق",
  menu: "ما الذي تريد إرفاقه",
  files: "ملفات (نص أو PDF أو Word)",
  images: "صور",
  camera: "التقاط صورة",
  attached: "الملفات المرفقة",
  remove: (name) => `إزالة ${isolated(name)}`,
  reading: "تجري القراءة",
  readingShare: (percent) => `تجري القراءة، ${number(percent)}٪`,
  searching: (done, total) => `يجري تجهيز المقاطع للبحث: ${number(done)} من ${number(total)}`,
  ready: (name) => `أُرفق ${isolated(name)}.`,
  pages: (count) =>
    counted(count, {
      one: "صفحة واحدة",
      two: "صفحتان",
      few: "صفحات",
      many: "صفحة",
      other: "صفحة",
    }),
  characters: (count) =>
    counted(count, { one: "حرف واحد", two: "حرفان", few: "أحرف", many: "حرفًا", other: "حرف" }),
  page: (page) => `الصفحة ${number(page)}`,
  pixels: (width, height) => isolated(`${width} × ${height}`),
  drop: "أفلت الملفات هنا",
  dropHint: "نصوص وPDF وWord وصور",
  openImage: (name) => `فتح ${isolated(name)}`,
  imageGone: (name) => `لم يعد ${isolated(name)} موجودًا في هذا المتصفح.`,
  stays: "تُقرأ الملفات في هذا المتصفح وتبقى على هذا الجهاز.",
  goes: "تُقرأ الملفات في هذا المتصفح. أما الصور والمقاطع المناسبة لسؤالك فتُرسل معه إلى الخادم.",
  cannotSee: (model) =>
    model === ""
      ? "لا يستطيع هذا النموذج رؤية الصور. اختر نموذجًا يستطيع ذلك، أو أزل الصورة."
      : `لا يستطيع ${isolated(model)} رؤية الصور. اختر نموذجًا يستطيع ذلك، أو أزل الصورة.`,
  sources: "المصادر",
  sourcesOf: (count) =>
    counted(count, {
      one: "مصدر واحد",
      two: "مصدران",
      few: "مصادر",
      many: "مصدرًا",
      other: "مصدر",
    }),
  openSource: (position, name) => `المصدر ${number(position)}: ${isolated(name)}`,
  sourceNote: "أُعطي النموذج هذه المقاطع مع سؤالك.",
  similarity: (percent) => `تشابه ${number(percent)}٪`,
  noEmbedding: "عُثر على المقاطع بالكلمات وحدها: تعذّر تشغيل نموذج التضمين.",
  missing: (name) => `لم يعد ${isolated(name)} موجودًا في هذا المتصفح، فجاء الجواب من دونه.`,
  tooMany: (most) => `يقبل السؤال ${number(most)} ملفات على الأكثر، وتُرك ما زاد عليها.`,
  failed: (name) => `تعذّرت قراءة ${isolated(name)}.`,
  problems: {
    "too-large": (name, limit) => `حجم ${isolated(name)} أكبر من ${limit} ميغابايت.`,
    empty: (name) => `${isolated(name)} فارغ.`,
    "too-many-pages": (name, limit) => `في ${isolated(name)} أكثر من ${limit} صفحة. قسّمه.`,
    "too-long": (name, limit) => `في ${isolated(name)} أكثر من ${limit} حرف. قسّمه.`,
    "unknown-kind": (name) =>
      `لا يمكن قراءة ${isolated(name)} هنا. يمكن قراءة النصوص وPDF وWord ‏(docx.) والصور.`,
    "unknown-encoding": (name) =>
      `${isolated(name)} ليس نصًا بترميز UTF-8. احفظه بهذا الترميز وحاول مرة أخرى.`,
    damaged: (name) => `${isolated(name)} تالف أو ناقص.`,
    encrypted: (name) => `${isolated(name)} محمي بكلمة مرور. احفظه بدونها وحاول مرة أخرى.`,
    "no-cmap": (name) =>
      `الملف ${isolated(name)} بترميز قديم يأتي جدوله عبر الشبكة. اتصل بالشبكة ثم أعد المحاولة.`,
    "no-text": (name) =>
      `لا نص في ${isolated(name)}: صفحاته صور. أرفقها صورًا، أو استخرج نصها ببرنامج للتعرّف على النصوص.`,
    "unpacks-too-large": (name, limit) =>
      `حجم ${isolated(name)} بعد فك ضغطه أكبر من ${limit} ميغابايت.`,
    "too-many-pixels": (name, limit) => `في ${isolated(name)} أكثر من ${limit} مليون بكسل.`,
    "unknown-image": (name) => `${isolated(name)} ليس صورة يستطيع هذا المتصفح قراءتها.`,
  },
};
