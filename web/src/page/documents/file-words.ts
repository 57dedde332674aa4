/** What is said of files, in the person's language. */
import type { Attachment } from "../../chat/types.ts";
import { FileError, type FileProblem } from "../../documents/problems.ts";
import { formatBytes, formatWhole } from "../format.ts";
import { words } from "../i18n/words.ts";

/** One sentence that names the file and says what to do. */
export function describeFileError(error: unknown, name: string): string {
  const { documents } = words.value;
  if (!(error instanceof FileError)) {
    return documents.failed(name);
  }
  return documents.problems[error.reason](error.fileName, limitOf(error.reason, error.limit));
}

/** "PDF, 12 pages", "Word, 8,213 characters", "1344 × 1008". */
export function describeAttachment(attachment: Attachment): string {
  const { documents } = words.value;
  if (attachment.kind === "image") {
    return documents.pixels(attachment.width, attachment.height);
  }
  const much =
    attachment.pages > 0
      ? documents.pages(attachment.pages)
      : documents.characters(attachment.characters);
  return [kindOf(attachment.name), much, formatBytes(attachment.bytes)].map(isolated).join(" · ");
}

/** Words of two directions in one line: each keeps its own, and none turns its neighbour. */
function isolated(text: string): string {
  return `\u2068${text}\u2069`;
}

/** By its name: people know their files by that. */
function kindOf(name: string): string {
  const extension = /\.([^.]{1,5})$/.exec(name)?.[1]?.toUpperCase();
  return extension === undefined ? "Text" : extension === "DOCX" ? "Word" : extension;
}

function limitOf(reason: FileProblem, limit: number): string {
  const isBytes = reason === "too-large" || reason === "unpacks-too-large";
  return formatWhole(isBytes ? Math.round(limit / 2 ** 20) : limit);
}
