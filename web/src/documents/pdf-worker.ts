/**
 * pdf.js in a browser: its code and its worker are files of this page's origin.
 *
 * So are the CMaps that old documents name, one by one as they are asked for.
 *
 * The worker is made here and not by pdf.js, whose own would fall back to the page's thread where the
 * file does not come.
 */
import { folder } from "virtual:pdf-cmaps";

// The build for older browsers is a tenth larger; the other asks for browsers of this year.
import { PDFWorker, getDocument } from "pdfjs-dist/legacy/build/pdf.mjs";
import Worker from "pdfjs-dist/legacy/build/pdf.worker.min.mjs?worker";

import type { FetchCmap, OpenPdf, PdfReader } from "./pdf.ts";

/** A worker a document: one that hangs on a bad file dies with it. */
const open: OpenPdf = (parameters) => {
  const thread = new Worker();
  const worker = PDFWorker.create({ port: thread });
  const task = getDocument({ ...parameters, worker });
  const destroy = task.destroy.bind(task);
  task.destroy = async () => {
    try {
      await destroy();
    } finally {
      worker.destroy();
      thread.terminate();
    }
  };
  return task;
};

const fetchCmap: FetchCmap = async (fileName) => {
  const response = await fetch(new URL(folder + fileName, document.baseURI));
  if (!response.ok) {
    throw new Error(`${fileName}: ${response.status}`);
  }
  return new Uint8Array(await response.arrayBuffer());
};

export const pdfReader: PdfReader = { open, fetchCmap };
