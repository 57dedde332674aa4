/** Two file pickers: one for a file, one for a folder. */
import type { PickedFile } from "../../protocol.ts";

export interface FileChoicesProps {
  /** What the ids of the two begin with. */
  id: string;
  file: string;
  folder: string;
  isDisabled?: boolean;
  onPick: (files: readonly PickedFile[]) => void;
}

export function FileChoices({ id, file, folder, isDisabled = false, onPick }: FileChoicesProps) {
  const onChange = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement;
    const files = [...(input.files ?? [])].map(pickedFile);
    // The same file may be chosen again.
    input.value = "";
    if (files.length > 0) {
      onPick(files);
    }
  };
  return (
    <div class="buttons file-choices">
      <label class="quiet" for={`${id}-file`}>
        {file}
        <input
          class="hidden"
          id={`${id}-file`}
          type="file"
          accept=".gguf,.tar"
          disabled={isDisabled}
          onChange={onChange}
        />
      </label>
      <label class="quiet" for={`${id}-folder`}>
        {folder}
        <input
          class="hidden"
          id={`${id}-folder`}
          type="file"
          // Browsers know it by this name only.
          {...{ webkitdirectory: true }}
          disabled={isDisabled}
          onChange={onChange}
        />
      </label>
    </div>
  );
}

/** A picked folder's files carry their paths; a single file has none. */
function pickedFile(file: File): PickedFile {
  return { path: file.webkitRelativePath || file.name, content: file };
}
