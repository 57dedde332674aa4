/** Documents made here, byte by byte: small, honest or not. */
import { deflateRawSync } from "node:zlib";

const latin = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

export interface PdfShape {
  /** Lines of each page. */
  pages: readonly (readonly string[])[];
  /** More of the trailer, as an `/Encrypt` entry. */
  trailer?: string;
  /** Of a composite font without a file; the lines are bytes in its encoding, in hexadecimal. */
  composite?: { encoding: string; ordering: string };
}

const HELVETICA = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>";

/** ISO 32000-1, 9.7: what codes mean says a predefined CMap. */
function compositeFont({ encoding, ordering }: { encoding: string; ordering: string }): string {
  const system = `<< /Registry (Adobe) /Ordering (${ordering}) /Supplement 2 >>`;
  const descriptor =
    "<< /Type /FontDescriptor /FontName /Any /Flags 4 /FontBBox [0 -200 1000 900] " +
    "/ItalicAngle 0 /Ascent 900 /Descent -200 /CapHeight 800 /StemV 80 >>";
  return (
    `<< /Type /Font /Subtype /Type0 /BaseFont /Any /Encoding /${encoding} /DescendantFonts [` +
    "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /Any " +
    `/CIDSystemInfo ${system} /FontDescriptor ${descriptor} >>] >>`
  );
}

/** A PDF 1.4 with Helvetica, as ISO 32000-1 has it in Annex H.2, or with a composite font. */
export function pdfOf({ pages, trailer = "", composite }: PdfShape): Uint8Array<ArrayBuffer> {
  const kids = pages.map((_, index) => `${4 + 2 * index} 0 R`).join(" ");
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    `<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`,
    composite === undefined ? HELVETICA : compositeFont(composite),
    ...pages.flatMap((lines, index) => {
      const shown = lines.map((line) => (composite === undefined ? `(${line})` : `<${line}>`));
      const content = `BT /F1 12 Tf 14 TL 72 720 Td ${shown.map((line) => `${line} Tj T*`).join(" ")} ET`;
      return [
        `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents ${5 + 2 * index} 0 R ` +
          "/Resources << /Font << /F1 3 0 R >> >> >>",
        `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
      ];
    }),
  ];
  let file = "%PDF-1.4\n";
  const offsets = objects.map((object, index) => {
    const offset = file.length;
    file += `${index + 1} 0 obj\n${object}\nendobj\n`;
    return offset;
  });
  const start = file.length;
  const rows = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`);
  file += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${rows.join("")}`;
  file += `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R ${trailer} >>\n`;
  return latin(`${file}startxref\n${start}\n%%EOF\n`);
}

/** Encryption (RC4, 40 bits) by a password that nobody knows. */
export const ENCRYPT =
  `/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <${"41".repeat(32)}> /U <${"42".repeat(32)}> >> ` +
  `/ID [<${"00".repeat(16)}> <${"00".repeat(16)}>]`;

export interface ZipFile {
  name: string;
  content: Uint8Array;
  /** What the directory says of its size; the truth unless told. */
  claimedBytes?: number;
  isStored?: boolean;
  flags?: number;
}

/** A zip as PKWARE's APPNOTE has it. */
export function zipOf(files: readonly ZipFile[]): Uint8Array<ArrayBuffer> {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const {
    name,
    content,
    claimedBytes = content.length,
    isStored = false,
    flags = 0,
  } of files) {
    const packed = isStored ? Buffer.from(content) : deflateRawSync(content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(isStored ? 0 : 8, 4);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(claimedBytes, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([mark(0x04034b50), common, Buffer.from(name), packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    directory.push(
      Buffer.concat([mark(0x02014b50), Buffer.from([20, 0]), common, tail, Buffer.from(name)]),
    );
    locals.push(local);
    offset += local.length;
  }
  const size = directory.reduce((sum, each) => sum + each.length, 0);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(files.length, 4);
  end.writeUInt16LE(files.length, 6);
  end.writeUInt32LE(size, 8);
  end.writeUInt32LE(offset, 12);
  return new Uint8Array(Buffer.concat([...locals, ...directory, mark(0x06054b50), end]));
}

function mark(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

const TYPES = "http://schemas.openxmlformats.org";

/** A Word document of these paragraphs, and whatever else is to be in it. */
export function docxOf(
  paragraphs: readonly string[],
  more: readonly ZipFile[] = [],
): Uint8Array<ArrayBuffer> {
  const body = paragraphs.map((text) => `<w:p><w:r><w:t>${text}</w:t></w:r></w:p>`).join("");
  return docxOfXml(
    `<w:document xmlns:w="${TYPES}/wordprocessingml/2006/main"><w:body>${body}</w:body></w:document>`,
    more,
  );
}

export function docxOfXml(
  document: string,
  more: readonly ZipFile[] = [],
): Uint8Array<ArrayBuffer> {
  return zipOf([
    {
      name: "[Content_Types].xml",
      content: bytesOf(
        `<Types xmlns="${TYPES}/package/2006/content-types">` +
          '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>' +
          '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>' +
          "</Types>",
      ),
    },
    {
      name: "_rels/.rels",
      content: bytesOf(
        `<Relationships xmlns="${TYPES}/package/2006/relationships">` +
          `<Relationship Id="r1" Type="${TYPES}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>` +
          "</Relationships>",
      ),
    },
    { name: "word/document.xml", content: bytesOf(document) },
    ...more,
  ]);
}
