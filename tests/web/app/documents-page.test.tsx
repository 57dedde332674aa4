// @vitest-environment jsdom
/** Files beside a question, as they are read, shown, removed and sent; and what is kept of them. */
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { FileRow } from "../../../web/src/chat/database.ts";
import type { DocumentAttachment, Source } from "../../../web/src/chat/types.ts";
import type { Attached, attachFile } from "../../../web/src/documents/attach.ts";
import { KeptFiles } from "../../../web/src/documents/kept-files.ts";
import { FileError } from "../../../web/src/documents/problems.ts";
import { AttachButton, AttachmentList } from "../../../web/src/page/composer/attachments.tsx";
import { AttachmentView } from "../../../web/src/page/documents/attachment-view.tsx";
import { DraftFiles, MOST_FILES } from "../../../web/src/page/documents/draft-files.ts";
import { useFileDrop } from "../../../web/src/page/documents/file-drop.tsx";
import { SourceChips, SourceList } from "../../../web/src/page/documents/source-list.tsx";

function attached(name: string, kind: "image" | "document" = "document"): Attached {
  const blob = new Blob([name]);
  const common = { id: `id ${name}`, name, mediaType: "x/y", bytes: 9, sha256: `sha of ${name}` };
  return kind === "image"
    ? { attachment: { ...common, kind, width: 4, height: 3 }, blob, text: null }
    : {
        attachment: { ...common, kind, characters: 1234, pages: 2 },
        blob,
        text: { pages: ["one", "two"] },
      };
}

const file = (name: string) => new File(["x"], name);

function draft(
  attach: typeof attachFile,
  more: Partial<{ release: (sha: string) => Promise<void> }> = {},
) {
  const kept: string[] = [];
  const files = new DraftFiles({
    keep: ({ attachment }) => {
      kept.push(attachment.name);
      return Promise.resolve();
    },
    release: () => Promise.resolve(),
    digest: () => Promise.resolve("digest"),
    attach,
    ...more,
  });
  return { files, kept };
}

describe("files of a draft", () => {
  const reads: typeof attachFile = ({ name }) =>
    name === "bad" ? Promise.reject(new FileError("empty", name)) : Promise.resolve(attached(name));

  it("are read one after the other, kept, and taken with the question", async () => {
    const { files, kept } = draft(reads);
    const done = files.add([file("a"), file("bad"), file("b")]);
    expect(files.isReading.value).toBe(true);
    await done;
    expect(files.files.value.map(({ state }) => state.kind)).toEqual(["ready", "failed", "ready"]);
    expect(kept).toEqual(["a", "b"]);
    expect(files.isReading.value).toBe(false);
    expect(files.take().map(({ name }) => name)).toEqual(["a", "b"]);
    expect(files.files.value).toEqual([]);
  });

  it("are released when they are removed, unless they are there twice", async () => {
    const release = vi.fn(() => Promise.resolve());
    const { files } = draft(reads, { release });
    await files.add([file("a"), file("a"), file("bad")]);
    for (const { key } of files.files.value) {
      files.remove(key);
      expect(release).toHaveBeenCalledTimes(files.files.value.length < 2 ? 1 : 0);
    }
    expect(release).toHaveBeenCalledWith("sha of a");
  });

  it("stop being read when they are removed, and the next is read", async () => {
    const hangs: typeof attachFile = ({ name }, _, { signal }) =>
      name === "long"
        ? new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              reject(signal.reason as Error);
            });
          })
        : Promise.resolve(attached(name));
    const { files } = draft(hangs);
    const done = files.add([file("long"), file("next")]);
    await Promise.resolve();
    files.remove(files.files.value[0]?.key ?? "");
    await done;
    expect(files.attachments.value.map(({ name }) => name)).toEqual(["next"]);
  });

  it("are so many at most", async () => {
    const { files } = draft(reads);
    await files.add(Array.from({ length: MOST_FILES }, (_, index) => file(`${index}`)));
    expect(files.isOverfull.value).toBe(false);
    await files.add([file("one more")]);
    expect([files.files.value.length, files.isOverfull.value]).toEqual([MOST_FILES, true]);
    files.remove(files.files.value[0]?.key ?? "");
    expect(files.isOverfull.value).toBe(false);
  });
});

