/**
 * Images as they are sent: decoded, upright, small, and made anew.
 *
 * What comes out are pixels only: where and when a photograph was taken, its thumbnail and its
 * camera's number stay behind, because nothing of the file is copied.
 */
import { HEAD_BYTES, fileKind } from "./file-kind.ts";
import { type ImageSize, SIZE_HEAD_BYTES, fitWithin, imageSize } from "./image-size.ts";
import { LONG_SIDE_PIXELS, MOST_IMAGE_BYTES, MOST_MEGAPIXELS } from "./limits.ts";
import { FileError } from "./problems.ts";

export interface PreparedImage extends ImageSize {
  /** JPEG or PNG: engines on servers read those, and not all of them WebP. */
  blob: Blob;
}

/** Drawings and screenshots keep their letters sharp as PNG, unless that is larger than this. */
const MOST_PNG_BYTES = 2 * 2 ** 20;
const JPEG_QUALITY = 0.9;

/** @throws FileError that names the file. */
export async function prepareImage(
  file: Blob,
  name: string,
  signal: AbortSignal,
): Promise<PreparedImage> {
  const size = await checkImage(file, name);
  signal.throwIfAborted();
  const bitmap = await decode(file, name, size);
  try {
    signal.throwIfAborted();
    // What stands on its side has swapped sizes by now.
    const { width, height } = fitWithin(bitmap, LONG_SIDE_PIXELS);
    const blob = await encode(bitmap, { width, height }, await isDrawing(file), name);
    signal.throwIfAborted();
    return { blob, width, height };
  } finally {
    bitmap.close();
  }
}

/** What can be known without decoding. */
export async function checkImage(file: Blob, name: string): Promise<ImageSize> {
  if (file.size === 0) {
    throw new FileError("empty", name);
  }
  if (file.size > MOST_IMAGE_BYTES) {
    throw new FileError("too-large", name, MOST_IMAGE_BYTES);
  }
  let head: Uint8Array;
  try {
    head = new Uint8Array(await file.slice(0, SIZE_HEAD_BYTES).arrayBuffer());
  } catch (error) {
    throw new FileError("damaged", name, 0, { cause: error });
  }
  if (fileKind(name, head.subarray(0, HEAD_BYTES)) !== "image") {
    throw new FileError("unknown-image", name);
  }
  const size = imageSize(head);
  if (size === null || size.width < 1 || size.height < 1) {
    throw new FileError("damaged", name);
  }
  if (size.width * size.height > MOST_MEGAPIXELS * 1e6) {
    throw new FileError("too-many-pixels", name, MOST_MEGAPIXELS);
  }
  return size;
}

/** An image in the form of OpenAI's `image_url`. */
export async function dataUrlOf(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  // In pieces: a function takes only so many arguments.
  const pieces: string[] = [];
  for (let from = 0; from < bytes.length; from += 0x8000) {
    pieces.push(String.fromCharCode(...bytes.subarray(from, from + 0x8000)));
  }
  return `data:${blob.type};base64,${btoa(pieces.join(""))}`;
}

async function decode(
  file: Blob,
  name: string,
  { width, height }: ImageSize,
): Promise<ImageBitmap> {
  const isWide = width >= height;
  const target = fitWithin({ width, height }, LONG_SIDE_PIXELS);
  const isLarge = target.width < width;
  try {
    // Upright by its own mark, which is the browser's default. Scaled while it is decoded, so that a
    // photograph of 50 megapixels never stands in memory twice.
    return await createImageBitmap(
      file,
      isLarge
        ? {
            ...(isWide ? { resizeWidth: target.width } : { resizeHeight: target.height }),
            resizeQuality: "high",
          }
        : {},
    );
  } catch (error) {
    throw new FileError("unknown-image", name, 0, { cause: error });
  }
}

async function encode(
  bitmap: ImageBitmap,
  { width, height }: ImageSize,
  keepsLines: boolean,
  name: string,
): Promise<Blob> {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (context === null) {
    throw new FileError("unknown-image", name);
  }
  // Models see three colours: what is see-through lies on white, as on paper.
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const png = keepsLines ? await blobOf(canvas, "image/png") : null;
  const blob =
    png !== null && png.size <= MOST_PNG_BYTES
      ? png
      : await blobOf(canvas, "image/jpeg", JPEG_QUALITY);
  // Its memory goes now and not when somebody sweeps.
  canvas.width = 0;
  if (blob === null) {
    throw new FileError("unknown-image", name);
  }
  return blob;
}

function blobOf(canvas: HTMLCanvasElement, type: string, quality?: number): Promise<Blob | null> {
  return new Promise((resolve) => {
    canvas.toBlob(resolve, type, quality);
  });
}

/** PNG, GIF and BMP come from screens; cameras write JPEG, HEIC and AVIF. */
async function isDrawing(file: Blob): Promise<boolean> {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 4).arrayBuffer()));
  return head.startsWith("\x89PNG") || head.startsWith("GIF") || head.startsWith("BM");
}
