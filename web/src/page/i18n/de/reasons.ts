import type { Words } from "../words.ts";

export const reasons: Words["reasons"] = {
  place: {
    chosen: "wie gewählt",
    "on-device": "Modelle laufen auf diesem Gerät",
    "no-server": "hinter dieser Seite ist kein Server",
    "no-adapter": "dieser Browser hat keine Grafikkarte für Modelle",
    processor: "es gibt weder Grafikkarte noch Server",
    "no-page": "in diesem Browser ist keine Seite von Transom offen",
    "not-reached": "der Server ist nicht erreichbar",
    closed: "die Seite, die geantwortet hat, wurde geschlossen",
    late: "es dauert länger, als Browser warten",
    files: "er bewahrt die Dateien der Modelle auf",
    "too-large": "die Anfrage ist zu groß",
    leaving: "eine neuere Version der Seite übernimmt",
  },
  briefly: {
    "no-webgpu": "hier gibt es kein WebGPU",
    "no-adapter": "hier gibt es keine Grafikkarte für WebGPU",
    "no-service-worker": "er hat keinen Service Worker",
    "adapter-too-small": "die Grafikkarte ist zu klein",
    "model-not-found": "das Modell ist hier nicht",
    "no-variant": "das Modell gibt es nicht für diese Grafikkarte",
    network: "das Herunterladen ist gescheitert",
    "digest-mismatch": "eine Datei ist beschädigt",
    "context-overflow": "das Gespräch ist zu lang für das Modell",
    busy: "zu viele Anfragen warten",
    "device-lost": "die Grafikkarte ging verloren",
    "gpu-error": "die Grafikkarte meldet einen Fehler",
    "out-of-memory": "der Grafikspeicher reicht nicht",
    "no-room": "es ist kein Platz im Browser",
    "engine-crashed": "die Engine ist abgestürzt",
    "not-loaded": "das Modell ist nicht geladen",
  },
  errors: {
    "no-webgpu": "Dieser Browser hat kein WebGPU.",
    "no-adapter": "Der Browser findet keine Grafikkarte für WebGPU.",
    "no-service-worker":
      "Dieser Browser lässt der Seite keinen Service Worker, durch den Antworten kommen.",
    "adapter-too-small": "Diese Grafikkarte ist zu klein für das Modell.",
    "no-model": "Es ist kein Modell gewählt.",
    "model-not-found": "Dieses Modell ist nicht zu finden.",
    "no-variant": "Das Modell hat keine Dateien für dieses Gerät.",
    network: "Die Verbindung ist gescheitert oder abgebrochen.",
    "digest-mismatch": "Eine Datei ist unterwegs beschädigt worden.",
    "invalid-index": "Das Verzeichnis des Modells ist fehlerhaft.",
    "invalid-manifest": "Das Manifest des Modells ist fehlerhaft.",
    "invalid-bundle": "Die Dateien des Modells sind fehlerhaft.",
    "context-overflow": "Das Gespräch ist länger als das Kontextfenster des Modells.",
    "invalid-request": "Diese Anfrage geht so nicht.",
    "not-loaded": "Das Modell ist nicht geladen.",
    busy: "Gerade warten zu viele Anfragen; versuchen Sie es gleich noch einmal.",
    aborted: "Angehalten.",
    "device-lost": "Die Grafikkarte ging verloren; das Modell wird neu geladen.",
    "gpu-error": "Die Grafikkarte meldet einen Fehler.",
    "out-of-memory": "Der Speicher reicht nicht.",
    "no-room": "Der Platz in diesem Browser reicht nicht.",
    "engine-crashed": "Die Engine ist abgestürzt.",
    internal: "Etwas ist schiefgegangen.",
  },
  detailed: {
    "adapter-too-small": ({ limitBytes, tensor, neededBytes }) =>
      `Diese Grafikkarte nimmt Puffer von höchstens ${limitBytes}; ${tensor} des Modells hat ${neededBytes}.`,
    "out-of-memory": ({ neededBytes, budgetBytes, ...facts }) =>
      "fileBytes" in facts
        ? `Das Modell hat ${facts.fileBytes}; auf dem Prozessor führt eine Seite Modelle bis ${facts.mostBytes} aus. Wählen Sie ein kleineres, oder einen Browser mit WebGPU.`
        : `Das Modell braucht etwa ${neededBytes} Grafikspeicher, und da sind etwa ${budgetBytes}. Wählen Sie ein kleineres Modell, oder laden Sie es trotzdem.`,
    "no-room": ({ missingBytes, roomBytes }) =>
      `Dieser Browser hat keinen Platz, um das Modell zu behalten: ${missingBytes} kommen noch, und Platz ist für ${roomBytes}. Mache Speicher frei, oder entferne angeheftete Modelle.`,
  },
};
