/**
 * Width and height of an image by its first bytes, before anybody decodes it: a file of a few
 * kilobytes can say that it is 60,000 pixels wide, and a decoder would take gigabytes for it. Pure.
 */

export interface ImageSize {
  width: number;
  height: number;
}

/** From the beginning: a JPEG's size stands behind its metadata, whose parts have 64 KB each. */
export const SIZE_HEAD_BYTES = 1024 * 1024;

/** Null where it is no image of a kind that says so here: PNG, JPEG, GIF, WebP, BMP, AVIF, HEIC. */
export function imageSize(bytes: Uint8Array): ImageSize | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const text = String.fromCharCode(...bytes.subarray(0, 32));
    if (text.startsWith("\x89PNG")) {
      return { width: view.getUint32(16), height: view.getUint32(20) };
    }
    if (text.startsWith("GIF8")) {
      return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
    }
    if (text.startsWith("RIFF")) {
      return webpSize(view, text.slice(12, 16));
    }
    if (text.startsWith("BM")) {
      // A negative height: its rows stand from top to bottom.
      return { width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) };
    }
    if (text.startsWith("\xff\xd8")) {
      return jpegSize(view);
    }
    return text.slice(4, 8) === "ftyp" ? heifSize(view) : null;
  } catch (error) {
    // Said to go on behind its end.
    if (error instanceof RangeError) {
      return null;
    }
    throw error;
  }
}

/** Segments up to the frame header, SOF (ITU-T T.81, B.2.2). */
function jpegSize(view: DataView): ImageSize | null {
  let at = 2;
  for (;;) {
    if (view.getUint8(at) !== 0xff) {
      return null;
    }
    const marker = view.getUint8(at + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) {
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    }
    // A fill byte, before any marker, stands alone.
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
}

/** RFC 9649, 2.5 to 2.7: lossy, lossless, extended. */
function webpSize(view: DataView, chunk: string): ImageSize | null {
  switch (chunk) {
    case "VP8 ":
      return {
        width: view.getUint16(26, true) & 0x3fff,
        height: view.getUint16(28, true) & 0x3fff,
      };
    case "VP8L": {
      const bits = view.getUint32(21, true);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case "VP8X":
      return { width: (view.getUint32(24, true) & 0xffffff) + 1, height: height24(view) };
    default:
      return null;
  }
}

function height24(view: DataView): number {
  return (view.getUint16(27, true) | (view.getUint8(29) << 16)) + 1;
}

/** The largest "ispe" property: thumbnails and tiles have smaller ones (ISO/IEC 23008-12, 6.5.3). */
function heifSize(view: DataView): ImageSize | null {
  let largest: ImageSize | null = null;
  for (let at = 0; at + 16 <= view.byteLength; at += 1) {
    if (view.getUint8(at) === 0x69 && view.getUint32(at) === 0x69737065) {
      const found = { width: view.getUint32(at + 8), height: view.getUint32(at + 12) };
      if (largest === null || found.width * found.height > largest.width * largest.height) {
        largest = found;
      }
    }
  }
  return largest;
}

/** The size at which an image is sent; smaller ones stay as they are. */
export function fitWithin({ width, height }: ImageSize, longSide: number): ImageSize {
  const scale = Math.min(1, longSide / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}
