import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("de");
const number = (value: number) => formatNumber("de", value);
const counted = (count: number, one: string, other: string) =>
  `${number(count)} ${plural.select(count) === "one" ? one : other}`;

export const documents: Words["documents"] = {
  attach: "Anhängen",
  menu: "Was angehängt wird",
  files: "Dateien (Text, PDF, Word)",
  images: "Bilder",
  camera: "Foto aufnehmen",
  attached: "Angehängte Dateien",
  remove: (name) => `${name} entfernen`,
  reading: "Wird gelesen",
  readingShare: (percent) => `Wird gelesen, ${percent} %`,
  searching: (done, total) =>
    `Abschnitte werden für die Suche vorbereitet: ${number(done)} von ${number(total)}`,
  ready: (name) => `${name} ist angehängt.`,
  pages: (count) => counted(count, "Seite", "Seiten"),
  characters: (count) => counted(count, "Zeichen", "Zeichen"),
  page: (page) => `Seite ${number(page)}`,
  pixels: (width, height) => `${width} × ${height}`,
  drop: "Dateien hier ablegen",
  dropHint: "Text, PDF, Word und Bilder",
  openImage: (name) => `${name} öffnen`,
  imageGone: (name) => `${name} ist nicht mehr in diesem Browser.`,
  stays: "Dateien werden in diesem Browser gelesen und bleiben auf diesem Gerät.",
  goes: "Dateien werden in diesem Browser gelesen. Bilder und die Abschnitte, die zur Frage passen, gehen mit ihr an den Server.",
  cannotSee: (model) =>
    model === ""
      ? "Dieses Modell kann keine Bilder sehen. Wählen Sie eines, das es kann, oder entfernen Sie das Bild."
      : `${model} kann keine Bilder sehen. Wählen Sie ein Modell, das es kann, oder entfernen Sie das Bild.`,
  sources: "Quellen",
  sourcesOf: (count) => counted(count, "Quelle", "Quellen"),
  openSource: (position, name) => `Quelle ${position}: ${name}`,
  sourceNote: "Diese Abschnitte hat das Modell mit Ihrer Frage bekommen.",
  similarity: (percent) => `${percent} % ähnlich`,
  noEmbedding:
    "Die Abschnitte wurden nur nach Wörtern gefunden: Das Embedding-Modell ist gescheitert.",
  missing: (name) =>
    `${name} ist nicht mehr in diesem Browser; die Antwort kommt ohne diese Datei aus.`,
  tooMany: (most) =>
    `Zu einer Frage passen höchstens ${most} Dateien. Die übrigen wurden weggelassen.`,
  failed: (name) => `${name} konnte nicht gelesen werden.`,
  problems: {
    "too-large": (name, limit) => `${name} ist größer als ${limit} MB.`,
    empty: (name) => `${name} ist leer.`,
    "too-many-pages": (name, limit) =>
      `${name} hat mehr als ${limit} Seiten. Teilen Sie die Datei auf.`,
    "too-long": (name, limit) =>
      `${name} hat mehr als ${limit} Zeichen Text. Teilen Sie die Datei auf.`,
    "unknown-kind": (name) =>
      `${name} kann hier nicht gelesen werden. Text, PDF, Word (.docx) und Bilder können es.`,
    "unknown-encoding": (name) =>
      `${name} ist kein Text in UTF-8. Speichern Sie die Datei als UTF-8 und versuchen Sie es noch einmal.`,
    damaged: (name) => `${name} ist beschädigt oder unvollständig.`,
    encrypted: (name) =>
      `${name} ist durch ein Passwort geschützt. Speichern Sie die Datei ohne Passwort und versuchen Sie es noch einmal.`,
    "no-cmap": (name) =>
      `${name} ist in einer alten Kodierung, deren Tabelle über das Netz kommt. Verbinden Sie sich, und versuchen Sie es noch einmal.`,
    "no-text": (name) =>
      `${name} enthält keinen Text: Die Seiten sind Bilder. Hängen Sie sie als Bilder an, oder lassen Sie den Text erkennen.`,
    "unpacks-too-large": (name, limit) => `${name} ist entpackt größer als ${limit} MB.`,
    "too-many-pixels": (name, limit) => `${name} hat mehr als ${limit} Millionen Bildpunkte.`,
    "unknown-image": (name) => `${name} ist kein Bild, das dieser Browser lesen kann.`,
  },
};
