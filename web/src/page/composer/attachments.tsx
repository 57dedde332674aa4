/** Files beside the question: the button that brings them, and the list of those that are here. */
import { useRef } from "preact/hooks";

import { DOCUMENT_TYPES, IMAGE_TYPES } from "../../documents/file-kind.ts";
import { type DraftFile, MOST_FILES } from "../documents/draft-files.ts";
import { describeAttachment, describeFileError } from "../documents/file-words.ts";
import { useObjectUrl } from "../documents/object-url.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { Menu } from "../ui/menu.tsx";
import "./attachments.css";

export interface AttachButtonProps {
  onFiles: (files: readonly File[]) => void;
  /** This device has a camera that `<input capture>` opens; phones and tablets do. */
  hasCamera?: boolean;
}

/** A menu of files, images and, where there is one, the camera. */
export function AttachButton({ onFiles, hasCamera = isHandheld() }: AttachButtonProps) {
  const { documents } = words.value;
  const files = useRef<HTMLInputElement>(null);
  const images = useRef<HTMLInputElement>(null);
  const camera = useRef<HTMLInputElement>(null);
  const take = ({ currentTarget: input }: { currentTarget: HTMLInputElement }) => {
    onFiles([...(input.files ?? [])]);
    // So that the same file can be chosen again.
    input.value = "";
  };
  return (
    <div class="attach">
      <Menu
        label={documents.attach}
        items={[
          {
            label: documents.files,
            icon: "document",
            onChoose: () => files.current?.click(),
          },
          { label: documents.images, icon: "image", onChoose: () => images.current?.click() },
          ...(hasCamera
            ? [
                {
                  label: documents.camera,
                  icon: "camera" as const,
                  onChoose: () => camera.current?.click(),
                },
              ]
            : []),
        ]}
      >
        <Icon name="attach" />
      </Menu>
      <input
        id="attach-files"
        ref={files}
        type="file"
        hidden
        multiple
        accept={DOCUMENT_TYPES}
        onChange={take}
      />
      <input
        id="attach-images"
        ref={images}
        type="file"
        hidden
        multiple
        accept={IMAGE_TYPES}
        onChange={take}
      />
      <input
        id="attach-camera"
        ref={camera}
        type="file"
        hidden
        accept="image/*"
        capture="environment"
        onChange={take}
      />
    </div>
  );
}

/** A finger is what points best: other devices show a file picker for a camera. */
function isHandheld(): boolean {
  return typeof matchMedia === "function" && matchMedia("(pointer: coarse)").matches;
}

export interface AttachmentListProps {
  items: readonly DraftFile[];
  onRemove: (key: string) => void;
  /** Whether the model sees images; null: nobody knows. */
  canSee: boolean | null;
  /** As people call the model; "" where none is open. */
  model: string;
  /** Who answers: what is said of privacy depends on it. */
  where: "browser" | "server";
  /** More were brought than a question takes. */
  isOverfull?: boolean;
  /** Passages that are being embedded; null: none are. */
  searching?: { done: number; total: number } | null;
}

/** Nothing while there are no files. */
export function AttachmentList(props: AttachmentListProps) {
  const { items, canSee, where, isOverfull = false, searching = null } = props;
  const { documents } = words.value;
  if (items.length === 0 && searching === null) {
    return null;
  }
  const hasImages = items.some(
    ({ state }) => state.kind === "ready" && state.attachment.kind === "image",
  );
  const failed = items.filter(({ state }) => state.kind === "failed");
  return (
    <div class="attachments">
      {items.length > 0 && (
        <ul class="attachment-list" aria-label={documents.attached}>
          {items.map((item) => (
            <Item key={item.key} item={item} onRemove={props.onRemove} />
          ))}
        </ul>
      )}
      <div role="alert">
        {failed.map(({ key, name, state }) => (
          <p key={key} class="attachment-note is-warning">
            {state.kind === "failed" && describeFileError(state.error, name)}
          </p>
        ))}
        {isOverfull && <p class="attachment-note is-warning">{documents.tooMany(MOST_FILES)}</p>}
        {hasImages && canSee === false && (
          <p class="attachment-note is-warning">{documents.cannotSee(props.model)}</p>
        )}
      </div>
      {searching !== null && (
        <p class="attachment-note" role="status">
          {documents.searching(searching.done, searching.total)}
        </p>
      )}
      <p class="hidden" role="status">
        {spokenOf(items)}
      </p>
      {items.length > 0 && (
        <p class="attachment-note">{where === "server" ? documents.goes : documents.stays}</p>
      )}
    </div>
  );
}

/** For screen readers: what happened last. */
function spokenOf(items: readonly DraftFile[]): string {
  const last = items.at(-1);
  const { documents } = words.value;
  return last?.state.kind === "ready"
    ? documents.ready(last.name)
    : last?.state.kind === "reading"
      ? documents.reading
      : "";
}

function Item({ item, onRemove }: { item: DraftFile; onRemove: (key: string) => void }) {
  const { documents } = words.value;
  const { key, name, state } = item;
  const url = useObjectUrl(state.kind === "ready" ? state.image : null);
  return (
    <li class={`attachment is-${state.kind}`}>
      <span class="attachment-picture">
        {url === null ? (
          <Icon name={state.kind === "failed" ? "warning" : "document"} />
        ) : (
          <img src={url} alt="" />
        )}
      </span>
      <span class="attachment-text">
        <bdi class="attachment-name" title={name}>
          {name}
        </bdi>
        <span class="attachment-facts">
          {state.kind === "ready" && describeAttachment(state.attachment)}
          {state.kind === "reading" &&
            (state.done === null
              ? documents.reading
              : documents.readingShare(Math.round(100 * state.done)))}
        </span>
        {state.kind === "reading" && (
          <progress
            class="attachment-progress"
            aria-label={name}
            max={1}
            {...(state.done !== null && { value: state.done })}
          />
        )}
      </span>
      <button
        class="icon-button"
        type="button"
        aria-label={documents.remove(name)}
        onClick={() => {
          onRemove(key);
        }}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}
