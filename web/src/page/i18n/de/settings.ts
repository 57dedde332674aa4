import type { Words } from "../words.ts";

export const settings: Words["settings"] = {
  title: "Einstellungen",
  sections: {
    look: "Aussehen",
    chat: "Chat",
    server: "Antworten",
    privacy: "Datenschutz",
    about: "Über",
  },
  language: "Sprache",
  languageOfBrowser: (language) => `Wie im Browser (${language})`,
  theme: "Farben",
  themes: { system: "Wie das System", light: "Hell", dark: "Dunkel" },
  contrast: "Kontrast",
  contrasts: { system: "Wie das System", more: "Hoch" },
  textSize: "Schriftgröße",
  textSizes: { small: "Klein", normal: "Normal", large: "Groß", larger: "Größer" },
  sendKey: "Senden mit",
  sendKeys: { enter: "Eingabetaste", "ctrl-enter": "Strg + Eingabetaste" },
  sendKeyHint: {
    enter: "Umschalt und Eingabetaste beginnt eine neue Zeile.",
    "ctrl-enter":
      "Die Eingabetaste beginnt eine neue Zeile. Auf dem Mac gilt statt Strg die Befehlstaste.",
  },
  apiKey: "API-Schlüssel des Servers",
  apiKeyHint:
    "Nur für einen Server, der einen verlangt. Er bleibt in diesem Browser und geht allein an den Server unter dieser Adresse.",
  apiKeyShow: "Schlüssel zeigen",
  apiKeyHide: "Schlüssel verbergen",
  apiKeyForget: "Schlüssel vergessen",

  privacy: {
    lead: "Diese Seite hat keine Konten, keine Cookies und zählt keine Besuche.",
    stays: "Was auf diesem Gerät bleibt",
    staysItems: [
      "Ihre Gespräche, Dateien und Vorlagen, im Speicher dieses Browsers.",
      "Die Modelle, die Sie heruntergeladen haben.",
      "Diese Einstellungen, und der API-Schlüssel, falls Sie einen angegeben haben.",
    ],
    leaves: "Was dieses Gerät verlässt, und wann",
    leavesNothing:
      "Solange dieser Browser antwortet: nichts von dem, was Sie schreiben. Nur Modelle werden geladen, von dem Ort, den Sie gewählt haben.",
    leavesServer: (host) =>
      `Solange der Server antwortet: das Gespräch mit seinen Dateien geht für jede Antwort an ${host}.`,
    leavesTools:
      "Werkzeuge, die andere Server erreichen, fragen Sie vorher und sagen, wohin sie was senden.",
    leavesVoice:
      "Gesprochenes erkennt unter Umständen der Hersteller Ihres Browsers; die Seite sagt es, bevor sie zuhört.",
    now: "Jetzt",
    nowBrowser: "Dieser Browser antwortet. Nichts, was Sie schreiben, verlässt dieses Gerät.",
    nowServer: (host) => `Der Server antwortet. Was Sie schreiben, geht an ${host}.`,
    wipe: "Alles löschen",
    wipeHint:
      "Gespräche, Dateien, Vorlagen, Einstellungen und alle Modelle werden aus diesem Browser gelöscht. Es gibt kein Zurück; was Sie exportiert haben, behalten Sie.",
    wipeSure: "Wirklich alles löschen?",
    wipeYes: "Ja, alles löschen",
    wipeNo: "Behalten",
    wiping: "Wird gelöscht …",
  },
  about: {
    version: (version) => `Transom ${version}`,
    what: "Sprachmodelle im Browser oder auf einem eigenen Server, mit einer API für beide. Quelloffen unter der Apache-Lizenz 2.0.",
    libraries: "Bibliotheken und ihre Lizenzen",
    keys: "Tasten",
    keyRows: {
      newLine: "Eine neue Zeile",
      send: "Die Nachricht senden",
      stop: "Die Antwort anhalten, oder schließen, was offen ist",
    },
  },

  parameters: {
    title: "Prompt und Parameter",
    lead: "Für dieses Gespräch. Was Sie nicht anfassen, entscheidet das Modell.",
    system: "Systemprompt",
    systemHint: "Was das Modell vor der ersten Nachricht wissen und sein soll.",
    systemOwn: "Das Modell bringt einen Systemprompt mit; was Sie hier schreiben, ersetzt ihn.",
    systemPlaceholder: "Du bist eine geduldige Lehrerin für …",
    own: (value) => `vom Modell: ${value}`,
    usual: (value) => `üblich: ${value}`,
    reset: (name) => `${name}: zurück zum Wert des Modells`,
    resetAll: "Alles zurück zu den Werten des Modells",
    changed: (count) => `${count} geändert`,
    random: "jedes Mal ein anderer",
    unlimited: "keine Grenze",
    whole: "der ganze Kontext",
    off: "aus",
    groups: {
      choice: "Wie Wörter gewählt werden",
      repetition: "Wiederholung",
      length: "Länge und Ende",
    },
    names: {
      temperature: "Temperatur",
      top_p: "Top P",
      top_k: "Top K",
      min_p: "Min P",
      typical_p: "Typical P",
      repeat_penalty: "Wiederholungsstrafe",
      repeat_last_n: "Wiederholungsfenster",
      presence_penalty: "Anwesenheitsstrafe",
      frequency_penalty: "Häufigkeitsstrafe",
      seed: "Startwert",
      num_predict: "Längste Antwort",
      stop: "Stopptexte",
    },
    hints: {
      temperature:
        "Wie wagemutig es ist: 0 nimmt stets das wahrscheinlichste Wort, über 1 schweift es ab.",
      top_p:
        "Nur die wahrscheinlichsten Wörter, die zusammen diesen Anteil erreichen; 1 lässt alle zu.",
      top_k: "Nur so viele der wahrscheinlichsten Wörter; 0 lässt alle zu.",
      min_p:
        "Lässt Wörter weg, die weniger wahrscheinlich sind als dieser Anteil des wahrscheinlichsten; 0 lässt alle zu.",
      typical_p: "Bevorzugt Wörter, die etwa so überraschen wie erwartet; 1 ist aus.",
      repeat_penalty:
        "Macht eben benutzte Wörter unwahrscheinlicher; 1 ist aus, und über 1,3 werden Antworten seltsam.",
      repeat_last_n:
        "Wie viele Token die Wiederholungsstrafe zurückblickt; -1 ist der ganze Kontext.",
      presence_penalty:
        "Über 0 wendet es sich neuen Themen zu, unter 0 bleibt es bei seinen Wörtern.",
      frequency_penalty: "Über 0 wird ein Wort mit jedem Gebrauch unwahrscheinlicher.",
      seed: "Gleicher Startwert und gleiche Frage geben die gleiche Antwort; leer: jedes Mal eine andere.",
      num_predict: "So viele Token hat eine Antwort höchstens; leer oder -1: bis sie fertig ist.",
      stop: "Vor jedem dieser Texte endet die Antwort. Einer in jeder Zeile.",
    },
    range: (least, most) => `Eine Zahl von ${least} bis ${most}.`,
    stopTooMany: (most) => `Höchstens ${most} Texte.`,
    stopTooLong: (most) => `Höchstens ${most} Zeichen in einer Zeile.`,
    overflow: "Wenn das Gespräch länger wird als der Kontext",
    overflowAsk: "Mich fragen",
    overflowAskHint: "Die Seite sagt es vor dem Senden und bietet Auswege an.",
    overflowDrop: "Die ältesten Nachrichten weglassen",
    overflowDropHint:
      "Das Modell kennt sie dann nicht mehr; auf dem Bildschirm bleiben sie, und die Seite sagt, welche fehlen.",
  },
};
