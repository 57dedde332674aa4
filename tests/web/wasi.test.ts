import { describe, expect, it } from "vitest";

import { Wasi } from "../../web/src/worker/wasi.ts";

/**
 * (module (memory (export "memory") 1)
 *   (global $ready (export "ready") (mut i32) (i32.const 0))
 *   (func (export "_initialize") (global.set $ready (i32.const 1))))
 */
const MODULE = Uint8Array.from([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x04, 0x01, 0x60, 0x00, 0x00, 0x03, 0x02,
  0x01, 0x00, 0x05, 0x03, 0x01, 0x00, 0x01, 0x06, 0x06, 0x01, 0x7f, 0x01, 0x41, 0x00, 0x0b, 0x07,
  0x20, 0x03, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x00, 0x05, 0x72, 0x65, 0x61, 0x64,
  0x79, 0x03, 0x00, 0x0b, 0x5f, 0x69, 0x6e, 0x69, 0x74, 0x69, 0x61, 0x6c, 0x69, 0x7a, 0x65, 0x00,
  0x00, 0x0a, 0x08, 0x01, 0x06, 0x00, 0x41, 0x01, 0x24, 0x00, 0x0b,
]);

async function start() {
  const wasi = new Wasi();
  const { instance } = await WebAssembly.instantiate(MODULE);
  wasi.start(instance);
  const memory = instance.exports["memory"] as WebAssembly.Memory;
  const calls = wasi.imports["wasi_snapshot_preview1"] as Record<
    string,
    (...values: unknown[]) => number
  >;
  return { wasi, calls, instance, view: new DataView(memory.buffer), memory };
}

type Started = Awaited<ReturnType<typeof start>>;

/** Print as libc does: one iovec at 0 that points to the text at 64; the count lands at 32. */
function print({ calls, view, memory }: Started, text: string): number {
  const bytes = new TextEncoder().encode(text);
  new Uint8Array(memory.buffer).set(bytes, 64);
  view.setUint32(0, 64, true);
  view.setUint32(4, bytes.byteLength, true);
  calls["fd_write"]?.(2, 0, 1, 32);
  return view.getUint32(32, true);
}

describe("Wasi", () => {
  it("runs the library's constructors", async () => {
    const { instance } = await start();
    expect((instance.exports["ready"] as WebAssembly.Global<"i32">).value).toBe(1);
  });

  it("keeps what C++ said last, in order", async () => {
    const started = await start();
    expect(print(started, "check failed: a == b\nsta")).toBe(24);
    print(started, "ck trace\n");
    print(started, "unfinished");
    expect(started.wasi.lastWords()).toBe("check failed: a == b | stack trace | unfinished");
  });

  it("forgets what was said long ago", async () => {
    const started = await start();
    for (let line = 0; line < 100; line++) {
      print(started, `line ${line}\n`);
    }
    expect(started.wasi.lastWords().split(" | ")).toHaveLength(20);
    expect(started.wasi.lastWords()).toMatch(/^line 80 .*line 99$/);
  });

  it("tells the time in nanoseconds", async () => {
    const { calls, view } = await start();
    const before = Date.now();
    calls["clock_time_get"]?.(0, 0n, 8);
    const milliseconds = Number(view.getBigUint64(8, true)) / 1e6;
    expect(milliseconds).toBeGreaterThan(before - 1);
    expect(milliseconds).toBeLessThan(Date.now() + 1);
  });

  it("turns exit into an error instead of a hang", async () => {
    const { calls } = await start();
    expect(() => calls["proc_exit"]?.(3)).toThrow(/exited with code 3/);
  });
});
