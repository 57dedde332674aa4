/** Files that somebody drops: one file, or one folder with all that is in it. */
import type { PickedFile } from "../../protocol.ts";

/** A model is tens of files; a folder of many more is somebody's home by mistake. */
export const MAX_FILES = 2000;
const MAX_DEPTH = 8;

/** @returns "too-many" where it is no model's folder. */
export async function readDropped(
  items: readonly DataTransferItem[],
): Promise<PickedFile[] | "too-many"> {
  // They have to be taken before the event is over.
  const dropped = items
    .filter(({ kind }) => kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const entries = dropped.map(({ entry }) => entry).filter((entry) => entry !== null);
  // What has no place in a file system is a file all the same.
  const files: PickedFile[] = dropped.flatMap(({ entry, file }) =>
    entry === null && file !== null ? [{ path: file.name, content: file }] : [],
  );
  const walk = async (entry: FileSystemEntry, path: string, depth: number): Promise<boolean> => {
    if (isFile(entry)) {
      files.push({ path: path + entry.name, content: await fileOf(entry) });
      return files.length <= MAX_FILES;
    }
    if (!isDirectory(entry) || depth >= MAX_DEPTH) {
      return false;
    }
    for (const child of await childrenOf(entry)) {
      if (!(await walk(child, `${path}${entry.name}/`, depth + 1))) {
        return false;
      }
    }
    return true;
  };
  for (const entry of entries) {
    if (!(await walk(entry, "", 0))) {
      return "too-many";
    }
  }
  return files;
}

function isFile(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}

function isDirectory(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => {
    entry.file(resolve, reject);
  });
}

/** Browsers give a hundred at a time, and none at the end. */
async function childrenOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => {
      reader.readEntries(resolve, reject);
    });
    if (some.length === 0 || all.length > MAX_FILES) {
      return all;
    }
    all.push(...some);
  }
}
