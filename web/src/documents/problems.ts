/**
 * What can be wrong with a file that somebody brings, as an error with a reason.
 *
 * The message is one English sentence that names the file; the page says the same in the person's
 * language by `reason`, `fileName` and `limit`.
 */

export type FileProblem =
  /** More bytes than are read; `limit` is in bytes. */
  | "too-large"
  /** Nothing is in it. */
  | "empty"
  /** More pages than are read; `limit` is their number. */
  | "too-many-pages"
  /** More characters than are read; `limit` is their number. */
  | "too-long"
  /** Neither text nor a format that is read here. */
  | "unknown-kind"
  /** Text, but neither UTF-8 nor UTF-16 with its mark. */
  | "unknown-encoding"
  /** It ends early, or is not what its name says. */
  | "damaged"
  /** It opens with a password only. */
  | "encrypted"
  /** Its text is in an encoding whose table could not be fetched from this page's host. */
  | "no-cmap"
  /** Pages without text: pictures of paper. */
  | "no-text"
  /** A zip that unpacks to more than is read; `limit` is in bytes. */
  | "unpacks-too-large"
  /** An image of more pixels than are decoded; `limit` is in millions of them. */
  | "too-many-pixels"
  /** An image that this browser does not decode. */
  | "unknown-image";

const SENTENCES: Readonly<Record<FileProblem, (file: string, limit: number) => string>> = {
  "too-large": (file, limit) => `${file} is larger than ${inMegabytes(limit)} MB.`,
  empty: (file) => `${file} is empty.`,
  "too-many-pages": (file, limit) => `${file} has more than ${limit} pages. Split it.`,
  "too-long": (file, limit) => `${file} has more than ${limit} characters of text. Split it.`,
  "unknown-kind": (file) => `${file} cannot be read here. Text, PDF, Word (.docx) and images can.`,
  "unknown-encoding": (file) => `${file} is not UTF-8 text. Save it as UTF-8 and try again.`,
  damaged: (file) => `${file} is damaged or incomplete.`,
  encrypted: (file) => `${file} is protected by a password. Save it without one and try again.`,
  "no-cmap": (file) =>
    `${file} is in an old encoding, whose table comes over the network. Connect and try again.`,
  "no-text": (file) =>
    `${file} has no text: its pages are pictures. Attach them as images, or run text recognition.`,
  "unpacks-too-large": (file, limit) => `${file} unpacks to more than ${inMegabytes(limit)} MB.`,
  "too-many-pixels": (file, limit) => `${file} has more than ${limit} million pixels.`,
  "unknown-image": (file) => `${file} is no image that this browser can read.`,
};

export class FileError extends Error {
  override readonly name = "FileError";
  readonly reason: FileProblem;
  readonly fileName: string;
  /** Of what is said at `reason`; 0 where there is none. */
  readonly limit: number;

  constructor(reason: FileProblem, fileName: string, limit = 0, options?: ErrorOptions) {
    super(SENTENCES[reason](fileName, limit), options);
    this.reason = reason;
    this.fileName = fileName;
    this.limit = limit;
  }
}

/** Binary megabytes, as the limits are made. */
function inMegabytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
