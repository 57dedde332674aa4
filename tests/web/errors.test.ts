import { describe as suite, expect, it } from "vitest";

import {
  ERROR_CODES,
  TransomError,
  describe,
  fromWireError,
  toWireError,
} from "../../web/src/errors.ts";

suite("errors across postMessage", () => {
  it.each(ERROR_CODES)("%s survives a structured clone", (code) => {
    const error = new TransomError(code, `about ${code}`, { cause: new Error("why") });
    const back = fromWireError(structuredClone(toWireError(error)));
    expect(back).toBeInstanceOf(TransomError);
    expect(back).toMatchObject({ code, message: `about ${code}`, name: "TransomError" });
  });

  it("keeps the facts of a message", () => {
    const facts = { neededBytes: 5e9, tensor: "w" };
    const error = new TransomError("out-of-memory", "5 GB", { facts });
    expect(fromWireError(structuredClone(toWireError(error))).facts).toEqual(facts);
  });

  it("keeps the text of an error that is not ours", () => {
    expect(toWireError(new RangeError("too far"))).toEqual({
      code: "internal",
      message: "too far",
    });
  });

  it("knows an abort", () => {
    const wire = toWireError(new DOMException("The operation was aborted.", "AbortError"));
    expect(wire.code).toBe("aborted");
  });

  it.each<[unknown, string]>([
    [new TypeError(), "TypeError"],
    ["text", "text"],
    ["", "unknown error (string)"],
    [undefined, "unknown error (undefined)"],
    [{ message: "not an error" }, "unknown error (object)"],
  ])("describes %o in words", (thrown, text) => {
    expect(describe(thrown)).toBe(text);
  });
});