describe("on the page", () => {
  let root: HTMLElement;
  const revoked = vi.fn();

  beforeEach(() => {
    root = document.body.appendChild(document.createElement("div"));
    revoked.mockReset();
    URL.createObjectURL = () => "blob:one";
    URL.revokeObjectURL = revoked;
    HTMLDialogElement.prototype.showModal = function show(this: HTMLDialogElement) {
      this.open = true;
    };
    Element.prototype.scrollIntoView = () => undefined;
  });
  afterEach(() => {
    render(null, root);
    root.remove();
  });

  async function listOf(
    files: DraftFiles,
    more: { canSee?: boolean | null; where?: "server" } = {},
  ) {
    await act(() => {
      render(
        <AttachmentList
          items={files.files.value}
          onRemove={files.remove}
          canSee={more.canSee ?? null}
          model="smol"
          where={more.where ?? "browser"}
        />,
        root,
      );
    });
    return root.textContent;
  }

  it("say what they are, what is wrong with them, and where they go", async () => {
    const { files } = draft(({ name }) =>
      name === "bad.pdf"
        ? Promise.reject(new FileError("too-many-pages", name, 2000))
        : name === "odd"
          ? Promise.reject(new Error("no idea"))
          : Promise.resolve(attached(name)),
    );
    expect(await listOf(files)).toBe("");
    await files.add([file("a.pdf"), file("bad.pdf"), file("odd")]);
    const text = await listOf(files);
    expect(text).toContain("2 pages");
    expect(text).toContain("bad.pdf has more than 2,000 pages. Split it.");
    expect(text).toContain("odd could not be read.");
    expect(text).toContain("stay on this device");
    expect(await listOf(files, { where: "server" })).toContain("go to the server");
    await act(() => root.querySelector<HTMLButtonElement>("[aria-label='Remove a.pdf']")?.click());
    expect(files.files.value).toHaveLength(2);
  });

  it("say of images when the model is blind, and let go of their addresses", async () => {
    const { files } = draft(({ name }) => Promise.resolve(attached(name, "image")));
    await files.add([file("a.png")]);
    expect(await listOf(files, { canSee: false })).toContain("smol cannot see images");
    expect(await listOf(files, { canSee: true })).not.toContain("cannot see");
    expect(await listOf(files, { canSee: null })).not.toContain("cannot see");
    expect(root.querySelector("img")?.getAttribute("src")).toBe("blob:one");
    await act(() => {
      render(null, root);
    });
    await act(() => new Promise((resolve) => setTimeout(resolve, 50)));
    expect(revoked).toHaveBeenCalledWith("blob:one");
  });

  it("come by the menu: files, images, and a camera on what is held in a hand", async () => {
    const onFiles = vi.fn();
    for (const hasCamera of [false, true]) {
      await act(() => {
        render(<AttachButton onFiles={onFiles} hasCamera={hasCamera} />, root);
      });
      await act(() => root.querySelector<HTMLButtonElement>("[aria-haspopup]")?.click());
      expect(root.querySelectorAll("[role=menuitem]")).toHaveLength(hasCamera ? 3 : 2);
      render(null, root);
    }
    await act(() => {
      render(<AttachButton onFiles={onFiles} />, root);
    });
    const input = root.querySelector<HTMLInputElement>("#attach-files");
    Object.defineProperty(input, "files", { value: [file("a")] });
    input?.dispatchEvent(new Event("change", { bubbles: true }));
    expect(onFiles).toHaveBeenCalledWith([expect.objectContaining({ name: "a" })]);
  });

  it("come by paste, unless text is meant", async () => {
    const onFiles = vi.fn();
    function Target() {
      const ref = { current: root };
      useFileDrop(ref, onFiles);
      return null;
    }
    await act(() => {
      render(<Target />, root);
    });
    const paste = (text: string, files: File[]) => {
      const event = new Event("paste", { bubbles: true, cancelable: true });
      Object.assign(event, { clipboardData: { files, getData: () => text } });
      root.dispatchEvent(event);
      return event.defaultPrevented;
    };
    expect(paste("", [file("a.png")])).toBe(true);
    expect(paste("a table", [file("picture of it.png")])).toBe(false);
    expect(paste("words", [])).toBe(false);
    expect(onFiles).toHaveBeenCalledOnce();
  });

  it("open large where they were sent, or say that they are gone", async () => {
    const { attachment } = attached("a.png", "image");
    const other = { ...attachment, id: "2", name: "b.png", sha256: "gone" };
    await act(async () => {
      render(
        <AttachmentView
          attachments={[attachment, other, attached("c.pdf").attachment]}
          blobOf={(sha) => Promise.resolve(sha === "gone" ? null : new Blob())}
        />,
        root,
      );
      await Promise.resolve();
    });
    await act(() => new Promise((resolve) => setTimeout(resolve, 5)));
    expect(root.textContent).toContain("b.png is not in this browser any more.");
    expect(root.textContent).toContain("c.pdf");
    await act(() => root.querySelector<HTMLButtonElement>("[aria-label='Open a.png']")?.click());
    expect(root.querySelector("dialog img")?.getAttribute("alt")).toBe("a.png");
    await act(() => {
      render(null, root);
    });
    await act(() => new Promise((resolve) => setTimeout(resolve, 50)));
    expect(revoked).toHaveBeenCalled();
  });

  it("are cited by number: chips below the answer, passages in a panel", async () => {
    const sources: Source[] = [3, 0].map((page, index) => ({
      attachment: "a",
      name: `n${index}.pdf`,
      page,
      text: `passage ${index} <b>`,
      score: index === 0 ? 0.5 : 1,
    }));
    const onOpen = vi.fn();
    await act(() => {
      render(
        <>
          <SourceChips sources={sources} cited={[1, 9]} onOpen={onOpen} />
          <SourceList sources={sources} open={2} onClose={() => undefined} />
        </>,
        root,
      );
    });
    const chips = [...root.querySelectorAll<HTMLButtonElement>(".source-chip")];
    expect(chips.map((chip) => chip.ariaLabel ?? chip.textContent)).toEqual([
      "Source 1: n0.pdf, page 3",
      "2 sources",
    ]);
    chips.forEach((chip) => {
      chip.click();
    });
    expect(onOpen.mock.calls).toEqual([[1], [0]]);
    expect(root.querySelector("[aria-current]")?.textContent).toContain("passage 1 <b>");
    expect(root.querySelector("dialog")?.textContent).toContain("50% similar");
  });
});

