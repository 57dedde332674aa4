/** Files of a question that was asked: images open large, documents say what they are. */
import { useEffect, useState } from "preact/hooks";

import type { Attachment, DocumentAttachment, ImageAttachment } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import "./documents.css";
import { describeAttachment } from "./file-words.ts";
import { useObjectUrl } from "./object-url.ts";

export interface AttachmentViewProps {
  attachments: readonly Attachment[];
  /** The file of an attachment, by its sha256; null: it is not here any more. */
  blobOf: (sha256: string) => Promise<Blob | null>;
}

export function AttachmentView({ attachments, blobOf }: AttachmentViewProps) {
  const { documents } = words.value;
  if (attachments.length === 0) {
    return null;
  }
  return (
    <ul class="sent-files" aria-label={documents.attached}>
      {attachments.map((attachment) => (
        <li key={attachment.id}>
          {attachment.kind === "image" ? (
            <SentImage image={attachment} blobOf={blobOf} />
          ) : (
            <SentDocument document={attachment} />
          )}
        </li>
      ))}
    </ul>
  );
}

function SentDocument({ document }: { document: DocumentAttachment }) {
  return (
    <span class="sent-document">
      <Icon name="document" />
      <span class="sent-text">
        <bdi class="sent-name" title={document.name}>
          {document.name}
        </bdi>
        <span class="sent-facts">{describeAttachment(document)}</span>
      </span>
    </span>
  );
}

function SentImage({
  image,
  blobOf,
}: {
  image: ImageAttachment;
  blobOf: AttachmentViewProps["blobOf"];
}) {
  const { documents } = words.value;
  const [blob, setBlob] = useState<Blob | null>(null);
  const [isGone, setGone] = useState(false);
  const [isOpen, setOpen] = useState(false);
  const url = useObjectUrl(blob);
  useEffect(() => {
    let isShown = true;
    void blobOf(image.sha256)
      .catch(() => null)
      .then((found) => {
        if (isShown) {
          setBlob(found);
          setGone(found === null);
        }
      });
    return () => {
      isShown = false;
    };
  }, [image.sha256]);
  if (isGone) {
    return (
      <span class="sent-document">
        <Icon name="image" />
        <span class="sent-text">{documents.imageGone(image.name)}</span>
      </span>
    );
  }
  return (
    <>
      <button
        class="sent-image"
        type="button"
        aria-label={documents.openImage(image.name)}
        onClick={() => {
          setOpen(true);
        }}
      >
        {/* Its size is known before it is here, so that nothing moves when it comes. */}
        <img
          {...(url !== null && { src: url })}
          alt=""
          width={image.width}
          height={image.height}
          decoding="async"
        />
      </button>
      {isOpen && url !== null && (
        <Dialog
          title={image.name}
          onClose={() => {
            setOpen(false);
          }}
        >
          <img
            class="large-image"
            src={url}
            alt={image.name}
            width={image.width}
            height={image.height}
          />
        </Dialog>
      )}
    </>
  );
}
