import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("ar");

/** One and two are said without a figure. */
function countedTools(count: number): string {
  switch (plural.select(count)) {
    case "zero":
      return "لا أدوات";
    case "one":
      return "أداة واحدة";
    case "two":
      return "أداتان";
    case "few":
      return `${count} أدوات`;
    case "many":
    case "other":
      return `${count} أداة`;
  }
}

export const tools: Words["tools"] = {
  title: "الأدوات",
  names: {
    calculator: "الآلة الحاسبة",
    clock: "الساعة",
    fetch: "قراءة صفحة ويب",
    python: "بايثون",
  },
  explained: {
    calculator: "تحسب بدقة. تعمل هنا.",
    clock: "تخبر بالتاريخ والوقت، هنا وفي أماكن أخرى. تعمل هنا.",
    fetch: "تقرأ عنوانًا على الويب بعد أن تراه وتوافق.",
    python: "ينفّذ برامج صغيرة في مساحة معزولة داخل هذا المتصفح.",
  },
  from: (server) => `من ${server}`,
  state: {
    waiting: "بانتظارك",
    running: "قيد التنفيذ",
    done: "تمّ",
    failed: "فشل",
    refused: "غير مسموح",
  },
  input: "المُدخلات",
  nothingAsked: "استُدعيت دون مُدخلات.",
  result: "النتيجة",
  error: "ما الخطأ",
  inputOf: (tool) => `مُدخلات «${tool}»`,
  resultOf: (tool) => `جواب «${tool}»`,
  picture: (tool) => `صورة من «${tool}»`,

  approval: {
    question: (tool) => `هل تسمح بـ«${tool}»؟`,
    fetch: "يريد النموذج قراءة هذا العنوان:",
    server: (server) => `يريد النموذج استدعاء أداة من «${server}»، وعنوانه:`,
    tool: "يريد النموذج استدعاء هذه الأداة.",
    sends: "سيُرسَل إليه ما يلي:",
    leaves: "سيغادر هذا جهازك: مَن يدير ذلك الخادم يرى الطلب وعنوان شبكتك.",
    warnings: {
      "private-address":
        "هذا العنوان على جهازك أو في شبكتك الخاصة. لا تسمح به إلا إذا كنت تعرف ما هناك.",
      "carries-text": "يحمل العنوان نصًّا بعد علامة الاستفهام قد يكشف شيئًا من هذه المحادثة.",
    },
    once: "السماح مرة واحدة",
    always: "دائمًا في هذه المحادثة",
    alwaysFor: (site) => `دائمًا لـ ${site} في هذه المحادثة`,
    no: "عدم السماح",
  },

  reasoning: {
    thinking: "يفكّر…",
    thought: "فكّر",
    thoughtBriefly: "فكّر لحظة",
    thoughtFor: (time) => `فكّر ${time}`,
  },

  panel: {
    intro:
      "ما يجوز للنموذج استخدامه في هذه المحادثة. الأدوات التي تصل إلى خوادم أخرى تسألك في كل مرة قبل ذلك.",
    builtins: "من هذه الصفحة",
    asksFirst: "تسأل أولًا",
    noTools: "لم يُدرَّب هذا النموذج على استخدام الأدوات، وقد يتجاهلها.",
    on: (count) => `المفعّل: ${countedTools(count)}`,
    servers: "خوادم MCP",
    serversExplained:
      "خوادم لها أدواتها، تتحدث ببروتوكول سياق النموذج (MCP) عبر HTTP. يسألها هذا المتصفح بنفسه، وفقط عندما تتصل بها أو تسمح باستدعاء.",
    noServers: "لا يوجد أي منها بعد.",
    addServer: "إضافة خادم",
    serverTools: (count) => countedTools(count),
    noServerTools: "لا يقدّم أدوات.",
    notListed: "اتصل به لترى ما يقدّمه.",
    allOf: (server) => `كل أدوات ${server}`,
    connect: "اتصال",
    refresh: "اسأل من جديد",
    edit: "تعديل",
    remove: "إزالة",
    removeQuestion: (server) => `هل تريد إزالة «${server}» ورمزه من هذا المتصفح؟`,
    keep: "الإبقاء عليه",
    link: {
      idle: "غير متصل",
      connecting: "جارٍ الاتصال…",
      connected: "متصل",
      failed: "تعذّر الوصول",
    },
    name: "الاسم",
    nameHint: "كما تسمّيه أنت. إن تُرك فارغًا فاسم المضيف.",
    url: "العنوان",
    urlHint: "مثلًا https://mcp.example.org/mcp، أو http://localhost:8000/mcp على هذا الجهاز.",
    token: "رمز الدخول",
    tokenHint:
      "يُرسَل هكذا: “Authorization: Bearer …”. يُحفظ في هذا المتصفح دون تشفير، ولا يذهب إلا إلى ذلك الخادم.",
    headers: "ترويسات أخرى",
    headersHint: "واحدة في كل سطر، مثل X-Key: value. تُحفظ كما يُحفظ الرمز.",
    save: "حفظ واتصال",
    cancel: "إلغاء",
    faults: {
      none: "هذا ليس عنوانًا. اكتبه كاملًا مبتدئًا بـ https://.",
      unencrypted: "لا يمكن سؤال سوى عناوين https:، وعناوين http: على هذا الجهاز (localhost).",
      scheme: "لا يمكن سؤال سوى عناوين https:، وعناوين http: على هذا الجهاز (localhost).",
      credentials: "في العنوان اسم أو كلمة مرور. احذفهما؛ يوجد حقل لرمز الدخول.",
      token: "لا فراغات في الرمز، بل حروف وأرقام وعلامات بسيطة فقط.",
      header: "اكتب كل ترويسة في سطر، مثل X-Key: value.",
      "too-many-headers": "هذه ترويسات أكثر مما تقبله الخوادم.",
      "too-many-servers": "بلغ عدد الخوادم ما تحفظه هذه الصفحة. أزل واحدًا أولًا.",
    },
    problems: {
      unreachable:
        "لا جواب. إما أن لا شيء يعمل هناك، أو أن الخادم لا يسمح لصفحات الويب بسؤاله: عليه أن يسمح بأصل هذه الصفحة (CORS).",
      unauthorized:
        "يطلب الخادم رمزًا، أو رمزًا آخر. تسجيل الدخول في صفحته (OAuth) غير ممكن هنا: أنشئ رمزًا هناك وأدخله.",
      forbidden: "لا يسمح الخادم بذلك بهذا الرمز.",
      redirected:
        "يحيل الخادم إلى عنوان آخر لا يُنقل إليه الرمز. أدخل ذلك العنوان؛ كثيرًا ما يختلف بشرطة مائلة في آخره.",
      "not-mcp": "هناك ما يجيب، لكنه لا يتحدث MCP. انظر إلى آخر العنوان: غالبًا ما يكون ‎/mcp.",
      "hidden-session":
        "يخفي الخادم جلسته عن صفحات الويب. عليه أن يرسل “Access-Control-Expose-Headers: Mcp-Session-Id”.",
      timeout: "استغرق الخادم وقتًا طويلًا.",
      refused: "رفض الخادم.",
      failed: "لم ينجح ذلك.",
    },
    said: (text) => `يقول الخادم: ${text}`,
  },
};
