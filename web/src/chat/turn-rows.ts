/**
 * Turns within a transaction, and what goes with them: a file stays for as long as a turn names it,
 * and a document's passages for as long as the file.
 */
import type { FileRow, PassagesRow, Rows, TurnRow } from "./rows.ts";
import type { Turn } from "./types.ts";

/** Files that no turn has any more, with their passages. */
export interface LoneFiles {
  files: readonly FileRow[];
  passages: readonly PassagesRow[];
}

export function putTurnRow(rows: Rows, turn: Turn): Promise<void> | void {
  const row = rowOf(turn);
  rows.put("turns", row);
  return row.files.length === 0 ? undefined : endDrafts(rows, row.files);
}

/** Files that came with a turn go with it. */
async function endDrafts(rows: Rows, files: readonly string[]): Promise<void> {
  for (const sha256 of files) {
    const file = await rows.get("files", sha256);
    if (file !== undefined && file.draftedAt !== null) {
      rows.put("files", { ...file, draftedAt: null });
    }
  }
}

export async function deleteTurnRows(rows: Rows, turns: readonly TurnRow[]): Promise<LoneFiles> {
  for (const { id } of turns) {
    rows.delete("turns", id);
  }
  return deleteLoneFiles(rows, new Set(turns.flatMap(({ files }) => files)));
}

/** Deletes those of the files that no turn has, with their passages; those of drafts only if asked to. */
export async function deleteLoneFiles(
  rows: Rows,
  digests: Iterable<string>,
  which: "no drafts" | "drafts too" = "no drafts",
): Promise<LoneFiles> {
  const files: FileRow[] = [];
  const passages: PassagesRow[] = [];
  for (const sha256 of digests) {
    const file = await rows.get("files", sha256);
    const isDraft = file !== undefined && file.draftedAt !== null;
    if (
      file === undefined ||
      (isDraft && which === "no drafts") ||
      (await rows.turnsWith(sha256)).length > 0
    ) {
      continue;
    }
    files.push(file);
    rows.delete("files", sha256);
    for (const row of await rows.passagesOf(sha256)) {
      passages.push(row);
      rows.delete("passages", [row.sha256, row.model]);
    }
  }
  return { files, passages };
}

export function rowOf(turn: Turn): TurnRow {
  return { ...turn, files: [...new Set(turn.attachments.map(({ sha256 }) => sha256))] };
}

export function turnOf(row: TurnRow): Turn {
  const turn: Partial<TurnRow> = { ...row };
  delete turn.files;
  return turn as Turn;
}
