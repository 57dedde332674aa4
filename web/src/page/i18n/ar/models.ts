import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("ar");

/** An Arabic number word agrees with its number in six ways. */
function modelCount(n: number): string {
  switch (plural.select(n)) {
    case "zero":
      return "لا نماذج";
    case "one":
      return "نموذج واحد";
    case "two":
      return "نموذجان";
    case "few":
      return `${n} نماذج`;
    case "many":
      return `${n} نموذجًا`;
    case "other":
      return `${n} نموذج`;
  }
}

export const models: Words["models"] = {
  title: "النماذج",
  tabs: "أقسام هذه الشاشة",
  all: "كل النماذج",
  add: "إضافة نموذج",
  storage: "التخزين",
  search: "البحث في النماذج",
  searchHint: "الاسم أو الحجم أو الترخيص أو ما يجيده",
  found: modelCount,
  nothingFound: "لا نموذج يطابق هذه الكلمات.",
  noModels: "لا نماذج هنا بعد. أضف نموذجًا أو استورد ملفًا.",
  loadingList: "جارٍ البحث عن النماذج",
  listFailed: (message) => `تعذّر الحصول على قائمة النماذج: ${message}`,
  show: "عرض",
  showAll: "الكل",
  showHere: "في هذا المتصفح",
  showHost: "لدى المضيف",

  loaded: "محمَّل",
  stored: "في هذا المتصفح",
  partial: (done, total) => `بعضه هنا: ${done} من ${total}`,
  offered: (host) => `لدى ${host} فقط`,

  size: "الحجم",
  sizeUnknown: "الحجم غير مذكور",
  ofItHere: (bytes) => `منها ${bytes} موجودة هنا`,
  sharedHere: (bytes) => `منها ${bytes} مشتركة مع نماذج أخرى`,
  parameters: "المعاملات",
  quantization: "التكميم",
  context: "السياق",
  tokens: (n) => `${n} رمز`,
  license: "الترخيص",
  licenseNone: "لم يُذكر أي ترخيص",
  licenseUnknown: "غير معروف بعد",
  licenseRead: (title) => `قراءة ترخيص ${title}`,
  licenseOf: (title) => `ترخيص ${title}`,
  speed: "السرعة هنا",
  speedNone: "لم تُقَس بعد",
  speedExpected: (rates) => `نحو ${rates}، قياسًا على نماذج أخرى`,
  speedBrowser: (rate) => `${rate} في هذا المتصفح`,
  speedServer: (rate) => `${rate} على الخادم`,
  memoryNow: (bytes) => `يشغل الآن ${bytes} من ذاكرة الرسوميات`,
  completion: "يحادث",
  vision: "يرى الصور",
  tools: "يستخدم الأدوات",
  thinking: "يفكر أولًا",
  embedding: "يحوّل النصوص إلى متجهات",

  where: "أين يعمل",
  asking: "جارٍ التحقق من ملاءمته لهذا الجهاز",
  gpu: "هذا المتصفح، بطاقة الرسوميات",
  processor: "هذا المتصفح، المعالج",
  server: (host) => `الخادم، ${host}`,
  runs: "يعمل",
  runsForced: "قد لا يتسع",
  runsNot: "لا يعمل",
  f16: "بدقة f16 التي تدعمها هذه البطاقة: نصف ذاكرة f32.",
  f32: "بدقة f32: لا تُستخدم f16 على هذه البطاقة.",
  memory: (bytes, budget) => `يحتاج إلى نحو ${bytes} من ذاكرة الرسوميات، والمتاح نحو ${budget}.`,
  memoryShort: (bytes, budget) =>
    `يحتاج إلى نحو ${bytes} من ذاكرة الرسوميات، والمتاح نحو ${budget}. يمكنك تحميله رغم ذلك.`,
  noRoom: (bytes, free) =>
    `لا مكان للاحتفاظ به: بقي ${bytes} والمتاح ${free}. سيعمل، ويُنزَّل من جديد كل مرة.`,
  noVariant: "ليست له ملفات لهذا المتصفح.",
  noAdapter: "لا بطاقة رسوميات للنماذج في هذا المتصفح، وليس للنموذج ملف GGUF للمعالج.",
  tooSmall: "أحد مخازنه أكبر مما تقبله هذه البطاقة.",
  tooLarge: "هو أكبر مما يتسع له محرك المعالج في صفحة.",
  slow: "عبر llama.cpp على المعالج: يعمل في كل مكان، وهو أبطأ.",
  leaves: "ما تكتبه يُرسل إليه.",

  chat: "محادثة",
  chatWith: (title) => `محادثة مع ${title}`,
  download: "تنزيل",
  downloadOf: (title) => `تنزيل ${title}`,
  resume: "متابعة",
  resumeOf: (title) => `متابعة تنزيل ${title}`,
  pause: "إيقاف مؤقت",
  pauseOf: (title) => `إيقاف تنزيل ${title} مؤقتًا`,
  cancel: "إلغاء",
  cancelOf: (title) => `إلغاء تنزيل ${title}`,
  again: "إعادة المحاولة",
  againOf: (title) => `إعادة محاولة تنزيل ${title}`,
  load: "تحميل",
  loadOf: (title) => `تحميل ${title}`,
  unload: "إخراج من الذاكرة",
  unloadOf: (title) => `إخراج ${title} من الذاكرة`,
  more: "التفاصيل",
  moreOf: (title) => `تفاصيل ${title}`,

  downloads: "التنزيلات",
  working: "أعمال جارية",
  clear: "إخفاء المنتهية",
  waiting: "ينتظر دوره",
  paused: "متوقف مؤقتًا",
  done: "أصبح هنا",
  starting: "جارٍ النظر فيما بقي",
  progressOf: (title) => `تقدّم ${title}`,
  ofTotal: (done, total) => `${done} من ${total}`,
  rate: (rate, left) => `${rate} في الثانية، بقي ${left}`,
  stop: "إيقاف",
  stopOf: (title) => `إيقاف: ${title}`,
  dismiss: "إخفاء",
  dismissOf: (title) => `إخفاء: ${title}`,
  pulling: (title) => `الخادم يجلب ${title}`,
  creating: (title) => `الخادم يبني ${title}`,
  nameTaken: (title, model) => `هنا نموذج آخر باسم ${title}، واسم هذا على الخادم ${model}.`,
  importing: (title) => `جارٍ استيراد ${title}`,
  loading: (title) => `جارٍ تحميل ${title}`,
  hashing: "جارٍ حساب بصمة الملف",
  sending: "جارٍ إرسال الملف إلى الخادم",
  refused:
    "هذا الخادم لا يسمح لأحد بتغيير نماذجه من هنا. يستطيع من يديره أن يسمح بذلك (TRANSOM_WRITABLE=yes أو مفتاح API له صلاحية write). ويمكن بدلًا من ذلك استيراد ملف من هذا الجهاز إلى هذا المتصفح.",

  pullTitle: "من سجل نماذج أو من عنوان",
  pullLabel: "اسم نموذج أو عنوانه",
  pullHint: (host) =>
    `يجلبه ${host}، ثم يكون لديه لكل من يستخدم هذا الخادم. مثلًا registry.example.com/library/tiny:latest أو hf.co/org/model أو عنوان https لملف GGUF.`,
  pullHintStatic:
    "ليس لهذه الصفحة خادم يجلب نماذج من مكان آخر. الممكن: عنوان مجلد فيه نموذج على هذا الموقع نفسه، وملفات هذا الجهاز أدناه.",
  pull: "جلب",
  pullWill: (model, registry) => `يسأل ${registry} عن ${model}.`,
  pullWillHere: (model) => `يسأل سجل الخادم عن ${model}.`,
  pullWillFile: (url) => `يجلب الملف ${url} ويصنع منه نموذجًا.`,
  pullWillBundle: (url) => `ينزّل المجلد ${url} من هذا الموقع إلى هذا المتصفح.`,
  wrongEmpty: "اكتب اسم نموذج أو عنوانه.",
  wrongTooLong: "هذا أطول من أي اسم أو عنوان لنموذج.",
  wrongNoName:
    "هذا ليس اسم نموذج. الأسماء على هيئة registry.example.com/namespace/model:tag من حروف لاتينية وأرقام و«_» و«-» و«.».",
  wrongNoModelFile: "هذا العنوان ليس نموذجًا في سجل (host/namespace/model) ولا ملف ‎.gguf.",
  wrongCredentials:
    "العنوان الذي فيه كلمة مرور لا يُرسل إلى أي مكان. الخادم يحفظ بيانات الدخول بالأمر «transom login».",
  wrongPlainHttp: "http غير المشفّر لهذا الجهاز فقط. اكتب https.",
  wrongStatic: "ليس لهذه الصفحة خادم يجلب هذا. نزّل الملف بنفسك ثم استورده أدناه.",
  wrongBundleOnly: "هذا المجلد ليس على هذا الموقع، ولا تصلح هنا إلا عناوين هذا الموقع.",

  fileTitle: "من ملف على هذا الجهاز",
  drop: "أفلت نموذجًا هنا أو اختر واحدًا",
  dropHint: "ملف ‎.gguf، أو ملف ‎.tar لنموذج، أو مجلد فيه نموذج.",
  dropNow: "أفلته",
  chooseFile: "اختيار ملف",
  chooseFolder: "اختيار مجلد",
  tooManyFiles: "في هذا المجلد ملفات أكثر من أن يكون نموذجًا.",
  keep: "إبقاء هنا",
  refresh: "النظر من جديد",
  close: "إغلاق",
  picked: (name, size) => `${name}، ${size}`,
  whatNow: "ماذا تريد أن يحدث له؟",
  keepHere: "الاحتفاظ به في هذا المتصفح",
  keepHereText: "يبقى على هذا الجهاز. يعمل ملف GGUF هنا على المعالج عبر llama.cpp.",
  sendThere: (host) => `إرساله إلى ${host}`,
  sendThereText:
    "يغادر الملف هذا الجهاز. يصنع الخادم منه نموذجًا لكل من يستخدمه، ويجمّعه للمتصفحات حيث يستطيع.",
  nameLabel: "اسمه على الخادم",
  nameHint: "حروف لاتينية وأرقام و«_» و«-» و«.»، ومعها وسم إن شئت: name:tag.",
  nameWrong: "هذا ليس اسم نموذج.",
  send: "إرسال وبناء",
  another: "اختيار ملف آخر",
  onlyOneFile: "ملف واحد أو مجلد واحد في كل مرة من فضلك.",
};
