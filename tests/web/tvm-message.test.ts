import { describe, expect, it } from "vitest";

import { essenceOf } from "../../web/src/worker/tvm-message.ts";

describe("essenceOf", () => {
  it.each([
    [
      "Traceback (most recent call last):\n" +
        '  File "runtime/vm/paged_kv_cache.cc", line 2471, in GetFreePage()\n' +
        "InternalError: Check failed: (!free_page_ids_.empty()) is false: The KV cache is full.",
      "The KV cache is full.",
    ],
    [
      'Traceback (most recent call last): | File "x.cc", line 1 | ' +
        "ValueError: Cannot find function nope | C++ exception thrown",
      "Cannot find function nope",
    ],
    ["InternalError: Check failed: (a == b) is false: ", "Check failed: (a == b) is false:"],
    ["terminated: std::bad_alloc", "std::bad_alloc"],
    ["unreachable", "unreachable"],
    ["", "no reason given"],
  ])("of %j", (message, expected) => {
    expect(essenceOf(message)).toBe(expected);
  });

  it("is short", () => {
    expect(essenceOf("x".repeat(5000))).toHaveLength(301);
  });
});
