/** Files as text: what is read, and what is refused in words that name the file. */
import "./node-for-pdf.ts";

import { readFile } from "node:fs/promises";

import { getDocument } from "pdfjs-dist/legacy/build/pdf.mjs";
import { describe, expect, it } from "vitest";

import { fileKind } from "../../../web/src/documents/file-kind.ts";
import {
  MOST_CHARACTERS,
  MOST_DOCUMENT_BYTES,
  MOST_PAGES,
  MOST_TEXT_BYTES,
  MOST_XML_BYTES,
  MOST_ZIP_ENTRIES,
} from "../../../web/src/documents/limits.ts";
import type { PdfReader } from "../../../web/src/documents/pdf.ts";
import { FileError } from "../../../web/src/documents/problems.ts";
import { readDocument } from "../../../web/src/documents/read-document.ts";
import { ENCRYPT, bytesOf, docxOf, docxOfXml, pdfOf, zipOf } from "./document-fixtures.ts";

/** With what the page's build ships. */
const PDF: PdfReader = {
  open: getDocument,
  fetchCmap: async (name) =>
    new Uint8Array(await readFile(`node_modules/pdfjs-dist/cmaps/${name}`)),
};
const DOCX = "word/document.xml";

async function read(name: string, ...parts: BlobPart[]): Promise<readonly string[]> {
  const { signal } = new AbortController();
  return (await readDocument(new Blob(parts), name, { signal, pdf: PDF })).pages;
}

async function refusal(name: string, ...parts: BlobPart[]): Promise<string> {
  const error = await read(name, ...parts).then(
    () => "it was read",
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof FileError)) {
    throw new Error(`no refusal: ${String(error)}`);
  }
  expect(error.message).toContain(name);
  return error.reason;
}

/** As a file of this size would be, without its bytes. */
function sized(head: string, bytes: number): Blob {
  const blob = new Blob([head]);
  Object.defineProperty(blob, "size", { value: bytes });
  return blob;
}

describe("text", () => {
  it.each([
    ["notes.txt", "Grüße, 世界"],
    ["readme.md", "# Title\n\ntext"],
    ["data.json", '{"a": 1}'],
    ["page.html", "<p>Hi</p>"],
    ["main.rs", "fn main() {}"],
    ["Makefile", "all:\n\techo"],
  ])("%s is read as it is", async (name, text) => {
    expect(await read(name, text)).toEqual([text]);
  });

  it("takes byte order marks of UTF-8 and UTF-16, and every kind of line end", async () => {
    const little = new Uint8Array([
      0xff,
      0xfe,
      ...new Uint8Array(new Uint16Array([71, 252]).buffer),
    ]);
    const big = new Uint8Array([0xfe, 0xff, 0, 71, 0, 252]);
    expect(await read("a.txt", new Uint8Array([0xef, 0xbb, 0xbf]), "Gü")).toEqual(["Gü"]);
    expect(await read("a.txt", little)).toEqual(["Gü"]);
    expect(await read("a.txt", big)).toEqual(["Gü"]);
    expect(await read("a.txt", "1\r\n2\r3\n")).toEqual(["1\n2\n3\n"]);
  });

  it("says of other encodings what to do, and guesses none", async () => {
    expect(await refusal("old.txt", new Uint8Array([71, 0xfc]))).toBe("unknown-encoding");
    expect(await refusal("half.txt", new Uint8Array([0xff, 0xfe, 71]))).toBe("unknown-encoding");
  });

  it("is not what has no letters or is another format", async () => {
    expect(await refusal("nothing.txt")).toBe("empty");
    expect(await refusal("blank.txt", " \n ")).toBe("empty");
    expect(await refusal("program.txt", "\x7fELF\x01")).toBe("unknown-kind");
    expect(await refusal("letter.doc", new Uint8Array([0xd0, 0xcf, 0x11, 0xe0]))).toBe(
      "unknown-kind",
    );
    expect(await refusal("all.zip", zipOf([{ name: "a", content: bytesOf("a") }]))).toBe(
      "unknown-kind",
    );
    expect(await refusal("late.txt", `${"a".repeat(2000)}\0`)).toBe("unknown-kind");
    expect(await refusal("photo.txt", new Uint8Array([0xff, 0xd8, 0xff, 0xe0]))).toBe(
      "unknown-kind",
    );
  });

  it("has at most so many bytes and characters", async () => {
    const { signal } = new AbortController();
    const reasonOf = (blob: Blob, name: string) =>
      readDocument(blob, name, { signal }).then(
        () => "it was read",
        (error: unknown) => (error as FileError).reason,
      );
    expect(await reasonOf(sized("a", MOST_TEXT_BYTES + 1), "a.txt")).toBe("too-large");
    expect(await reasonOf(sized("a", MOST_TEXT_BYTES), "a.txt")).toBe("it was read");
    expect(await reasonOf(sized("%PDF-1.4", MOST_DOCUMENT_BYTES + 1), "a.pdf")).toBe("too-large");
    expect(await read("a.txt", "a".repeat(MOST_CHARACTERS))).toHaveLength(1);
    expect(await refusal("a.txt", "a".repeat(MOST_CHARACTERS + 1))).toBe("too-long");
  });
});

