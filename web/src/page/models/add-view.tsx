/** Two ways to more models: from a registry or an address, and from a file of this device. */
import { useState } from "preact/hooks";

import { wholeName } from "../../client/model-name.ts";
import { type Pasted, nameOfFile, readPasted } from "../../client/pull-name.ts";
import type { PickedFile } from "../../protocol.ts";
import { thrownText } from "../error-text.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { readDropped } from "./dropped-files.ts";
import { FileChoices } from "./file-choices.tsx";
import type { ModelsActions, ModelsState } from "./models-types.ts";
import { bytesText, wrongPasteText } from "./models-words.ts";

export interface AddViewProps {
  state: Pick<ModelsState, "host" | "hostName">;
  actions: Pick<ModelsActions, "pull" | "downloadBundle" | "create" | "bringIn">;
}

export function AddView({ state, actions }: AddViewProps) {
  return (
    <div class="add-models">
      <PullForm state={state} actions={actions} />
      <FileForm state={state} actions={actions} />
    </div>
  );
}

function PullForm({ state, actions }: AddViewProps) {
  const said = words.value.models;
  const [text, setText] = useState("");
  const [wasTried, setTried] = useState(false);
  const pasted = readPasted(text, document.baseURI);
  const isServer = state.host === "server";
  const wrong = wrongText(pasted, isServer);
  const isWrong = wasTried && wrong !== null;
  return (
    <section class="card add-part" aria-labelledby="add-pull-title">
      <h2 class="models-heading" id="add-pull-title">
        {said.pullTitle}
      </h2>
      <form
        class="pull-form"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (wrong !== null) {
            setTried(true);
            document.getElementById("pull-name")?.focus();
            return;
          }
          if (pasted.kind === "bundle") {
            actions.downloadBundle(pasted.url);
          } else if (pasted.kind !== "wrong") {
            actions.pull(pasted.kind === "file" ? pasted.url : pasted.model);
          }
          setText("");
          setTried(false);
        }}
      >
        <div class="field">
          <label for="pull-name">{said.pullLabel}</label>
          <div class="pull-line">
            <input
              id="pull-name"
              type="text"
              dir="ltr"
              value={text}
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              aria-describedby="pull-hint pull-says"
              aria-invalid={isWrong}
              onInput={({ currentTarget }) => {
                setText(currentTarget.value);
              }}
            />
            <button class="primary" type="submit">
              {said.pull}
            </button>
          </div>
          <p class={isWrong ? "field-error" : "field-hint"} id="pull-says" role="status">
            {isWrong ? wrong : pullsText(pasted)}
          </p>
          <p class="field-hint" id="pull-hint">
            {isServer ? said.pullHint(state.hostName) : said.pullHintStatic}
          </p>
        </div>
      </form>
    </section>
  );
}

function FileForm({ state, actions }: AddViewProps) {
  const said = words.value.models;
  const [isOver, setOver] = useState(false);
  const [message, setMessage] = useState("");
  const [file, setFile] = useState<File | null>(null);
  const keepHere = (files: readonly PickedFile[]) => {
    setFile(null);
    actions.bringIn(files).then(
      (names) => {
        setMessage(words.value.storage.imported(names.join(", ")));
      },
      (failure: unknown) => {
        setMessage(thrownText(failure));
      },
    );
  };
  const take = (files: readonly PickedFile[] | "too-many") => {
    setMessage("");
    if (files === "too-many") {
      setMessage(said.tooManyFiles);
      return;
    }
    const [first, ...others] = files;
    if (first === undefined) {
      return;
    }
    if (others.length > 0 && files.some(({ path }) => !path.includes("/"))) {
      setMessage(said.onlyOneFile);
      return;
    }
    const { content, path } = first;
    const isGguf = others.length === 0 && /\.gguf$/i.test(path) && content instanceof File;
    if (isGguf && state.host === "server") {
      setFile(content);
    } else {
      keepHere(files);
    }
  };
  return (
    <section class="card add-part" aria-labelledby="add-file-title">
      <h2 class="models-heading" id="add-file-title">
        {said.fileTitle}
      </h2>
      {file === null ? (
        <div
          class={`drop-zone${isOver ? " is-over" : ""}`}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => {
            setOver(false);
          }}
          onDrop={(event) => {
            event.preventDefault();
            setOver(false);
            const items = [...(event.dataTransfer?.items ?? [])];
            readDropped(items).then(take, (failure: unknown) => {
              setMessage(thrownText(failure));
            });
          }}
        >
          <Icon name="upload" />
          <p class="drop-title">{isOver ? said.dropNow : said.drop}</p>
          <p class="models-aside">{said.dropHint}</p>
          <FileChoices id="add" file={said.chooseFile} folder={said.chooseFolder} onPick={take} />
        </div>
      ) : (
        <FileChoice
          file={file}
          hostName={state.hostName}
          onKeep={() => {
            keepHere([{ path: file.name, content: file }]);
          }}
          onSend={(name) => {
            setFile(null);
            actions.create(file, name);
          }}
          onAnother={() => {
            setFile(null);
          }}
        />
      )}
      <p class="models-message" role="status">
        {message}
      </p>
    </section>
  );
}