describe("what is kept", () => {
  it("is the file with its text, and the text is read again where an import left it out", async () => {
    const rows = new Map<string, Omit<FileRow, "draftedAt">>();
    const files = {
      file: (sha256: string) =>
        Promise.resolve(
          rows.has(sha256) ? ({ ...rows.get(sha256), draftedAt: null } as FileRow) : undefined,
        ),
      putFile: (row: Omit<FileRow, "draftedAt">) => {
        rows.set(row.sha256, row);
        return Promise.resolve();
      },
      passages: () => Promise.resolve(undefined),
      putPassages: () => Promise.resolve(),
    };
    const kept = new KeptFiles(files, () => Promise.resolve({ pages: ["read again"] }));
    const { attachment, ...rest } = attached("a.pdf");
    await kept.keep({ attachment, ...rest } as Attached);
    expect(await kept.textOf(attachment as DocumentAttachment)).toEqual({ pages: ["one", "two"] });
    const row = rows.get(attachment.sha256);
    rows.set(attachment.sha256, {
      sha256: attachment.sha256,
      mediaType: "x/y",
      blob: row?.blob ?? new Blob(),
    });
    expect(await kept.textOf(attachment as DocumentAttachment)).toEqual({ pages: ["read again"] });
    rows.clear();
    expect(await kept.textOf(attachment as DocumentAttachment)).toBeNull();
    expect(await kept.imageUrl("any")).toBeNull();
    expect(await kept.read("any", "model")).toBeNull();
  });
});
