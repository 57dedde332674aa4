/** `virtual:python-sandbox`, made by `web/python-sandbox.ts`. */

/** The document without an origin, as `srcdoc`. */
export const innerDocument: string;

/** The script of its worker. */
export const workerScript: string;
