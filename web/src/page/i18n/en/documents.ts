import { formatNumber } from "../numbers.ts";

const plural = new Intl.PluralRules("en");
const number = (value: number) => formatNumber("en", value);
const counted = (count: number, one: string, other: string) =>
  `${number(count)} ${plural.select(count) === "one" ? one : other}`;

export const documents = {
  attach: "Attach",
  menu: "What to attach",
  files: "Files (text, PDF, Word)",
  images: "Images",
  camera: "Take a photo",
  attached: "Attached files",
  remove: (name: string) => `Remove ${name}`,
  reading: "Reading",
  readingShare: (percent: number) => `Reading, ${percent}%`,
  searching: (done: number, total: number) =>
    `Preparing passages for search: ${number(done)} of ${number(total)}`,
  ready: (name: string) => `${name} is attached.`,
  pages: (count: number) => counted(count, "page", "pages"),
  characters: (count: number) => counted(count, "character", "characters"),
  page: (page: number) => `page ${number(page)}`,
  pixels: (width: number, height: number) => `${width} × ${height}`,
  drop: "Drop files here",
  dropHint: "Text, PDF, Word and images",
  openImage: (name: string) => `Open ${name}`,
  imageGone: (name: string) => `${name} is not in this browser any more.`,
  stays: "Files are read in this browser and stay on this device.",
  goes: "Files are read in this browser. Images, and the passages that fit your question, go to the server with it.",
  cannotSee: (model: string) =>
    model === ""
      ? "This model cannot see images. Choose one that can, or remove the image."
      : `${model} cannot see images. Choose a model that can, or remove the image.`,
  sources: "Sources",
  sourcesOf: (count: number) => counted(count, "source", "sources"),
  openSource: (position: number, name: string) => `Source ${position}: ${name}`,
  sourceNote: "The model was given these passages with your question.",
  similarity: (percent: number) => `${percent}% similar`,
  noEmbedding: "Passages were found by words alone: the embedding model failed.",
  missing: (name: string) =>
    `${name} is not in this browser any more, so the answer is without it.`,
  tooMany: (most: number) => `A question takes at most ${most} files. The others were left out.`,
  failed: (name: string) => `${name} could not be read.`,
  problems: {
    "too-large": (name: string, limit: string) => `${name} is larger than ${limit} MB.`,
    empty: (name: string) => `${name} is empty.`,
    "too-many-pages": (name: string, limit: string) =>
      `${name} has more than ${limit} pages. Split it.`,
    "too-long": (name: string, limit: string) =>
      `${name} has more than ${limit} characters of text. Split it.`,
    "unknown-kind": (name: string) =>
      `${name} cannot be read here. Text, PDF, Word (.docx) and images can.`,
    "unknown-encoding": (name: string) =>
      `${name} is not UTF-8 text. Save it as UTF-8 and try again.`,
    damaged: (name: string) => `${name} is damaged or incomplete.`,
    encrypted: (name: string) =>
      `${name} is protected by a password. Save it without one and try again.`,
    "no-cmap": (name: string) =>
      `${name} is in an old encoding, whose table comes over the network. Connect and try again.`,
    "no-text": (name: string) =>
      `${name} has no text: its pages are pictures. Attach them as images, or run text recognition.`,
    "unpacks-too-large": (name: string, limit: string) =>
      `${name} unpacks to more than ${limit} MB.`,
    "too-many-pixels": (name: string, limit: string) =>
      `${name} has more than ${limit} million pixels.`,
    "unknown-image": (name: string) => `${name} is no image that this browser can read.`,
  },
};
