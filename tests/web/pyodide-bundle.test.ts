import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { build } from "vite";

import { pyodideBundle } from "../../web/pyodide-bundle.ts";

const digest = (text: string) => createHash("sha256").update(text).digest("hex");

const CLIENT = "transom-1-py3-none-any.whl";
const LOCK = JSON.stringify({
  files: {
    "pyodide.mjs": { bytes: 6, sha256: digest("loader") },
    [CLIENT]: { bytes: 5, sha256: digest("wheel") },
  },
  client: CLIENT,
});

let source = "";

beforeEach(() => {
  source = mkdtempSync(join(tmpdir(), "transom-pyodide-"));
  writeFileSync(join(source, "pyodide.mjs"), "loader");
  writeFileSync(join(source, CLIENT), "wheel");
  writeFileSync(join(source, "pyodide-lock.json"), LOCK);
});

afterEach(() => {
  rmSync(source, { recursive: true });
});

/** File names of a page that asks for the folder. */
async function buildPage(): Promise<Record<string, string>> {
  const folder = pathToFileURL(`${source}/`);
  writeFileSync(
    join(source, "entry.js"),
    'import { folder } from "virtual:pyodide-bundle"; self.folder = folder;',
  );
  const built = await build({
    root: source,
    configFile: false,
    logLevel: "silent",
    plugins: [pyodideBundle(folder)],
    build: { write: false, rolldownOptions: { input: join(source, "entry.js") } },
  });
  const { output } = (Array.isArray(built) ? built[0] : built) as {
    output: { fileName: string; code?: string; source?: string | Uint8Array }[];
  };
  return Object.fromEntries(
    output.map(({ fileName, code, source: content }) => [fileName, code ?? String(content)]),
  );
}

describe("Python in the page's build", () => {
  it("lies in a folder named by the digest of its lock file, which the page learns", async () => {
    const folder = `assets/python-${digest(LOCK).slice(0, 32)}/`;
    const files = await buildPage();
    expect(Object.keys(files)).toEqual(
      expect.arrayContaining([`${folder}pyodide.mjs`, `${folder}pyodide-lock.json`]),
    );
    expect(Object.values(files).some((text) => text.includes(folder))).toBe(true);
    // The wheel for programs is nothing that the page loads.
    expect(files[`python/${CLIENT}`]).toBe("wheel");
    expect(Object.keys(files)).not.toContain(`${folder}${CLIENT}`);
  });

  it("is asked for by its command where it is missing", async () => {
    rmSync(join(source, "pyodide-lock.json"));
    await expect(buildPage()).rejects.toThrow(
      /Python for the page is not in .*: run `transom build pyodide`\./,
    );
  });

  it("is not taken damaged", async () => {
    writeFileSync(join(source, "pyodide.mjs"), "loadeR");
    await expect(buildPage()).rejects.toThrow(/pyodide\.mjs is not what pyodide-lock\.json says/);
  });
});
