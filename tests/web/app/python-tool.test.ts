import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { ToolView } from "../../../web/src/chat/types.ts";
import { Hearing } from "../../../web/src/tools/python/hearing.ts";
import {
  MAX_CODE_CHARACTERS,
  MAX_IMAGES,
  MAX_IMAGE_CHARACTERS,
  MAX_TEXT_CHARACTERS,
} from "../../../web/src/tools/python/limits.ts";
import { PythonTool } from "../../../web/src/tools/python/python-tool.ts";
import type { Sandbox } from "../../../web/src/tools/python/sandbox.ts";

const DOT = { kind: "image", mediaType: "image/png", base64: "aGk=" };

/** A sandbox that does what the program's text says. */
class FakeSandbox implements Sandbox {
  onMessage: (message: unknown) => void = () => undefined;
  readonly programs: string[] = [];
  isEnded = false;

  run(code: string): void {
    this.programs.push(code);
    if (code === "loop") {
      this.onMessage({ kind: "output", text: "so far\n" });
      return;
    }
    const messages: unknown[] =
      code === "fill" ? [{ kind: "spent" }] : code === "lie" ? [{ kind: "ready" }] : [];
    for (const message of [
      ...messages,
      { kind: "value", text: code.slice(0, 9) },
      { kind: "done" },
    ]) {
      this.onMessage(message);
    }
  }

  end(): void {
    this.isEnded = true;
  }
}

describe("the tool", () => {
  let opened: FakeSandbox[];
  let tool: PythonTool;
  let stop: AbortController;

  beforeEach(() => {
    vi.useFakeTimers();
    opened = [];
    stop = new AbortController();
    tool = new PythonTool(() => {
      const sandbox = new FakeSandbox();
      opened.push(sandbox);
      return Promise.resolve(sandbox);
    });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const run = (code: unknown) =>
    tool.run({ code }, { signal: stop.signal, onView: () => undefined });

  it("gives programs the same sandbox, one after another", async () => {
    const [first, second] = await Promise.all([run("1"), run("2")]);
    expect([first.text, second.text]).toEqual(["1", "2"]);
    expect(opened.map(({ programs }) => programs)).toEqual([["1", "2"]]);
  });

  it("ends what takes too long, tells what it said, and starts afresh", async () => {
    const failed = expect(run("loop")).rejects.toThrow(/30 seconds and was ended.*so far$/s);
    await vi.advanceTimersByTimeAsync(30_000);
    await failed;
    expect(opened[0]?.isEnded).toBe(true);
    expect((await run("3")).text).toBe("3");
    expect(opened).toHaveLength(2);
  });

  it("stops at once", async () => {
    const failed = expect(run("loop")).rejects.toThrow("The program was stopped.");
    await vi.advanceTimersByTimeAsync(1);
    stop.abort();
    await failed;
    expect(opened[0]?.isEnded).toBe(true);
    await expect(run("1")).rejects.toThrow();
    expect(opened).toHaveLength(1);
  });

  it("forgets its variables with the conversation", async () => {
    await run("1");
    tool.reset();
    expect(opened[0]?.isEnded).toBe(true);
    const left = expect(run("loop")).rejects.toThrow();
    await vi.advanceTimersByTimeAsync(1);
    tool.reset();
    await left;
    expect((await run("2")).text).toBe("2");
    expect(opened.map(({ isEnded }) => isEnded)).toEqual([true, true, false]);
  });

  it("gives each conversation variables of its own", async () => {
    const ask = (conversation: string) =>
      tool.run({ code: "1" }, { signal: stop.signal, conversation, onView: () => undefined });
    await ask("a");
    await ask("a");
    expect(opened).toHaveLength(1);
    await ask("b");
    expect(opened.map(({ isEnded }) => isEnded)).toEqual([true, false]);
  });

  it("ends a sandbox without memory, and one that says what none says", async () => {
    expect((await run("fill")).text).toMatch(/^fill\n\(Python has no memory left.*afresh/);
    await expect(run("lie")).rejects.toThrow("no program says");
    expect((await run("1")).text).toBe("1");
    expect(opened.map(({ isEnded }) => isEnded)).toEqual([true, true, false]);
  });

  it("takes programs only", async () => {
    for (const code of [undefined, 3, " \n", "x".repeat(MAX_CODE_CHARACTERS + 1)]) {
      await expect(run(code)).rejects.toThrow(/a program as text|characters/);
    }
    expect(opened).toHaveLength(0);
  });

  it("takes a program as long as it may be", async () => {
    expect((await run("x".repeat(MAX_CODE_CHARACTERS))).text).toBe("xxxxxxxxx");
  });

  it("tries again after a start that failed", async () => {
    const starts = [Promise.reject(new Error("no wasm")), Promise.resolve(new FakeSandbox())];
    tool = new PythonTool(() => starts.shift() ?? Promise.reject(new Error("once too often")));
    await expect(run("1")).rejects.toThrow("no wasm");
    expect((await run("1")).text).toBe("1");
  });
});

describe("what comes out of the sandbox", () => {
  const heard = (...messages: unknown[]) => {
    const views: ToolView[] = [];
    const hearing = new Hearing((view) => views.push(view));
    messages.forEach((message) => hearing.hear(message));
    return { hearing, views };
  };

  it("is one text, and pictures as they come", () => {
    const { hearing, views } = heard(
      { kind: "output", text: "a\n" },
      DOT,
      { kind: "output", text: "b\n\n" },
      { kind: "value", text: "42" },
    );
    expect(hearing.report()).toBe("a\nb\n42\n(1 image shown)");
    expect(views).toEqual([DOT]);
    expect(hearing.views).toEqual(views);
    expect(hearing.isError).toBe(false);
    expect(heard({ kind: "error", text: "NameError" }).hearing.isError).toBe(true);
  });

  it("says so where a program says nothing", () => {
    expect(heard().hearing.report()).toMatch(/^\(The program ended and printed nothing/);
  });

  it("has an end", () => {
    const text = "x".repeat(MAX_TEXT_CHARACTERS);
    expect(heard({ kind: "output", text }).hearing.output).toBe(text);
    expect(() => heard({ kind: "output", text }, { kind: "value", text: "y" })).toThrow("at most");
  });

  it("is refused where no program says it", () => {
    for (const message of [
      null,
      "done",
      { kind: "output" },
      { kind: "value", text: 1 },
      { kind: "html", text: "<script>" },
      { ...DOT, mediaType: "text/html" },
      { ...DOT, mediaType: "image/svg+xml,<script>" },
      { ...DOT, base64: '"><script>' },
      { ...DOT, base64: "" },
      { ...DOT, base64: "A".repeat(MAX_IMAGE_CHARACTERS + 4) },
    ]) {
      expect(() => heard(message)).toThrow("no program says");
    }
  });

  it("takes pictures as large and as many as programs show, and no more", () => {
    const large = { ...DOT, base64: "A".repeat(MAX_IMAGE_CHARACTERS) };
    const all = Array.from({ length: MAX_IMAGES }, () => large);
    expect(heard(...all).views).toHaveLength(MAX_IMAGES);
    expect(() => heard(...all, DOT)).toThrow("no program says");
  });
});
