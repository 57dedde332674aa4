import { formatNumber } from "../numbers.ts";
import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("de");
const number = (value: number) => formatNumber("de", value);

export const markdown: Words["markdown"] = {
  copy: "Kopieren",
  copyCode: (language) => (language === "" ? "Code kopieren" : `${language}-Code kopieren`),
  copied: "Kopiert",
  notCopied:
    "Der Browser hat das Kopieren nicht erlaubt. Markieren Sie den Text und kopieren Sie ihn von Hand.",
  code: (language) => (language === "" ? "Code" : `Code, ${language}`),
  plainCode: "Text",
  image: (description) => (description === "" ? "Bild" : `Bild: ${description}`),
  table: (rows) => `Tabelle, ${number(rows)} ${plural.select(rows) === "one" ? "Zeile" : "Zeilen"}`,
  showAllRows: (rows) => `Alle ${number(rows)} Zeilen zeigen`,
  moreRows: (rows) =>
    plural.select(rows) === "one"
      ? "1 weitere Zeile wird nicht gezeigt"
      : `${number(rows)} weitere Zeilen werden nicht gezeigt`,
  done: "Erledigt",
  notDone: "Nicht erledigt",
  source: (index, name) => `Quelle ${index}: ${name}`,
  sourceOnPage: (index, name, page) => `Quelle ${index}: ${name}, Seite ${page}`,
  directionMarks: "Enthält unsichtbare Zeichen, die die Schreibrichtung ändern",
};
