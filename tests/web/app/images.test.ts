/** Images by their first bytes: how large they say they are, and what is refused before decoding. */
import { describe, expect, it } from "vitest";

import { fitWithin, imageSize } from "../../../web/src/documents/image-size.ts";
import { checkImage, dataUrlOf } from "../../../web/src/documents/images.ts";
import {
  LONG_SIDE_PIXELS,
  MOST_IMAGE_BYTES,
  MOST_MEGAPIXELS,
} from "../../../web/src/documents/limits.ts";
import { FileError } from "../../../web/src/documents/problems.ts";

const big16 = (value: number) => [value >> 8, value & 255];
const big32 = (value: number) => [...big16(value >>> 16), ...big16(value & 0xffff)];
const little16 = (value: number) => big16(value).reverse();
const little24 = (value: number) => [...little16(value & 0xffff), value >> 16];
const little32 = (value: number) => big32(value).reverse();
const letters = (text: string) => Array.from(text, (letter) => letter.charCodeAt(0));

function png(width: number, height: number): number[] {
  return [
    ...letters("\x89PNG\r\n\x1a\n"),
    ...big32(13),
    ...letters("IHDR"),
    ...big32(width),
    ...big32(height),
  ];
}

function jpeg(width: number, height: number, segments: number[] = []): number[] {
  return [
    0xff,
    0xd8,
    ...segments,
    0xff,
    0xc0,
    ...big16(17),
    8,
    ...big16(height),
    ...big16(width),
    3,
  ];
}

/** A JPEG's metadata, of so many bytes. */
function segment(marker: number, bytes: number): number[] {
  return [0xff, marker, ...big16(bytes + 2), ...new Array<number>(bytes).fill(0xc0)];
}

const riff = (chunk: string, rest: number[]) => [
  ...letters("RIFF"),
  ...little32(100),
  ...letters(`WEBP${chunk}`),
  ...little32(80),
  ...rest,
];

describe("the size of an image", () => {
  it.each<[string, number[]]>([
    ["PNG", png(640, 480)],
    ["GIF", [...letters("GIF89a"), ...little16(640), ...little16(480)]],
    [
      "BMP",
      [
        ...letters("BM"),
        ...little32(0),
        0,
        0,
        0,
        0,
        ...little32(54),
        ...little32(40),
        ...little32(640),
        ...little32(-480),
      ],
    ],
    ["JPEG", jpeg(640, 480)],
    ["JPEG with metadata", jpeg(640, 480, [...segment(0xe1, 60_000), ...segment(0xc4, 30), 0xff])],
    ["WebP, lossy", riff("VP8 ", [0, 0, 0, 0x9d, 1, 0x2a, ...little16(640), ...little16(480)])],
    ["WebP, lossless", riff("VP8L", [0x2f, ...little32(639 | (479 << 14))])],
    ["WebP, extended", riff("VP8X", [0, 0, 0, 0, ...little24(639), ...little24(479)])],
    [
      "AVIF with a thumbnail",
      [
        ...big32(24),
        ...letters("ftypavif"),
        ...[64, 48, 640, 480].flatMap((value, index) =>
          index % 2 === 0 ? [...letters("ispe"), ...big32(0), ...big32(value)] : big32(value),
        ),
      ],
    ],
  ])("%s", (_, bytes) => {
    expect(imageSize(Uint8Array.from(bytes))).toEqual({ width: 640, height: 480 });
    expect(imageSize(Uint8Array.from(bytes).subarray(0, 9))).toBeNull();
  });

  it("is nobody's who does not say it", () => {
    expect(imageSize(new Uint8Array())).toBeNull();
    expect(imageSize(Uint8Array.from(letters("<svg width='9'/>")))).toBeNull();
    expect(imageSize(Uint8Array.from([0xff, 0xd8, 0, 0]))).toBeNull();
    expect(imageSize(Uint8Array.from(riff("ODD ", new Array<number>(40).fill(0))))).toBeNull();
  });

  it("is made to fit, and never made larger", () => {
    expect(fitWithin({ width: 4032, height: 3024 }, LONG_SIDE_PIXELS)).toEqual({
      width: 1344,
      height: 1008,
    });
    expect(fitWithin({ width: 300, height: 9000 }, LONG_SIDE_PIXELS)).toEqual({
      width: 45,
      height: 1344,
    });
    expect(fitWithin({ width: 90_000, height: 1 }, LONG_SIDE_PIXELS)).toEqual({
      width: 1344,
      height: 1,
    });
    expect(fitWithin({ width: 20, height: 10 }, LONG_SIDE_PIXELS)).toEqual({
      width: 20,
      height: 10,
    });
  });
});

describe("images that are not decoded", () => {
  const reasonOf = (bytes: number[], size?: number) => {
    const blob = new Blob([Uint8Array.from(bytes)]);
    if (size !== undefined) {
      Object.defineProperty(blob, "size", { value: size });
    }
    return checkImage(blob, "photo.png").then(
      () => "it is fine",
      (error: unknown) => (error instanceof FileError ? error.reason : error),
    );
  };

  it("are too large, or say so", async () => {
    expect(await reasonOf(png(10_000, (MOST_MEGAPIXELS * 1e6) / 10_000))).toBe("it is fine");
    expect(await reasonOf(png(10_000, (MOST_MEGAPIXELS * 1e6) / 10_000 + 1))).toBe(
      "too-many-pixels",
    );
    expect(await reasonOf(png(0xffffffff, 0xffffffff))).toBe("too-many-pixels");
    expect(await reasonOf(png(9, 9), MOST_IMAGE_BYTES)).toBe("it is fine");
    expect(await reasonOf(png(9, 9), MOST_IMAGE_BYTES + 1)).toBe("too-large");
  });

  it("are none, or only the beginning of one", async () => {
    expect(await reasonOf([])).toBe("empty");
    expect(await reasonOf(letters("<svg/>"))).toBe("unknown-image");
    expect(await reasonOf(png(9, 9).slice(0, 20))).toBe("damaged");
    expect(await reasonOf(png(0, 9))).toBe("damaged");
  });
});

it("a data URL has all bytes, whatever their number", async () => {
  const bytes = Uint8Array.from({ length: 100_001 }, (_, index) => index % 256);
  const url = await dataUrlOf(new Blob([bytes], { type: "image/png" }));
  expect(url.startsWith("data:image/png;base64,")).toBe(true);
  expect(Buffer.from(url.split(",")[1] ?? "", "base64").equals(Buffer.from(bytes))).toBe(true);
});
