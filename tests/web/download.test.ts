import { describe, expect, it } from "vitest";

import { downloadDocument, downloadFile } from "../../web/src/store/download.ts";
import { patternBytes } from "./bundle-fixture.ts";
import { FakeNetwork, broken, rest, status, unreachable, whole } from "./fake-network.ts";

const FILE = patternBytes(1000);
const URL_ = "http://host/blob";

function download(network: FakeNetwork, options: object = {}) {
  return downloadFile("shard", [URL_], FILE.byteLength, null, { ...network.options, ...options });
}

describe("downloadFile", () => {
  it("gives the bytes and says how far it is", async () => {
    const network = new FakeNetwork(whole(FILE));
    const positions: number[] = [];
    const bytes = await download(network, { onBytes: (done: number) => positions.push(done) });
    expect(bytes).toEqual(FILE);
    expect(positions.at(-1)).toBe(1000);
    expect(network.asked).toHaveLength(1);
  });

  it("resumes at the byte after a broken connection", async () => {
    const network = new FakeNetwork(broken(FILE, 300), rest(FILE));
    expect(await download(network)).toEqual(FILE);
    expect(network.asked.map(({ range }) => range)).toEqual([null, "bytes=300-"]);
  });

  it("starts over where the server cannot resume, and progress goes back", async () => {
    const network = new FakeNetwork(broken(FILE, 300), whole(FILE));
    const positions: number[] = [];
    expect(await download(network, { onBytes: (at: number) => positions.push(at) })).toEqual(FILE);
    expect(positions).toEqual([300, 0, 1000]);
  });

  it("asks again, with growing pauses, when the server is unwell or unreachable", async () => {
    const network = new FakeNetwork(status(503), unreachable(), status(429), whole(FILE));
    expect(await download(network)).toEqual(FILE);
    expect(network.pauses).toHaveLength(3);
    expect(network.pauses).toEqual(network.pauses.toSorted((a, b) => a - b));
  });

  it("gives up with a clear error when a file stays short", async () => {
    const network = new FakeNetwork(({ range }) =>
      range === null ? new Response(FILE.slice(0, 999)) : new Response(null, { status: 206 }),
    );
    await expect(download(network)).rejects.toThrow(
      /shard could not be downloaded \(5 attempts\): .*999 of 1000 bytes|no body/,
    );
  });

  it("refuses a file longer than promised, at once", async () => {
    const network = new FakeNetwork(whole(patternBytes(1001)));
    await expect(download(network)).rejects.toThrow("shard is longer than the manifest says");
    expect(network.asked).toHaveLength(1);
  });

  it("does not ask again for what is not there", async () => {
    const network = new FakeNetwork(status(404));
    await expect(download(network)).rejects.toMatchObject({ code: "model-not-found" });
    expect(network.asked).toHaveLength(1);
  });

  it("gives up on a connection that goes quiet", async () => {
    const network = new FakeNetwork(
      ({ url }) =>
        new Response(
          new ReadableStream<Uint8Array>({
            start(controller) {
              controller.enqueue(FILE.slice(0, url.length));
            },
          }),
        ),
    );
    const fetchWithSignal: typeof fetch = async (input, init) => {
      const response = await network.fetch(input, init);
      // A real fetch breaks its body when its signal aborts.
      const reader = response.body?.getReader();
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          init?.signal?.addEventListener("abort", () => {
            controller.error(init.signal?.reason);
          });
        },
        async pull(controller) {
          const chunk = await reader?.read();
          if (chunk?.value) {
            controller.enqueue(chunk.value);
          }
        },
      });
      return new Response(stream, { status: response.status });
    };
    await expect(download(network, { fetch: fetchWithSignal, stallMs: 5 })).rejects.toThrow(
      /nothing arrived/,
    );
  });

  it("stops when the caller does", async () => {
    const controller = new AbortController();
    const network = new FakeNetwork(() => {
      controller.abort();
      return new Response(FILE.slice(0, 10));
    });
    await expect(download(network, { signal: controller.signal })).rejects.toMatchObject({
      code: "aborted",
    });
    expect(network.asked).toHaveLength(1);
  });
});

describe("downloadDocument", () => {
  it("takes a document up to its cap and not a byte more", async () => {
    const exact = new FakeNetwork(whole(patternBytes(64)));
    expect(await downloadDocument("index", [URL_], 64, null, exact.options)).toHaveLength(64);
    const larger = new FakeNetwork(whole(patternBytes(65)));
    await expect(downloadDocument("index", [URL_], 64, null, larger.options)).rejects.toThrow(
      "index is larger than 64 bytes",
    );
  });
});
