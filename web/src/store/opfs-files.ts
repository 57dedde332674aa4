/** Files on the origin's private file system: read, written as a whole, and removed. */
import type { Bytes } from "./verify.ts";

export const CREATE = { create: true } as const;

/** Null where there is none, or an empty one. */
export async function open(folder: FileSystemDirectoryHandle, name: string): Promise<Blob | null> {
  try {
    const file = await (await folder.getFileHandle(name)).getFile();
    // Empty: its visit ended before there was anything to put under the name.
    return file.size === 0 ? null : file;
  } catch (error) {
    return missing(error, null);
  }
}

export async function read(folder: FileSystemDirectoryHandle, name: string): Promise<Bytes | null> {
  try {
    const file = await open(folder, name);
    return file === null ? null : new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    // Another tab may have removed it in between.
    return missing(error, null);
  }
}

/** The file is there as a whole or as it was before. */
export async function write(
  folder: FileSystemDirectoryHandle,
  name: string,
  content: Bytes | ReadableStream<Bytes>,
): Promise<void> {
  const stream = await (await folder.getFileHandle(name, CREATE)).createWritable();
  try {
    if (content instanceof ReadableStream) {
      await content.pipeTo(stream);
    } else {
      await stream.write(content);
      await stream.close();
    }
  } catch (error) {
    await stream.abort().catch(() => undefined);
    // The name was made before there was anything to put under it; another tab may have filled it.
    if ((await open(folder, name)) === null) {
      await remove(folder, name);
    }
    throw error;
  }
}

/** What another tab has open stays. */
export async function remove(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await folder.removeEntry(name, { recursive: true });
  } catch (error) {
    if (!(error instanceof DOMException && error.name === "NoModificationAllowedError")) {
      missing(error, undefined);
    }
  }
}

/** What is not there is no error here. */
export function missing<T>(error: unknown, instead: T): T {
  if (error instanceof DOMException && error.name === "NotFoundError") {
    return instead;
  }
  throw error;
}
