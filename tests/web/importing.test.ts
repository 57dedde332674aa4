import { createHash } from "node:crypto";

import { describe, expect, it } from "vitest";

import type { ImportProgress, PickedFile } from "../../web/src/protocol.ts";
import type { Keeping } from "../../web/src/store/bundle.ts";
import { importFiles } from "../../web/src/store/importing.ts";
import { MEDIA_TYPES, REF_NAME, layersOf } from "../../web/src/store/manifest.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { Sha256 } from "../../web/src/store/sha256.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import { StoredBundle } from "../../web/src/store/stored-bundle.ts";
import { readTar } from "../../web/src/store/tar.ts";
import { type Bytes, digestOf, hexOf } from "../../web/src/store/verify.ts";
import {
  SHARD,
  bytesOf,
  describeFile,
  manifestJson,
  patternBytes,
  tensorCacheJson,
} from "./bundle-fixture.ts";
import { tabs } from "./fake-tabs.ts";

const NEVER = new AbortController().signal;

function place(quotaBytes = Infinity): Keeping & { store: MemoryStore } {
  const store = new MemoryStore();
  const all = tabs();
  return {
    store,
    shelf: new Shelf(store, all, () => 0),
    room: () => Promise.resolve({ quotaBytes, usedBytes: 0 }),
    using: (id, work) => all.using(id, work),
  };
}

function picked(files: Record<string, Bytes>): PickedFile[] {
  return Object.entries(files).map(([path, bytes]) => ({ path, content: new Blob([bytes]) }));
}

/** A bundle's folder, as a folder picker gives it. */
async function folder(): Promise<Record<string, Bytes>> {
  const config = bytesOf({});
  const manifest = bytesOf(await manifestJson());
  const row = async (os: string, architecture: string, bytes: Bytes, variant?: string) => ({
    mediaType: MEDIA_TYPES.manifest,
    digest: await digestOf(bytes),
    size: bytes.byteLength,
    platform: { os, architecture, ...(variant !== undefined && { variant }) },
  });
  // Its GGUF file stays where it was compiled.
  const native = bytesOf({
    schemaVersion: 2,
    config: await describeFile("native-config.json", "x", bytesOf("{ }")),
    layers: [{ mediaType: "m", digest: await digestOf(bytesOf("gguf")), size: 4 }],
  });
  const index = {
    schemaVersion: 2,
    manifests: [
      await row("native", "gguf", native),
      await row("browser", "webgpu", manifest, "f32"),
    ],
  };
  return {
    "tiny/index.json": bytesOf(index),
    "tiny/manifests/native.json": native,
    "tiny/manifests/f32.json": manifest,
    "tiny/mlc-chat-config.json": config,
    "tiny/params_shard_0.bin": SHARD,
    "tiny/tensor-cache.json": bytesOf(await tensorCacheJson()),
    "tiny/library-f32.wasm": bytesOf("wasm"),
    "tiny/library-f32-fallback.wasm": bytesOf("wasm 2"),
  };
}

/** The same as an OCI layout of one model. */
async function layout(): Promise<Record<string, Bytes>> {
  const { "tiny/index.json": index = bytesOf(""), ...others } = await folder();
  const files: Record<string, Bytes> = {};
  for (const bytes of [index, ...Object.values(others)]) {
    files[`blobs/sha256/${hexOf(await digestOf(bytes))}`] = bytes;
  }
  const row = {
    mediaType: MEDIA_TYPES.index,
    digest: await digestOf(index),
    size: index.byteLength,
    annotations: { [REF_NAME]: "me/tiny:latest" },
  };
  return { ...files, "index.json": bytesOf({ schemaVersion: 2, manifests: [row] }) };
}

