/** `virtual:pyodide-bundle`, made by `web/pyodide-bundle.ts`. */

/** Folder of Python for the API worker, relative to the page, with a slash at its end. */
export const folder: string;