describe("PDF", () => {
  it("gives the text of each page, in lines", async () => {
    const file = pdfOf({ pages: [["First page", "second line"], ["Last page"]] });
    expect(await read("a.pdf", file)).toEqual(["First page\nsecond line", "Last page"]);
    expect(await read("by-its-bytes.bin", file)).toHaveLength(2);
  });

  it.each([
    ["UniGB-UCS2-H", "GB1", "4f60597d4e16754c", "你好世界"],
    // It has what differs, and names another one for the rest.
    ["UniJIS-UCS2-HW-H", "Japan1", "65e5672c8a9e", "日本語"],
    ["90ms-RKSJ-H", "Japan1", "93fa967b8cea", "日本語"],
    ["ETen-B5-H", "CNS1", "a741a66e", "你好"],
    ["KSCms-UHC-H", "Korea1", "c7d1b1db", "한글"],
  ])("reads what %s says", async (encoding, ordering, codes, text) => {
    const file = pdfOf({ pages: [[codes]], composite: { encoding, ordering } });
    expect(await read("old.pdf", file)).toEqual([text]);
  });

  it("refuses to leave out what it has no table for", async () => {
    const composite = { encoding: "90ms-RKSJ-H", ordering: "Japan1" };
    const { signal } = new AbortController();
    const fetchCmap = () => Promise.reject(new TypeError("Failed to fetch"));
    const pdf = { open: getDocument, fetchCmap };
    const reading = readDocument(
      new Blob([pdfOf({ pages: [["93fa967b8cea"]], composite })]),
      "old.pdf",
      { signal, pdf },
    );
    await expect(reading).rejects.toMatchObject({ reason: "no-cmap", fileName: "old.pdf" });
  });

  it("tells progress, and stops", async () => {
    const told: number[] = [];
    const controller = new AbortController();
    const reading = readDocument(new Blob([pdfOf({ pages: [["1"], ["2"], ["3"]] })]), "a.pdf", {
      signal: controller.signal,
      pdf: PDF,
      onProgress: (done) => {
        told.push(done);
        controller.abort(new Error("enough"));
      },
    });
    await expect(reading).rejects.toThrow("enough");
    expect(told).toEqual([1 / 3]);
  });

  it("says what is wrong with it", async () => {
    const file = pdfOf({ pages: [["text"], ["more"]] });
    expect(await refusal("scan.pdf", pdfOf({ pages: [[], []] }))).toBe("no-text");
    expect(await refusal("locked.pdf", pdfOf({ pages: [["a"]], trailer: ENCRYPT }))).toBe(
      "encrypted",
    );
    expect(await refusal("cut.pdf", file.slice(0, -200))).toBe("damaged");
    expect(await refusal("lies.pdf", "this is no PDF")).toBe("damaged");
    expect(await refusal("hollow.pdf", "%PDF-1.4\n%%EOF")).toBe("damaged");
    expect(await read("padded.pdf", file, new Uint8Array(5000))).toHaveLength(2);
  });

  it("has at most so many pages", async () => {
    const pages = (count: number) => Array.from({ length: count }, () => ["x"]);
    expect(await refusal("long.pdf", pdfOf({ pages: pages(MOST_PAGES + 1) }))).toBe(
      "too-many-pages",
    );
    expect(await read("book.pdf", pdfOf({ pages: pages(MOST_PAGES) }))).toHaveLength(MOST_PAGES);
  }, 60_000);
});