interface FileChoiceProps {
  file: File;
  hostName: string;
  onKeep: () => void;
  onSend: (name: string) => void;
  onAnother: () => void;
}

/** A GGUF where there is a server: nothing leaves this device before somebody says so. */
function FileChoice({ file, hostName, onKeep, onSend, onAnother }: FileChoiceProps) {
  const said = words.value.models;
  const [name, setName] = useState(nameOfFile(file.name));
  const [wasTried, setTried] = useState(false);
  const isWrong = wholeName(name) === null;
  return (
    <div class="file-choice">
      <p class="file-picked">
        <Icon name="document" />
        <span>{said.picked(file.name, bytesText(file.size))}</span>
        <button class="link-button" type="button" onClick={onAnother}>
          {said.another}
        </button>
      </p>
      <p class="models-aside" id="file-what">
        {said.whatNow}
      </p>
      <div class="file-ways" role="group" aria-labelledby="file-what">
        <div class="file-way">
          <h3>{said.keepHere}</h3>
          <p class="models-aside">{said.keepHereText}</p>
          <button class="primary" type="button" onClick={onKeep}>
            {said.keep}
          </button>
        </div>
        <form
          class="file-way"
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            setTried(true);
            if (!isWrong) {
              onSend(name);
            }
          }}
        >
          <h3>{said.sendThere(hostName)}</h3>
          <p class="models-aside">{said.sendThereText}</p>
          <div class="field">
            <label for="file-name">{said.nameLabel}</label>
            <input
              id="file-name"
              type="text"
              dir="ltr"
              value={name}
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              aria-describedby="file-name-hint"
              aria-invalid={wasTried && isWrong}
              onInput={({ currentTarget }) => {
                setName(currentTarget.value);
              }}
            />
            <p class={wasTried && isWrong ? "field-error" : "field-hint"} id="file-name-hint">
              {wasTried && isWrong ? said.nameWrong : said.nameHint}
            </p>
          </div>
          <button class="quiet" type="submit">
            {said.send}
          </button>
        </form>
      </div>
    </div>
  );
}

/** Null where it can be done. */
function wrongText(pasted: Pasted, isServer: boolean): string | null {
  const said = words.value.models;
  if (pasted.kind === "wrong") {
    return wrongPasteText(pasted.reason);
  }
  return pasted.kind === "bundle" || isServer ? null : said.wrongStatic;
}

/** What will happen, while somebody types. */
function pullsText(pasted: Pasted): string {
  const said = words.value.models;
  switch (pasted.kind) {
    case "wrong":
      return "";
    case "file":
      return said.pullWillFile(pasted.url);
    case "bundle":
      return said.pullWillBundle(pasted.url);
    case "name":
      return pasted.registry === null
        ? said.pullWillHere(pasted.model)
        : said.pullWill(pasted.model.slice(pasted.registry.length + 1), pasted.registry);
  }
}
