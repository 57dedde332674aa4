import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("ar");

/** "one", "two", "few" … in Arabic's six forms. */
function counted(
  count: number,
  forms: Readonly<Partial<Record<Intl.LDMLPluralRule, string>>> & { other: string },
): string {
  return (forms[plural.select(count)] ?? forms.other).replace("#", formatNumber("ar", count));
}

export const chat: Words["chat"] = {
  conversation: "المحادثة",
  answering: "يجيب…",
  reading: "يقرأ",
  newChat: "محادثة جديدة.",
  you: "أنت",
  tryAgain: "حاول مرة أخرى",
  regenerate: "أجب مرة أخرى",
  edit: "تعديل",
  saveEdit: "اسأل هكذا",
  cancel: "إلغاء",
  copy: "نسخ",
  copied: "تم النسخ",
  goOn: "متابعة",
  more: "المزيد",
  branch: (number, count) => `${number} من ${count}`,
  previousBranch: "نسخة أقدم",
  nextBranch: "نسخة أحدث",
  tokens: (count) =>
    counted(count, {
      zero: "لا رموز",
      one: "رمز واحد",
      two: "رمزان",
      few: "# رموز",
      many: "# رمزًا",
      other: "# رمز",
    }),
  firstAfter: (seconds) => `الأول بعد ${seconds}`,
  stopped: "أُوقفت",
  cut: "قُطعت عند حد الطول",
  interrupted: "أُغلقت الصفحة قبل أن تكتمل هذه الإجابة.",
  leftOut: (count) =>
    counted(count, {
      one: "أقدم رسالة لا يتسع لها سياق النموذج، وقد تُركت خارج هذه الإجابة.",
      two: "أقدم رسالتين لا يتسع لهما سياق النموذج، وقد تُركتا خارج هذه الإجابة.",
      few: "أقدم # رسائل لا يتسع لها سياق النموذج، وقد تُركت خارج هذه الإجابة.",
      other: "أقدم # رسالة لا يتسع لها سياق النموذج، وقد تُركت خارج هذه الإجابة.",
    }),
  overflowHint: "المحادثة أطول من نافذة سياق النموذج.",
  overflowDrop: "اترك أقدم الرسائل",
  overflowNew: "ابدأ محادثة جديدة",
  toEnd: "إلى النهاية",
  missing: {
    title: "لم تعد هذه المحادثة هنا",
    undoable: "حُذفت قبل قليل، ويمكن استعادتها.",
    gone: "حُذفت، أو هي في متصفح آخر.",
  },
  door: {
    adapter: "البحث عن محوّل الرسوميات",
    manifest: "قراءة بيان النموذج",
    library: "تشغيل برنامج النموذج",
    weights: "إحضار النموذج",
    pipelines: "بناء مسارات المعالج الرسومي",
    ready: "جاهز",
    pipelinesDone: (percent) => `${percent} ٪ من المسارات`,
    bytesDone: (done, total) => `${done} من ${total}`,
    rate: (rate, left) => `${rate}/ث، بقي ${left}`,
    fitHere: (bytes) => `كل ${bytes} على هذا الجهاز.`,
    fitComing: (bytes) => `${bytes} للتنزيل.`,
    fitBoth: (coming, here) => `${coming} للتنزيل، و${here} هنا بالفعل.`,
    fitMemory: (bytes) => `يحتاج النموذج إلى نحو ${bytes} من ذاكرة الرسوميات.`,
    fromDevice: "من هذا الجهاز",
    runsHere: (model) => `يعمل ${model} في هذا المتصفح. لا شيء مما تكتبه يغادر هذا الجهاز.`,
    runsHereOrThere: (model, host) =>
      `يعمل ${model} في هذا المتصفح. ويجيب الخادم ${host} حيث لا يستطيع.`,
    isReady: (model) => `${model} جاهز`,
    isReadyThere: (model) => `${model} جاهز على الخادم`,
    loaded: (seconds, origin) => `حُمِّل في ${seconds}، ${origin}.`,
    loadedElsewhere: (seconds, origin) =>
      `حُمِّل في علامة تبويب أخرى لهذه الصفحة في ${seconds}، ${origin}.`,
    allFromDevice: "كله من هذا الجهاز",
    downloaded: (bytes) => `نُزِّل ${bytes}`,
    licence: (names) => `الرخصة: ${names}.`,
    answersFrom: (place) => `مصدر الإجابات: ${place}.`,
    writtenGoes: (host) => `ما تكتبه يُرسل إلى ${host}.`,
    offline: "خادمه لا يجيب: هذا نموذج زيارتك الأخيرة.",
    notKept: "لا مكان في هذا المتصفح لحفظه: ستنزّله الزيارة القادمة من جديد.",
    madeRoom: (count) =>
      counted(count, {
        one: "أفسح له نموذج غير مستخدم مكانًا.",
        two: "أفسح له نموذجان غير مستخدمين مكانًا.",
        few: "أفسحت له # نماذج غير مستخدمة مكانًا.",
        other: "أفسح له # نموذجًا غير مستخدم مكانًا.",
      }),
    doesNotChat: (model) => `${model} لا يحاور`,
    encoder:
      "هذا نموذج تضمين: يحوّل النصوص إلى متجهات للبحث والمقارنة. يُبحث به في الملفات التي ترفقها بمحادثة، وتسأله البرامج في هذه الصفحة عبر window.transom.embed(texts).",
    choose: "اختر نموذجًا",
    noModelYet: "لا نموذج بعد",
    onServer: "هذه على هذا الخادم. تعمل في متصفحك، على هذا الجهاز.",
    inBrowser: "لا خادم يجيب. هذه في هذا المتصفح، ولا تحتاج إلى خادم.",
    compileOne:
      "صرّف نموذجًا بالأمر «transom compile FILE.gguf --name NAME»، ثم افتح هذه الصفحة مع ?model=NAME.",
    loadAllTheSame: "حمّله رغم ذلك",
    chooseOther: "اختر نموذجًا",
    headlines: {
      "no-webgpu": "هذا المتصفح بلا WebGPU",
      "no-adapter": "لا محوّل رسوميات",
      "no-service-worker": "لا أحد يستطيع الإجابة هنا",
      "model-not-found": "لا نموذج بهذا الاسم",
      "digest-mismatch": "ملف ليس كما ينبغي",
      "device-lost": "فُقد محوّل الرسوميات",
      "out-of-memory": "ذاكرة الرسوميات لا تكفي",
      "adapter-too-small": "محوّل الرسوميات هذا صغير جدًا",
      network: "فشل التنزيل",
    },
    failed: "لم ينجح هذا",
    suggestions: ["ما عاصمة فرنسا؟", "اشرح في جملتين لماذا السماء زرقاء.", "اكتب هايكو عن نافذة."],
  },
};
