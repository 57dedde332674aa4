/** How much of a file is taken, and why not more. */

const MEBIBYTE = 2 ** 20;

/**
 * A document is held in memory whole, next to its text, on phones that give a tab about 300 MB.
 * Manuals and books with pictures stay below.
 */
export const MOST_DOCUMENT_BYTES = 64 * MEBIBYTE;

/** Plain text costs twice its bytes as a string; this is more than `MOST_CHARACTERS` of it ever is. */
export const MOST_TEXT_BYTES = 16 * MEBIBYTE;

/** A page's text takes a few milliseconds to read, so this is about ten seconds of them. */
export const MOST_PAGES = 2_000;

/**
 * In one document. Some 4,000 passages, a few minutes of an embedding model on a phone, and
 * 6 MB of its vectors. The Bible in English has as many characters.
 */
export const MOST_CHARACTERS = 4_000_000;

/** Of a docx, unpacked: pictures hardly shrink, so an honest one is not much larger than its file. */
export const MOST_UNPACKED_BYTES = 256 * MEBIBYTE;

/** XML of a docx, unpacked: its tree takes some fifty times that in memory while it is read. */
export const MOST_XML_BYTES = 16 * MEBIBYTE;

/** Files in a docx: each picture is one, and each costs a look. */
export const MOST_ZIP_ENTRIES = 10_000;

/** A photograph from a phone is 3 to 15 MB; a scan of a page up to 50. */
export const MOST_IMAGE_BYTES = 64 * MEBIBYTE;

/** Decoded, a pixel takes four bytes: 400 MB, which phones still give for a moment. */
export const MOST_MEGAPIXELS = 100;

/**
 * Pixels of the long side of an image as it is sent. Models see tiles or patches of at most about
 * this (LLaVA-NeXT: four tiles of 336; Qwen2.5-VL and Gemma 3 less by default), and each patch
 * more costs context and time.
 */
export const LONG_SIDE_PIXELS = 1_344;
