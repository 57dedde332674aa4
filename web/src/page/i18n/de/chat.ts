import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

export const chat: Words["chat"] = {
  conversation: "Gespräch",
  answering: "Antwortet …",
  reading: "Liest",
  newChat: "Neuer Chat.",
  you: "Sie",
  tryAgain: "Noch einmal versuchen",
  regenerate: "Noch einmal antworten",
  edit: "Bearbeiten",
  saveEdit: "So fragen",
  cancel: "Abbrechen",
  copy: "Kopieren",
  copied: "Kopiert",
  goOn: "Weiter",
  more: "Mehr",
  branch: (number, count) => `${number} von ${count}`,
  previousBranch: "Frühere Fassung",
  nextBranch: "Spätere Fassung",
  tokens: (count) => `${formatNumber("de", count)} Token`,
  firstAfter: (seconds) => `das erste nach ${seconds}`,
  stopped: "angehalten",
  cut: "an der Längengrenze abgeschnitten",
  interrupted: "Die Seite ging zu, bevor diese Antwort ganz war.",
  leftOut: (count) =>
    count === 1
      ? "Die älteste Nachricht passt nicht in den Kontext des Modells und blieb bei dieser Antwort außen vor."
      : `Die ältesten ${count} Nachrichten passen nicht in den Kontext des Modells und blieben bei dieser Antwort außen vor.`,
  overflowHint: "Das Gespräch ist länger als das Kontextfenster des Modells.",
  overflowDrop: "Die ältesten Nachrichten weglassen",
  overflowNew: "Neuen Chat beginnen",
  toEnd: "Ans Ende",
  missing: {
    title: "Dieses Gespräch ist nicht mehr hier",
    undoable: "Sie wurde gerade gelöscht und kann zurückkommen.",
    gone: "Sie wurde gelöscht, oder ein anderer Browser hat sie.",
  },
  door: {
    adapter: "Sucht den Grafikadapter",
    manifest: "Liest das Manifest des Modells",
    library: "Startet das Programm des Modells",
    weights: "Holt das Modell herein",
    pipelines: "Baut GPU-Pipelines",
    ready: "Bereit",
    pipelinesDone: (percent) => `${percent} % der Pipelines`,
    bytesDone: (done, total) => `${done} von ${total}`,
    rate: (rate, left) => `${rate}/s, noch ${left}`,
    fitHere: (bytes) => `Alle ${bytes} sind auf diesem Gerät.`,
    fitComing: (bytes) => `${bytes} sind herunterzuladen.`,
    fitBoth: (coming, here) => `${coming} sind herunterzuladen, ${here} sind schon hier.`,
    fitMemory: (bytes) => `Das Modell braucht etwa ${bytes} Grafikspeicher.`,
    fromDevice: "von diesem Gerät",
    runsHere: (model) =>
      `${model} läuft in diesem Browser. Nichts, was Sie schreiben, verlässt dieses Gerät.`,
    runsHereOrThere: (model, host) =>
      `${model} läuft in diesem Browser. Wo er nicht kann, antwortet der Server ${host}.`,
    isReady: (model) => `${model} ist bereit`,
    isReadyThere: (model) => `${model} ist auf dem Server bereit`,
    loaded: (seconds, origin) => `In ${seconds} geladen, ${origin}.`,
    loadedElsewhere: (seconds, origin) =>
      `In einem anderen Tab dieser Seite in ${seconds} geladen, ${origin}.`,
    allFromDevice: "alles von diesem Gerät",
    downloaded: (bytes) => `${bytes} heruntergeladen`,
    licence: (names) => `Lizenz: ${names}.`,
    answersFrom: (place) => `Woher Antworten kommen: ${place}.`,
    writtenGoes: (host) => `Was Sie schreiben, geht an ${host}.`,
    offline: "Sein Server antwortet nicht: Das ist das Modell Ihres letzten Besuchs.",
    notKept:
      "Dieser Browser hat keinen Platz dafür: Der nächste Besuch lädt es noch einmal herunter.",
    madeRoom: (count) =>
      count === 1
        ? "Ein unbenutztes Modell hat ihm Platz gemacht."
        : `${count} unbenutzte Modelle haben ihm Platz gemacht.`,
    doesNotChat: (model) => `${model} unterhält sich nicht`,
    encoder:
      "Es ist ein Embedding-Modell: Es macht aus Texten Vektoren, um sie zu suchen und zu vergleichen. Dateien, die Sie an einen Chat hängen, werden damit durchsucht, und Programme fragen es auf dieser Seite mit window.transom.embed(texts).",
    choose: "Modell wählen",
    noModelYet: "Noch kein Modell",
    onServer:
      "Diese liegen auf diesem Server. Die Modelle laufen in Ihrem Browser, auf diesem Gerät.",
    inBrowser: "Kein Server antwortet. Diese sind in diesem Browser und brauchen keinen.",
    compileOne:
      "Übersetzen Sie eines mit „transom compile DATEI.gguf --name NAME“ und öffnen Sie dann diese Seite mit ?model=NAME.",
    loadAllTheSame: "Trotzdem laden",
    chooseOther: "Ein Modell wählen",
    headlines: {
      "no-webgpu": "Dieser Browser hat kein WebGPU",
      "no-adapter": "Kein Grafikadapter",
      "no-service-worker": "Hier kann niemand antworten",
      "model-not-found": "Kein solches Modell",
      "digest-mismatch": "Eine Datei ist nicht, was sie sein soll",
      "device-lost": "Der Grafikadapter ist weg",
      "out-of-memory": "Zu wenig Grafikspeicher",
      "adapter-too-small": "Dieser Grafikadapter ist zu klein",
      network: "Das Herunterladen ist gescheitert",
    },
    failed: "Das ging nicht",
    suggestions: [
      "Was ist die Hauptstadt von Frankreich?",
      "Erkläre in zwei Sätzen, warum der Himmel blau ist.",
      "Schreibe ein Haiku über ein Fenster.",
    ],
  },
};
