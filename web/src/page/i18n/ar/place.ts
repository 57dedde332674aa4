import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

const number = (value: number) => formatNumber("ar", value);
const list = new Intl.ListFormat("ar", { type: "conjunction" });
const plural = new Intl.PluralRules("ar");

function threads(count: number): string {
  switch (plural.select(count)) {
    case "one":
      return "خيط واحد";
    case "two":
      return "خيطان";
    case "few":
      return `${count} خيوط`;
    case "zero":
    case "many":
    case "other":
      return `${count} خيطًا`;
  }
}

export const place: Words["place"] = {
  server: "الخادم على هذا العنوان",
  browser: "هذا المتصفح",
  processor: "معالج هذا الجهاز، داخل المتصفح",
  adapter: "بطاقة رسوميات هذا الجهاز، داخل المتصفح",
  fromServer: "من الخادم",
  fromBrowser: "من هذا المتصفح",
  because: (who, why) => `${who}، والسبب: ${why}`,
  chosen: (who) => `${who}، كما اخترت`,
  inAnotherTab: (who) => `${who}، في علامة تبويب أخرى`,
  reason: (who, why) => `${who}: ${why}`,
  serverForLack: (lack) => `الخادم على هذا العنوان، ففي هذا المتصفح ${lack}`,
  serverForFailure: (failure) => `الخادم على هذا العنوان، فهذا المتصفح لا يستطيع: ${failure}`,
  thereIs: (lacks) => list.format(lacks),
  noWebGpu: "لا يوجد WebGPU",
  noAdapter: "لا توجد بطاقة رسوميات لـ WebGPU",
  noServer: "لا يوجد خادم",
  cannot: (why) => `هذا المتصفح لا يستطيع: ${why}`,

  answersFrom: "الإجابات من",
  automatic: "تلقائي",
  thisBrowser: "هذا المتصفح",
  theServer: "الخادم",
  theServerMissing: "الخادم (غير موجود)",
  automaticHint: "بطاقة الرسوميات هنا؛ فإن لم توجد فالخادم، وإلا فالمعالج.",
  thisBrowserHint: "لا شيء مما تكتبه يغادر هذا الجهاز.",
  theServerHint: (host) => `ما تكتبه يُرسل إلى ${host}.`,
  details: "أين يعمل",
  short: {
    gpu: "GPU",
    cpu: "CPU",
    server: "خادم",
  },
  facts: {
    adapter: "بطاقة الرسوميات",
    onCpu: (name) => `${name} (على المعالج)`,
    unnamed: "بلا اسم",
    compute: "الحساب",
    fallback: (type) => `${type}، احتياطي`,
    runsOn: "يعمل على",
    theProcessor: "المعالج",
    processorBecause: (reason) => `${reason}: يعمل على المعالج`,
    threads: (count) => `llama.cpp، ${threads(count)}`,
    f16: "حساب 16 بت",
    yes: "نعم",
    no: "لا",
    memory: "الذاكرة",
    memoryOf: (bytes) => `نحو ${bytes} من ذاكرة الرسوميات`,
    host: "الخادم",
    engine: "المحرّك",
    engineLost: "فُقدت بطاقة الرسوميات، ويُعاد التحميل",
    engineAgain: "أُعيد تشغيله",
    engineTakingOver: "أُغلقت علامة التبويب التي كانت تجيب؛ يُحمَّل هنا",
    speed: "السرعة",
    rate: (tokens) => `${tokens} رمز/ث`,
    first: "أول رمز",
    firstAfter: (time) => `بعد ${time}`,
    prompt: "المُدخل",
    promptOf: (tokens, cached) =>
      cached === 0
        ? `الرموز: ${number(tokens)}`
        : `الرموز: ${number(tokens)}، منها ${number(cached)} معروفة من قبل`,
    context: "السياق",
    contextOf: (used, size) => `${number(used)} من ${number(size)}`,
  },
  meter: {
    label: "المستخدم من السياق",
    used: (used, size, percent) => `${used} من ${size} رمز من نافذة السياق، ${percent}٪`,
    percent: (percent) => `${percent}٪`,
    nearly: "تكاد نافذة السياق تمتلئ. قريبًا لن يستطيع النموذج قراءة المحادثة كلها.",
    full: "لم تعد المحادثة تتسع لها نافذة سياق النموذج.",
    withDraft: "مع ما تكتبه الآن لا تتسع نافذة السياق للمحادثة.",
    nothingCut: "لا يُحذف شيء ما لم تطلب ذلك.",
    dropOldest: "اترك أقدم الرسائل",
    newChat: "ابدأ محادثة جديدة",
  },
};
