import { formatNumber } from "../numbers.ts";

const plural = new Intl.PluralRules("en");
const number = (value: number) => formatNumber("en", value);

export const markdown = {
  copy: "Copy",
  copyCode: (language: string) => (language === "" ? "Copy code" : `Copy ${language} code`),
  copied: "Copied",
  notCopied: "The browser did not allow copying. Select the text and copy it by hand.",
  code: (language: string) => (language === "" ? "Code" : `Code, ${language}`),
  plainCode: "Text",
  /** What an image shows; "": nobody said. */
  image: (description: string) => (description === "" ? "Image" : `Image: ${description}`),
  table: (rows: number) =>
    `Table, ${number(rows)} ${plural.select(rows) === "one" ? "row" : "rows"}`,
  showAllRows: (rows: number) => `Show all ${number(rows)} rows`,
  moreRows: (rows: number) =>
    `${number(rows)} more ${plural.select(rows) === "one" ? "row is" : "rows are"} not shown`,
  done: "Done",
  notDone: "Not done",
  source: (index: number, name: string) => `Source ${index}: ${name}`,
  sourceOnPage: (index: number, name: string, page: number) =>
    `Source ${index}: ${name}, page ${page}`,
  directionMarks: "Holds invisible marks that change the direction of text",
};
