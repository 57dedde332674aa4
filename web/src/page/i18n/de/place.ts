import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

const number = (value: number) => formatNumber("de", value);
const list = new Intl.ListFormat("de", { type: "conjunction" });

export const place: Words["place"] = {
  server: "Der Server unter dieser Adresse",
  browser: "Dieser Browser",
  processor: "Der Prozessor dieses Geräts, im Browser",
  adapter: "Die Grafikkarte dieses Geräts, im Browser",
  fromServer: "vom Server",
  fromBrowser: "aus diesem Browser",
  because: (who, why) => `${who} – ${why}`,
  chosen: (who) => `${who}, wie gewählt`,
  inAnotherTab: (who) => `${who}, in einem anderen Tab`,
  reason: (who, why) => `${who}: ${why}`,
  serverForLack: (lack) => `Der Server unter dieser Adresse, denn dieser Browser hat ${lack}`,
  serverForFailure: (failure) =>
    `Der Server unter dieser Adresse, denn dieser Browser kann es nicht: ${failure}`,
  thereIs: (lacks) => `hier gibt es ${list.format(lacks)}`,
  noWebGpu: "kein WebGPU",
  noAdapter: "keine Grafikkarte für WebGPU",
  noServer: "keinen Server",
  cannot: (why) => `dieser Browser kann es nicht: ${why}`,

  answersFrom: "Antworten von",
  automatic: "Automatisch",
  thisBrowser: "Diesem Browser",
  theServer: "Dem Server",
  theServerMissing: "Dem Server (es gibt keinen)",
  automaticHint:
    "Die Grafikkarte hier; wo keine ist, der Server; wo auch der fehlt, der Prozessor.",
  thisBrowserHint: "Nichts, was Sie schreiben, verlässt dieses Gerät.",
  theServerHint: (host) => `Was Sie schreiben, geht an ${host}.`,
  details: "Wo es läuft",
  short: {
    gpu: "GPU",
    cpu: "CPU",
    server: "Server",
  },
  facts: {
    adapter: "Grafikkarte",
    onCpu: (name) => `${name} (auf der CPU)`,
    unnamed: "ohne Namen",
    compute: "Rechnet mit",
    fallback: (type) => `${type}, Rückfall`,
    runsOn: "Läuft auf",
    theProcessor: "dem Prozessor",
    processorBecause: (reason) => `${reason}: läuft auf dem Prozessor`,
    threads: (count) => `llama.cpp, ${count} ${count === 1 ? "Thread" : "Threads"}`,
    f16: "16-Bit-Rechnung",
    yes: "ja",
    no: "nein",
    memory: "Speicher",
    memoryOf: (bytes) => `etwa ${bytes} Grafikspeicher`,
    host: "Server",
    engine: "Zustand",
    engineLost: "die Grafikkarte ging verloren, lädt neu",
    engineAgain: "neu gestartet",
    engineTakingOver: "der antwortende Tab ist geschlossen, lädt hier",
    speed: "Tempo",
    rate: (tokens) => `${tokens} Token/s`,
    first: "Erstes Token",
    firstAfter: (time) => `nach ${time}`,
    prompt: "Eingabe",
    promptOf: (tokens, cached) =>
      cached === 0
        ? `${number(tokens)} Token`
        : `${number(tokens)} Token, davon ${number(cached)} schon bekannt`,
    context: "Kontext",
    contextOf: (used, size) => `${number(used)} von ${number(size)}`,
  },
  meter: {
    label: "Belegter Kontext",
    used: (used, size, percent) => `${used} von ${size} Token des Kontextfensters, ${percent} %`,
    percent: (percent) => `${percent} %`,
    nearly:
      "Das Kontextfenster ist fast voll. Bald kann das Modell nicht mehr das ganze Gespräch lesen.",
    full: "Das Gespräch passt nicht mehr in das Kontextfenster des Modells.",
    withDraft:
      "Mit dem, was Sie gerade schreiben, passt das Gespräch nicht mehr in das Kontextfenster.",
    nothingCut: "Nichts wird weggelassen, solange Sie es nicht sagen.",
    dropOldest: "Die ältesten Nachrichten weglassen",
    newChat: "Neuen Chat beginnen",
  },
};
