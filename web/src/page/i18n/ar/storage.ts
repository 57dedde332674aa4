import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("ar");

function kept(n: number): string {
  switch (plural.select(n)) {
    case "zero":
      return "لا نماذج محفوظة في هذا المتصفح.";
    case "one":
      return "نموذج واحد محفوظ في هذا المتصفح.";
    case "two":
      return "نموذجان محفوظان في هذا المتصفح.";
    case "few":
      return `${n} نماذج محفوظة في هذا المتصفح.`;
    case "many":
      return `${n} نموذجًا محفوظًا في هذا المتصفح.`;
    case "other":
      return `${n} نموذج محفوظ في هذا المتصفح.`;
  }
}

function daysAgo(n: number): string {
  switch (plural.select(n)) {
    case "two":
      return "استُخدم قبل يومين";
    case "few":
      return `استُخدم قبل ${n} أيام`;
    case "many":
      return `استُخدم قبل ${n} يومًا`;
    case "zero":
    case "one":
    case "other":
      return `استُخدم قبل ${n} يوم`;
  }
}

export const storage: Words["storage"] = {
  title: "تخزين هذا المتصفح",
  none: "لا نموذج محفوظ في هذا المتصفح بعد.",
  kept,
  inUse: (used, quota) => `المستخدم ${used} من ${quota}.`,
  staying: "تبقى النماذج حتى تحذفها.",
  leaving: "قد يزيل المتصفح النماذج عند امتلاء القرص.",
  used: (part) => `المستخدم ${part}`,
  models: "النماذج في هذا المتصفح",
  keepModels: "الاحتفاظ بالنماذج",
  keepModelsText: "اطلب من المتصفح ألا يزيلها من تلقاء نفسه.",
  browserDecides: "المتصفح يقرر بنفسه: استخدم هذه الصفحة كثيرًا أو أضفها إلى المفضلة.",
  persisted: "يحتفظ المتصفح بالنماذج حتى تحذفها.",
  incomplete: (done, total) => `غير مكتمل: ${done} من ${total}`,
  shared: (total, shared) => `${total}، منها ${shared} مشتركة`,
  beingLoaded: "قيد التحميل",
  usedRecently: "استُخدم خلال آخر 24 ساعة",
  usedYesterday: "استُخدم أمس",
  usedDaysAgo: daysAgo,
  order:
    "عند الحاجة إلى مكان يذهب أولًا النموذج الأقدم استخدامًا. أما المثبَّتة والمستخدمة الآن فلا تذهب أبدًا.",
  goesFirst: "يذهب أولًا عند الحاجة إلى مكان",
  goesAs: (place) => `ترتيبه ${place} في الذهاب عند الحاجة إلى مكان`,
  stays: "يبقى",
  pin: "تثبيت",
  pinOf: (name) => `إبقاء ${name} عند إفساح المكان لغيره`,
  pinned: (name) => `سيبقى ${name}.`,
  unpinned: (name) => `قد يذهب ${name}.`,
  delete: "حذف",
  deleteOf: (name) => `حذف ${name}`,
  deleteYes: (bytes) => `حذف ${bytes}`,
  deleteShared: (bytes) => `تبقى ${bytes} لأن نماذج أخرى تحتاج إليها.`,
  cancel: "إلغاء",
  deleted: (name, bytes) => `حُذف ${name}، وتحرّر ${bytes}.`,
  resume: "متابعة",
  resumeOf: (name) => `متابعة تنزيل ${name}`,
  importFile: "استيراد ملف",
  importFolder: "استيراد مجلد",
  imported: (names) => `${names}: أصبح هنا.`,
};
