import { describe, expect, it } from "vitest";

import { type ErrorCode, TransomError } from "../../web/src/errors.ts";
import type { LoadRequest } from "../../web/src/protocol.ts";
import { onBestEngine } from "../../web/src/worker/choose-engine.ts";

type Overrides = LoadRequest["overrides"];

function failing(code: ErrorCode, message: string = code): () => Promise<string> {
  return () => Promise.reject(new TransomError(code, message));
}

const onProcessor = (reason: string | null) => Promise.resolve(`processor: ${String(reason)}`);
const onWebGpu = () => Promise.resolve("webgpu");

describe("onBestEngine", () => {
  it("takes WebGPU where it can", async () => {
    expect(await onBestEngine({}, onWebGpu, onProcessor)).toBe("webgpu");
  });

  it("takes the processor where the address says so, without looking for an adapter", async () => {
    const never = () => Promise.reject(new Error("an adapter was looked for"));
    expect(await onBestEngine({ engine: "cpu" }, never, onProcessor)).toBe("processor: null");
  });

  it.each<[ErrorCode, string]>([
    ["no-webgpu", "No WebGPU here"],
    ["no-adapter", "No WebGPU here"],
    ["no-variant", "No variant for this graphics adapter"],
    ["adapter-too-small", "This graphics adapter is too small"],
  ])("takes the processor after %s, and says why", async (code, reason) => {
    expect(await onBestEngine({}, failing(code), onProcessor)).toBe(`processor: ${reason}`);
  });

  it.each<ErrorCode>(["network", "digest-mismatch", "device-lost", "out-of-memory"])(
    "does not take it after %s",
    async (code) => {
      await expect(onBestEngine({}, failing(code), onProcessor)).rejects.toMatchObject({ code });
    },
  );

  it.each<Overrides>([
    { engine: "webgpu" },
    { variant: "f16" },
    { schedule: "gpu" },
    { product: "library" },
  ])("does not take it where %o asks for WebGPU", async (overrides) => {
    const answer = onBestEngine(overrides, failing("no-variant"), onProcessor);
    await expect(answer).rejects.toMatchObject({ code: "no-variant" });
  });

  it("says both where there is no GGUF either", async () => {
    const neither = onBestEngine(
      {},
      failing("no-webgpu", "Use another browser."),
      failing("no-variant", "There is no GGUF."),
    );
    await expect(neither).rejects.toMatchObject({
      code: "no-webgpu",
      message: "Use another browser. There is no GGUF.",
    });
  });

  it("says what went wrong on the processor otherwise", async () => {
    const broken = onBestEngine({}, failing("no-webgpu"), failing("out-of-memory"));
    await expect(broken).rejects.toMatchObject({ code: "out-of-memory" });
  });
});
