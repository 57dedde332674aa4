import { createHash } from "node:crypto";

import { describe, expect, it } from "vitest";

import { PythonBundle } from "../../web/src/api/python-bundle.ts";

const digest = (text: string) => createHash("sha256").update(text).digest("hex");

const LOCK = JSON.stringify({
  files: {
    "pyodide.asm.wasm": { bytes: 4, sha256: digest("wasm") },
    "transom.whl": { bytes: 5, sha256: digest("wheel") },
  },
  packages: { transom: { file_name: "transom.whl" } },
});
const URL_OF_IT = `https://example.test/page/assets/python-${digest(LOCK).slice(0, 32)}/`;

/** A host of these files, and what it was asked for. */
function host(files: Readonly<Record<string, string>>) {
  const asked: [name: string, integrity: string | undefined][] = [];
  const fetcher = ((url: URL, init: RequestInit) => {
    const name = url.pathname.split("/").at(-1) ?? "";
    asked.push([name, init.integrity]);
    const body = files[name];
    return body === undefined
      ? Promise.resolve(new Response("", { status: 404 }))
      : Promise.resolve(new Response(body, { headers: { "Content-Type": "text/plain" } }));
  }) as typeof fetch;
  return { asked, fetcher };
}

describe("the files of Python", () => {
  it("are asked for once each, with their digests for the browser to compare", async () => {
    const { asked, fetcher } = host({ "pyodide-lock.json": LOCK, "transom.whl": "wheel" });
    const bundle = await PythonBundle.open(URL_OF_IT, fetcher);
    expect(bundle.wheels).toEqual(["transom.whl"]);
    void bundle.response("transom.whl");
    expect(new TextDecoder().decode(await bundle.bytes("transom.whl"))).toBe("wheel");
    const expected = createHash("sha256").update("wheel").digest("base64");
    expect(asked).toEqual([
      ["pyodide-lock.json", undefined],
      ["transom.whl", `sha256-${expected}`],
    ]);
  });

  it("have the type of wasm whatever the host calls it", async () => {
    const { fetcher } = host({ "pyodide-lock.json": LOCK, "pyodide.asm.wasm": "wasm" });
    const bundle = await PythonBundle.open(URL_OF_IT, fetcher);
    const response = await bundle.response("pyodide.asm.wasm");
    expect(response.headers.get("Content-Type")).toBe("application/wasm");
    expect(await response.text()).toBe("wasm");
  });

  it("are not those of another lock file", async () => {
    const { fetcher } = host({ "pyodide-lock.json": `${LOCK} ` });
    await expect(PythonBundle.open(URL_OF_IT, fetcher)).rejects.toMatchObject({
      code: "digest-mismatch",
    });
    // A folder without a digest in its name, as on a disk.
    await PythonBundle.open("https://example.test/pyodide/", fetcher);
  });

  it("are named when they do not come", async () => {
    const { fetcher } = host({ "pyodide-lock.json": LOCK });
    const bundle = await PythonBundle.open(URL_OF_IT, fetcher);
    await expect(bundle.response("transom.whl")).rejects.toMatchObject({
      code: "network",
      message: expect.stringMatching(/transom\.whl was not loaded: HTTP 404/) as string,
    });
    await expect(bundle.response("other")).rejects.toMatchObject({ code: "internal" });
  });
});
