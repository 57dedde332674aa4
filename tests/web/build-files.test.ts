import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { listBuildFiles } from "../../web/precache-manifest.ts";

const FILES = [
  "assets/index-a1.js",
  "assets/index-a1.js.map",
  "assets/pdf-cmaps-d4/90ms-RKSJ-H.bcmap",
  "assets/pdf-cmaps-d4/LICENSE.txt",
  "assets/python-b2/lock.json",
  "assets/python-b2/python_more.zip",
  "assets/wllama-c3.wasm",
  "examples/page.html",
  "index.html",
  ".nojekyll",
  "sw.js",
];

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "transom-build-"));
  for (const path of FILES) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), `content of ${path}`);
  }
});

afterEach(() => rm(folder, { recursive: true }));

function integrityOf(path: string): string {
  return `sha256-${createHash("sha256").update(`content of ${path}`).digest("base64")}`;
}

describe("the files of a build", () => {
  it("are kept at once, when they are asked for, or never", async () => {
    const { first, later } = await listBuildFiles(folder);
    expect(first.map(([path]) => path)).toEqual([
      "assets/index-a1.js",
      "assets/python-b2/lock.json",
      "index.html",
    ]);
    expect(later.map(([path]) => path)).toEqual([
      "assets/pdf-cmaps-d4/90ms-RKSJ-H.bcmap",
      "assets/python-b2/python_more.zip",
      "assets/wllama-c3.wasm",
    ]);
  });

  it("come with their digests", async () => {
    const { first, later } = await listBuildFiles(folder);
    for (const [path, integrity] of [...first, ...later]) {
      expect(integrity).toBe(integrityOf(path));
    }
  });
});