function tar(files: Record<string, Bytes>): Blob {
  const parts: Bytes[] = [];
  for (const [name, content] of Object.entries(files)) {
    const header = new Uint8Array(512);
    header.set(bytesOf(name));
    header.set(bytesOf(content.byteLength.toString(8).padStart(11, "0")), 124);
    header.set(bytesOf("0"), 156);
    header.set(bytesOf("ustar"), 257);
    header.fill(32, 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.set(bytesOf(sum.toString(8).padStart(6, "0")), 148);
    const padding = new Uint8Array((512 - (content.byteLength % 512)) % 512);
    parts.push(header, content, padding);
  }
  return new Blob([...parts, new Uint8Array(1024)]);
}

describe("importFiles", () => {
  it("takes a folder with a bundle, and it is read without a network", async () => {
    const keeping = place();
    const [model, ...others] = await importFiles(
      picked(await folder()),
      keeping,
      () => undefined,
      NEVER,
    );
    expect(others).toEqual([]);
    expect(model).toMatchObject({ name: "tiny", kind: "bundle" });
    const meter = new ByteMeter(() => 0);
    const bundle = await StoredBundle.open(keeping, model?.source.id ?? "", meter);
    expect(bundle.name).toBe("tiny");
    const row = (await bundle.readIndex()).manifests[1];
    const manifest = row && (await bundle.readManifest(row));
    const [shard] = manifest === undefined ? [] : layersOf(manifest, MEDIA_TYPES.shard);
    expect(shard && (await bundle.readFile(shard))).toEqual(SHARD);
    expect(await bundle.measure(shard ? [shard] : [])).toMatchObject({ missingBytes: 0 });
  });

  it("takes a layout as a folder or a .tar, with the names that it gives", async () => {
    const files = await layout();
    const inFolder = Object.fromEntries(
      Object.entries(files).map(([path, bytes]) => [`export/${path}`, bytes]),
    );
    const asFolder = await importFiles(picked(inFolder), place(), () => undefined, NEVER);
    const keeping = place();
    const archive = [{ path: "export.tar", content: tar(files) }];
    const asTar = await importFiles(archive, keeping, () => undefined, NEVER);
    expect(asTar).toEqual(asFolder);
    expect(asTar).toMatchObject([{ name: "me/tiny", kind: "bundle" }]);
    expect(await keeping.shelf.sizes()).toMatchObject([{ name: "me/tiny" }]);
  });

  it("makes a model of one platform of a .gguf file", async () => {
    const keeping = place();
    const gguf = bytesOf("GGUF and more");
    const [model] = await importFiles(
      picked({ "My model.Q4.gguf": gguf }),
      keeping,
      () => undefined,
      NEVER,
    );
    expect(model).toMatchObject({ name: "My model.Q4", kind: "gguf" });
    const bundle = await StoredBundle.open(keeping, model?.source.id ?? "", new ByteMeter(() => 0));
    const [row] = (await bundle.readIndex()).manifests;
    expect(row?.platform).toEqual({ os: "native", architecture: "gguf", variant: null });
    const manifest = row && (await bundle.readManifest(row));
    expect(manifest?.layers).toMatchObject([
      { title: "My_model.Q4.gguf", digest: await digestOf(gguf), size: gguf.byteLength },
    ]);
    const blob = await keeping.store.open(await digestOf(gguf));
    expect(await blob?.text()).toBe("GGUF and more");
  });

  it("brings nothing twice, and goes on where a crash left it", async () => {
    const keeping = place();
    const files = picked(await folder());
    await importFiles(files, keeping, () => undefined, NEVER);
    await keeping.store.delete(await digestOf(SHARD));
    const puts: number[] = [];
    const put = keeping.store.put.bind(keeping.store);
    keeping.store.put = (digest, content) => {
      puts.push(content instanceof Uint8Array ? content.byteLength : 0);
      return put(digest, content);
    };
    await importFiles(files, keeping, () => undefined, NEVER);
    expect(puts).toEqual([512]);
  });

  it.each([
    ["index.json", /tiny lacks index|has no index\.json; pick/],
    ["params_shard_0.bin", /tiny lacks params_shard_0\.bin; export it again/],
    ["manifests/f32.json", /tiny lacks the manifest of f32/],
  ])("says what to do where %s is not there", async (name, message) => {
    const files = await folder();
    Reflect.deleteProperty(files, `tiny/${name}`);
    const keeping = place();
    await expect(importFiles(picked(files), keeping, () => undefined, NEVER)).rejects.toThrow(
      message,
    );
    expect(await keeping.shelf.sizes()).toEqual([]);
  });

  it("takes no damaged file, and keeps nothing of its model", async () => {
    const keeping = place();
    const shard = SHARD.slice();
    shard[7] = 1;
    const files = { ...(await folder()), "tiny/params_shard_0.bin": shard };
    await expect(importFiles(picked(files), keeping, () => undefined, NEVER)).rejects.toThrow(
      /params_shard_0\.bin is not the file/,
    );
    expect(await keeping.shelf.sizes()).toEqual([]);
    expect(await keeping.store.list()).toEqual([]);
  });

  it("refuses what is no model", async () => {
    const gguf = picked({ "a.gguf": bytesOf("GGML") });
    await expect(importFiles(gguf, place(), () => undefined, NEVER)).rejects.toThrow(
      "a.gguf is no GGUF file",
    );
    const tarball = picked({ "a.tar": patternBytes(1024) });
    await expect(importFiles(tarball, place(), () => undefined, NEVER)).rejects.toThrow(
      "a.tar is no tar archive, or damaged",
    );
  });

  it("asks for room first", async () => {
    const keeping = place(100);
    await expect(
      importFiles(picked(await folder()), keeping, () => undefined, NEVER),
    ).rejects.toMatchObject({ code: "no-room" });
    expect(await keeping.store.list()).toEqual([]);
  });

  it("says how far it is, stops when it is told to, and takes back what it brought", async () => {
    const keeping = place();
    const stop = new AbortController();
    const seen: ImportProgress[] = [];
    const importing = importFiles(
      picked(await folder()),
      keeping,
      (progress) => {
        seen.push(progress);
        if (progress.doneBytes > progress.totalBytes / 2) {
          stop.abort();
        }
      },
      stop.signal,
    );
    await expect(importing).rejects.toMatchObject({ code: "aborted" });
    expect(seen.length).toBeGreaterThan(2);
    expect(await keeping.store.list()).toEqual([]);
  });

  it("says that a model has left", async () => {
    const keeping = place();
    const [model] = await importFiles(picked(await folder()), keeping, () => undefined, NEVER);
    const [kept] = await keeping.shelf.sizes();
    await keeping.shelf.forget(kept?.id ?? "");
    const meter = new ByteMeter(() => 0);
    await expect(StoredBundle.open(keeping, model?.source.id ?? "", meter)).rejects.toMatchObject({
      code: "model-not-found",
    });
  });
});

describe("readTar", () => {
  it("reads pax and GNU names, and passes over folders", async () => {
    const long = `${"d/".repeat(60)}end`;
    const record = `path=${long}\n`;
    const pax = bytesOf(`${record.length + 4} ${record}`);
    const archive = await tar({
      "./a": bytesOf("1"),
      x: pax,
      y: bytesOf("22"),
      L: bytesOf(`${long}2\0`),
      z: bytesOf("3"),
    }).arrayBuffer();
    const bytes = new Uint8Array(archive);
    const retype = (name: string, type: string) => {
      for (let at = 0; at < bytes.length; at += 512) {
        if (bytes[at] === name.charCodeAt(0) && bytes[at + 1] === 0) {
          const before = bytes[at + 156] ?? 0;
          bytes[at + 156] = type.charCodeAt(0);
          const sum = Number.parseInt(
            new TextDecoder().decode(bytes.subarray(at + 148, at + 154)),
            8,
          );
          const text = (sum - before + type.charCodeAt(0)).toString(8).padStart(6, "0");
          bytes.set(bytesOf(text), at + 148);
          return;
        }
      }
    };
    retype("x", "x");
    retype("L", "L");
    const files = await readTar(new Blob([bytes]), "a.tar");
    expect([...files.keys()]).toEqual(["a", long, `${long}2`]);
    expect(await files.get(long)?.text()).toBe("22");
  });

  it("notices an end that comes too early", async () => {
    const archive = tar({ a: patternBytes(2000) }).slice(0, 1024);
    await expect(readTar(archive, "a.tar")).rejects.toThrow("a.tar ends too early");
  });
});

describe("Sha256", () => {
  it.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 1000])("agrees on %i bytes", (size) => {
    const bytes = patternBytes(size);
    const hash = new Sha256();
    for (let at = 0; at < size; at += 13) {
      hash.update(bytes.subarray(at, at + 13));
    }
    const expected = createHash("sha256").update(bytes).digest("hex");
    expect(Buffer.from(hash.digest()).toString("hex")).toBe(expected);
  });
});
