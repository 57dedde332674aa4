/** `virtual:pdf-cmaps`, made by `web/pdf-cmaps.ts`. */

/** Of pdf.js's CMaps, relative to the page, with a slash at its end. */
export const folder: string;
