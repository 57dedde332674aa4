import type { Words } from "../words.ts";

export const sidebar: Words["sidebar"] = {
  title: "Gespräche",
  newChat: "Neuer Chat",
  untitled: "Neues Gespräch",
  search: "Gespräche durchsuchen",
  clearSearch: "Suche leeren",
  groups: {
    pinned: "Angeheftet",
    today: "Heute",
    yesterday: "Gestern",
    week: "Letzte 7 Tage",
    earlier: "Früher",
  },
  empty: "Was Sie fragen, erscheint hier und wird in diesem Browser aufbewahrt.",
  found: (count) =>
    count === 0 ? "Nichts gefunden." : count === 1 ? "1 Gespräch" : `${count} Gespräche`,
  answering: "Eine Antwort wird geschrieben",
  pinned: "Angeheftet",
  keys: "Pfeiltasten bewegen, die Eingabetaste öffnet, F2 benennt um, Entf löscht.",
  more: (title) => `Mehr zu „${title}“`,
  rename: "Umbenennen",
  titleField: "Titel des Gesprächs",
  pin: "Anheften",
  unpin: "Lösen",
  exportMarkdown: "Als Markdown sichern",
  exportJson: "Als JSON sichern",
  delete: "Löschen",
  deleted: (count, title) =>
    count === 1 ? `„${title}“ gelöscht.` : `${count} Gespräche gelöscht.`,
  undo: "Rückgängig",
  library: "Gespräche sichern oder laden",
  exportAll: "Alle als JSON sichern",
  importFile: "Aus einer Datei laden",
  imported: (added, known) =>
    added === 0
      ? known === 0
        ? "In dieser Datei ist kein Gespräch."
        : "Alle Gespräche dieser Datei sind schon hier."
      : `${added === 1 ? "1 Gespräch" : `${added} Gespräche`} geladen.`,
  failed: "Das hat nicht geklappt:",
  notKept: {
    refused:
      "Dieser Browser bewahrt für diese Seite nichts auf. Gespräche sind weg, sobald Sie sie schließen; sichern Sie, was Sie brauchen.",
    full: "Auf diesem Gerät ist kein Platz mehr. Was ab jetzt gesagt wird, ist weg, sobald Sie diese Seite schließen: Löschen Sie etwas, oder sichern Sie, was Sie brauchen.",
    blocked:
      "In einem anderen Tab läuft eine ältere Version dieser App. Schließen Sie ihn, dann erscheinen Ihre Gespräche hier.",
    outdated:
      "In einem anderen Tab läuft eine neuere Version dieser App. Laden Sie diese Seite neu; was bis dahin gesagt wird, bleibt nicht erhalten.",
  },
  markdown: {
    untitled: "Gespräch",
    you: "Sie",
    model: "Modell",
    system: "System-Prompt",
    reasoning: "Überlegung",
    attachments: "Angehängt",
    sources: "Quellen",
    page: (number) => `Seite ${number}`,
    calls: (tool) => `Benutzt ${tool}`,
    returned: (tool) => `Ergebnis von ${tool}`,
    unfinished: "Diese Antwort wurde nicht fertig.",
  },
};
