import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("de");

export const storage: Words["storage"] = {
  title: "Speicher dieses Browsers",
  none: "In diesem Browser liegt noch kein Modell.",
  kept: (n) =>
    plural.select(n) === "one"
      ? "Ein Modell liegt in diesem Browser."
      : `${n} Modelle liegen in diesem Browser.`,
  inUse: (used, quota) => `${used} von ${quota} sind belegt.`,
  staying: "Modelle bleiben, bis Sie sie löschen.",
  leaving: "Der Browser darf Modelle entfernen, wenn der Datenträger voll ist.",
  used: (part) => `${part} belegt`,
  models: "Modelle in diesem Browser",
  keepModels: "Modelle behalten",
  keepModelsText: "Den Browser bitten, sie nicht von sich aus zu entfernen.",
  browserDecides:
    "Der Browser entscheidet selbst: Nutze diese Seite oft oder setze ein Lesezeichen.",
  persisted: "Der Browser behält Modelle, bis Sie sie löschen.",
  incomplete: (done, total) => `unvollständig: ${done} von ${total}`,
  shared: (total, shared) => `${total}, davon ${shared} geteilt`,
  beingLoaded: "wird gerade geladen",
  usedRecently: "in den letzten 24 Stunden benutzt",
  usedYesterday: "gestern benutzt",
  usedDaysAgo: (days) => `vor ${days} Tagen benutzt`,
  order:
    "Wird Platz gebraucht, geht zuerst das Modell, das am längsten nicht benutzt wurde. Angeheftete und gerade benutzte gehen nie.",
  goesFirst: "geht zuerst, wenn Platz gebraucht wird",
  goesAs: (place) => `geht als Nummer ${place}, wenn Platz gebraucht wird`,
  stays: "bleibt",
  pin: "Anheften",
  pinOf: (name) => `${name} behalten, wenn für andere Platz gemacht wird`,
  pinned: (name) => `${name} bleibt.`,
  unpinned: (name) => `${name} darf gehen.`,
  delete: "Löschen",
  deleteOf: (name) => `${name} löschen`,
  deleteYes: (bytes) => `${bytes} löschen`,
  deleteShared: (bytes) => `${bytes} bleiben, weil andere Modelle sie brauchen.`,
  cancel: "Abbrechen",
  deleted: (name, bytes) => `${name} ist gelöscht; ${bytes} sind frei.`,
  resume: "Fortsetzen",
  resumeOf: (name) => `Download von ${name} fortsetzen`,
  importFile: "Datei importieren",
  importFolder: "Ordner importieren",
  imported: (names) => `${names}: jetzt hier.`,
};
