import type { Words } from "../words.ts";

const PLURALS = new Intl.PluralRules("ar");

/** Arabic has six forms; two of them say the number without a figure. */
function conversations(count: number): string {
  switch (PLURALS.select(count)) {
    case "zero":
      return "لا محادثات";
    case "one":
      return "محادثة واحدة";
    case "two":
      return "محادثتان";
    case "few":
      return `${count} محادثات`;
    case "many":
      return `${count} محادثة`;
    case "other":
      return `${count} محادثة`;
  }
}

/** As the object of a verb, where the dual changes. */
function conversationsAsObject(count: number): string {
  return count === 2 ? "محادثتين" : conversations(count);
}

export const sidebar: Words["sidebar"] = {
  title: "المحادثات",
  newChat: "محادثة جديدة",
  untitled: "محادثة جديدة",
  search: "ابحث في المحادثات",
  clearSearch: "امسح البحث",
  groups: {
    pinned: "المثبّتة",
    today: "اليوم",
    yesterday: "أمس",
    week: "آخر 7 أيام",
    earlier: "أقدم",
  },
  empty: "ما تسأل عنه يظهر هنا ويُحفظ في هذا المتصفح.",
  found: (count) => (count === 0 ? "لم يُعثر على شيء." : conversations(count)),
  answering: "تُكتب الآن إجابة",
  pinned: "مثبّتة",
  keys: "مفاتيح الأسهم للتنقل، وEnter للفتح، وF2 لتغيير الاسم، وDelete للحذف.",
  more: (title) => `المزيد عن «${title}»`,
  rename: "تغيير الاسم",
  titleField: "عنوان المحادثة",
  pin: "تثبيت",
  unpin: "إلغاء التثبيت",
  exportMarkdown: "حفظ بصيغة Markdown",
  exportJson: "حفظ بصيغة JSON",
  delete: "حذف",
  deleted: (count, title) =>
    count === 1 ? `حُذفت «${title}».` : `تم حذف ${conversationsAsObject(count)}.`,
  undo: "تراجع",
  library: "حفظ المحادثات أو تحميلها",
  exportAll: "حفظ الكل بصيغة JSON",
  importFile: "تحميل من ملف",
  imported: (added, known) =>
    added === 0
      ? known === 0
        ? "لا توجد محادثات في هذا الملف."
        : "كل محادثات هذا الملف موجودة هنا بالفعل."
      : `تم تحميل ${conversationsAsObject(added)}.`,
  failed: "تعذّر ذلك:",
  notKept: {
    refused:
      "هذا المتصفح لا يحفظ شيئًا لهذه الصفحة. ستُفقد المحادثات عند إغلاقها، فاحفظ ما تحتاج إليه.",
    full: "لم تبقَ مساحة على هذا الجهاز. ما يُقال من الآن يُفقد عند إغلاق الصفحة: احذف شيئًا أو احفظ ما تحتاج إليه.",
    blocked: "يعمل إصدار أقدم من هذا التطبيق في علامة تبويب أخرى. أغلقها لتظهر محادثاتك هنا.",
    outdated:
      "يعمل إصدار أحدث من هذا التطبيق في علامة تبويب أخرى. أعد تحميل هذه الصفحة؛ ما يُقال حتى ذلك الحين لا يُحفظ.",
  },
  markdown: {
    untitled: "محادثة",
    you: "أنت",
    model: "النموذج",
    system: "تعليمات النظام",
    reasoning: "التفكير",
    attachments: "المرفقات",
    sources: "المصادر",
    page: (number) => `صفحة ${number}`,
    calls: (tool) => `يستخدم ${tool}`,
    returned: (tool) => `نتيجة ${tool}`,
    unfinished: "لم تكتمل هذه الإجابة.",
  },
};
