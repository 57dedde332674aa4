/** Gives the person a file, where their browser puts downloads. */
export function saveFile(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser has it by then, or has asked where it goes.
  setTimeout(() => {
    URL.revokeObjectURL(link.href);
  }, 60_000);
}