describe("Word", () => {
  it("gives its paragraphs", async () => {
    expect(await read("a.docx", docxOf(["One", "Two &amp; three"]))).toEqual([
      "One\n\nTwo & three",
    ]);
  });

  it("says what is wrong with it", async () => {
    const file = docxOf(["text"]);
    expect(await refusal("cut.docx", file.slice(0, -30))).toBe("damaged");
    expect(await refusal("lies.docx", "no zip at all")).toBe("damaged");
    expect(await refusal("before.docx", "stub", file)).toBe("damaged");
    expect(await refusal("other.docx", zipOf([{ name: "a", content: bytesOf("a") }]))).toBe(
      "damaged",
    );
    expect(await refusal("locked.docx", new Uint8Array([0xd0, 0xcf, 0x11, 0xe0, 0]))).toBe(
      "encrypted",
    );
    const flagged = zipOf([{ name: DOCX, content: bytesOf("<a/>"), flags: 1 }]);
    expect(await refusal("flagged.docx", flagged)).toBe("encrypted");
    expect(await refusal("blank.docx", docxOf([" "]))).toBe("empty");
  });

  it("unpacks to no more than its directory says", async () => {
    const liar = (claimedBytes: number) =>
      docxOf(["text"], [{ name: "x", content: new Uint8Array(100_000), claimedBytes }]);
    expect(await refusal("liar.docx", liar(10))).toBe("damaged");
    expect(await refusal("liar.docx", liar(100_001))).toBe("damaged");
    expect(await refusal("liar.docx", liar(2 ** 30))).toBe("unpacks-too-large");
    expect(await read("true.docx", liar(100_000))).toEqual(["text"]);
  });

  it("has at most so much XML, whatever its name says", async () => {
    const xml = (bytes: number) => bytesOf(`<a>${" ".repeat(bytes - 7)}</a>`);
    const withPart = (bytes: number, isStored: boolean) =>
      docxOf(["text"], [{ name: "word/media/photo.png", content: xml(bytes), isStored }]);
    for (const isStored of [true, false]) {
      expect(await refusal("bomb.docx", withPart(MOST_XML_BYTES + 1, isStored))).toBe(
        "unpacks-too-large",
      );
      expect(await read("large.docx", withPart(MOST_XML_BYTES - 4096, isStored))).toEqual(["text"]);
    }
    const halves = [0, 1].map((each) => ({ name: `h${each}`, content: xml(MOST_XML_BYTES / 2) }));
    expect(await refusal("halves.docx", docxOf(["text"], halves))).toBe("unpacks-too-large");
  });

  it("has at most so many files", async () => {
    const parts = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ name: `p${index}`, content: bytesOf("x") }));
    expect(await refusal("many.docx", docxOf(["text"], parts(MOST_ZIP_ENTRIES)))).toBe("damaged");
    expect(await read("few.docx", docxOf(["text"], parts(100)))).toEqual(["text"]);
  });

  it("expands no entities, and survives deep nesting", async () => {
    const laughs =
      '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>' +
      '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">' +
      "<w:body><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:body></w:document>";
    const pages = await read("laughs.docx", docxOfXml(laughs)).catch(() => [""]);
    expect(pages.join()).not.toContain("haha");
    const deep = `${"<w:p>".repeat(100_000)}${"</w:p>".repeat(100_000)}`;
    expect(await refusal("deep.docx", docxOfXml(deep))).toBe("damaged");
  });
});

describe("what a file is", () => {
  it.each([
    ["photo.jpg", "\xff\xd8\xff\xe0", "image"],
    ["photo", "\x89PNG\r\n\x1a\n", "image"],
    ["a.webp", "RIFF\0\0\0\0WEBP", "image"],
    ["a.heic", "\0\0\0\x18ftypheic", "image"],
    ["BM.txt", "BM is a beginning", "text"],
    ["a.svg", "<svg/>", "text"],
    ["report.PDF", "anything", "pdf"],
    ["mail.eml", "\n\n%PDF-1.7", "pdf"],
    ["model.gguf", "GGUF\x03", "unknown"],
    ["a.gz", "\x1f\x8b\x08", "unknown"],
    ["a.txt", "a\0b", "unknown"],
  ])("%s that begins with %j: %s", (name, head, kind) => {
    expect(
      fileKind(
        name,
        Uint8Array.from(head, (letter) => letter.charCodeAt(0)),
      ),
    ).toBe(kind);
  });
});
