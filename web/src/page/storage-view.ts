/**
 * The storage section: models that this browser keeps, and files to bring in.
 *
 * Read when it is opened. Deleting asks once more, in place; the keyboard stays where it was.
 */
import type { Import } from "../client/engine-client.ts";
import { describe } from "../errors.ts";
import type {
  ImportProgress,
  ImportRequest,
  PickedFile,
  Storage,
  StoredModel,
} from "../protocol.ts";
import { byId, make } from "./dom.ts";
import { formatBytes } from "./format.ts";
import { describeModel, describeStorage, freedBytes } from "./storage-text.ts";

/** What the section can do; the engine's client does it. */
export interface StorageActions {
  stored(): Promise<Storage>;
  pin(id: string, isPinned: boolean): Promise<void>;
  remove(id: string): Promise<number>;
  import(request: ImportRequest, onProgress: (progress: ImportProgress) => void): Import;
  /** Where a stored model is loaded, null where this page cannot. */
  addressOf(id: string): string | null;
}

const section = byId("storage", HTMLDetailsElement);
const summary = byId("storage-summary", HTMLParagraphElement);
const list = byId("storage-models", HTMLUListElement);
const persistButton = byId("storage-persist", HTMLButtonElement);
const fileInput = byId("import-file", HTMLInputElement);
const folderInput = byId("import-folder", HTMLInputElement);
const importing = byId("importing", HTMLDivElement);
const importBar = byId("import-bar", HTMLProgressElement);
const importFigures = byId("import-figures", HTMLSpanElement);
const importStop = byId("import-stop", HTMLButtonElement);
const message = byId("storage-message", HTMLParagraphElement);

let running: Import | null = null;

export function openStorage(actions: StorageActions): void {
  const refresh = () => show(actions).catch(tell);
  section.addEventListener("toggle", () => {
    if (section.open) {
      void refresh();
    }
  });
  persistButton.addEventListener("click", () => {
    navigator.storage
      .persist()
      .then((isPersisted) => {
        if (!isPersisted) {
          tell("The browser decides by itself: use this page often, or add a bookmark.");
        }
        return show(actions);
      })
      .catch(tell);
  });
  for (const input of [fileInput, folderInput]) {
    input.addEventListener("change", () => {
      const files = [...(input.files ?? [])].map(picked);
      input.value = "";
      if (files.length > 0) {
        bringIn(actions, files).catch(tell).finally(refresh);
      }
    });
  }
  importStop.addEventListener("click", () => {
    running?.abort();
  });
}

/** Show what is stored now, where anybody looks. */
export async function refreshStorage(actions: StorageActions): Promise<void> {
  if (section.open) {
    await show(actions);
  }
}

async function show(actions: StorageActions): Promise<void> {
  const storage = await actions.stored();
  summary.textContent = describeStorage(storage);
  persistButton.hidden = storage.isPersisted || storage.models.length === 0;
  list.replaceChildren(...storage.models.map((model) => rowOf(model, actions)));
}

function rowOf(model: StoredModel, actions: StorageActions): HTMLLIElement {
  const row = make("li", "stored");
  const address = actions.addressOf(model.id);
  const name = make(address === null ? "span" : "a", "stored-name", model.name);
  if (name instanceof HTMLAnchorElement && address !== null) {
    name.href = address;
  }
  const text = make("div", "stored-text");
  text.append(name, make("span", "stored-note", describeModel(model, Date.now())));
  const pin = button("Pin", `Keep ${model.name} when room is made for others`);
  pin.setAttribute("aria-pressed", String(model.isPinned));
  pin.addEventListener("click", () => {
    const isPinned = pin.getAttribute("aria-pressed") !== "true";
    actions
      .pin(model.id, isPinned)
      .then(() => {
        pin.setAttribute("aria-pressed", String(isPinned));
        tell(isPinned ? `${model.name} stays.` : `${model.name} may leave.`);
      })
      .catch(tell);
  });
  const remove = button("Delete", `Delete ${model.name}`);
  remove.disabled = model.isInUse;
  const buttons = make("div", "stored-buttons");
  buttons.append(pin, remove);
  remove.addEventListener("click", () => {
    confirmIn(buttons, remove, `Delete ${formatBytes(freedBytes(model))}`, async () => {
      const freed = await actions.remove(model.id);
      tell(`${model.name} is deleted; ${formatBytes(freed)} are free.`);
      await show(actions);
      section.querySelector("summary")?.focus();
    });
  });
  row.append(text, buttons);
  return row;
}

/** Ask once more where the button was; Escape or "Cancel" brings it back. */
function confirmIn(
  buttons: HTMLElement,
  asked: HTMLElement,
  label: string,
  doIt: () => Promise<void>,
): void {
  const before = [...buttons.children];
  const yes = button(label, label);
  yes.classList.add("is-danger");
  const no = button("Cancel", "Cancel");
  const back = () => {
    buttons.replaceChildren(...before);
    asked.focus();
  };
  no.addEventListener("click", back);
  yes.addEventListener("click", () => {
    yes.disabled = no.disabled = true;
    doIt().catch((error: unknown) => {
      back();
      tell(error);
    });
  });
  for (const each of [yes, no]) {
    each.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        back();
      }
    });
  }
  buttons.replaceChildren(yes, no);
  no.focus();
}

async function bringIn(actions: StorageActions, files: readonly PickedFile[]): Promise<void> {
  if (running !== null) {
    throw new Error("An import is running already; wait for it, or stop it.");
  }
  importing.hidden = false;
  importBar.value = 0;
  importFigures.textContent = "Reading";
  tell("");
  try {
    running = actions.import({ files }, ({ file, doneBytes, totalBytes }) => {
      importBar.value = totalBytes === 0 ? 0 : doneBytes / totalBytes;
      importFigures.textContent = `${file}: ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
    });
    const imported = await running.done;
    navigator.storage.persist().catch(() => undefined);
    tell(`${imported.map(({ name }) => name).join(", ")}: here now.`);
  } finally {
    running = null;
    importing.hidden = true;
  }
}

/** A picked folder's files carry their paths; a single file has none. */
function picked(file: File): PickedFile {
  return { path: file.webkitRelativePath || file.name, content: file };
}

function button(text: string, label: string): HTMLButtonElement {
  const made = make("button", "quiet", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  return made;
}

function tell(what: unknown): void {
  message.textContent = typeof what === "string" ? what : describe(what);
}
