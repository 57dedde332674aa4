/** Files that are dropped on the page, or pasted into it. */
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import "./documents.css";

/**
 * Hears drops and pastes on the element; true while files hover above it.
 *
 * A file that misses the element would be opened instead of the page, so drops elsewhere are refused.
 */
export function useFileDrop(
  target: RefObject<HTMLElement | null>,
  onFiles: (files: readonly File[]) => void,
): boolean {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const element = target.current;
    if (element === null) {
      return;
    }
    // Each child that is entered and left tells; the last leaving is the one that counts.
    let depth = 0;
    const enter = (event: DragEvent) => {
      if (hasFiles(event.dataTransfer)) {
        event.preventDefault();
        depth += 1;
        setOver(true);
      }
    };
    const leave = (event: DragEvent) => {
      if (hasFiles(event.dataTransfer)) {
        depth = Math.max(0, depth - 1);
        setOver(depth > 0);
      }
    };
    const over = (event: DragEvent) => {
      if (hasFiles(event.dataTransfer) && event.dataTransfer !== null) {
        event.preventDefault();
        const isHere = event.target instanceof Node && element.contains(event.target);
        event.dataTransfer.dropEffect = isHere ? "copy" : "none";
      }
    };
    const drop = (event: DragEvent) => {
      depth = 0;
      setOver(false);
      if (!hasFiles(event.dataTransfer)) {
        return;
      }
      event.preventDefault();
      if (event.target instanceof Node && element.contains(event.target)) {
        take(filesOf(event.dataTransfer), onFiles);
      }
    };
    const paste = (event: ClipboardEvent) => {
      const data = event.clipboardData;
      // Word and spreadsheets put a picture of the text beside it; then the text is meant.
      if (data !== null && data.files.length > 0 && data.getData("text/plain") === "") {
        event.preventDefault();
        take([...data.files], onFiles);
      }
    };
    element.addEventListener("dragenter", enter);
    element.addEventListener("dragleave", leave);
    element.addEventListener("paste", paste);
    document.addEventListener("dragover", over);
    document.addEventListener("drop", drop);
    return () => {
      element.removeEventListener("dragenter", enter);
      element.removeEventListener("dragleave", leave);
      element.removeEventListener("paste", paste);
      document.removeEventListener("dragover", over);
      document.removeEventListener("drop", drop);
    };
  }, [onFiles]);
  return isOver;
}

/** What lies over the page while files hover above it. */
export function DropOverlay({ isOver }: { isOver: boolean }) {
  const { documents } = words.value;
  return isOver ? (
    <div class="drop-overlay" aria-hidden="true">
      <p class="drop-words">
        <Icon name="attach" />
        <strong>{documents.drop}</strong>
        <span>{documents.dropHint}</span>
      </p>
    </div>
  ) : null;
}

function hasFiles(data: DataTransfer | null): boolean {
  return data?.types.includes("Files") ?? false;
}

/** Folders come as files that cannot be read; they are left out. */
function filesOf(data: DataTransfer | null): File[] {
  const items = [...(data?.items ?? [])].filter(({ kind }) => kind === "file");
  const isFolder = items.map((item) => item.webkitGetAsEntry()?.isDirectory ?? false);
  return [...(data?.files ?? [])].filter((_, index) => isFolder[index] !== true);
}

function take(files: readonly File[], onFiles: (files: readonly File[]) => void): void {
  if (files.length > 0) {
    onFiles(files);
  }
}
