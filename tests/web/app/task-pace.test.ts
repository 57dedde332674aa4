/** Rate and time left of what the server is at. */
import { describe, expect, it } from "vitest";

import { TaskPace } from "../../../web/src/page/models/task-pace.ts";

describe("TaskPace", () => {
  it("counts each step by itself", () => {
    let now = 0;
    const pace = new TaskPace(() => now);
    expect(pace.after({ phase: "send", doneBytes: 0, totalBytes: 100 })).toEqual({
      bytesPerSecond: 0,
      secondsLeft: null,
    });
    now = 2;
    expect(pace.after({ doneBytes: 20 })).toEqual({ bytesPerSecond: 10, secondsLeft: 8 });
    // Another step begins, which has its own bytes.
    now = 3;
    const packing = { phase: "work", step: "packing weights", totalBytes: 10 } as const;
    expect(pace.after({ ...packing, doneBytes: 5 })).toEqual({
      bytesPerSecond: 0,
      secondsLeft: null,
    });
    now = 4;
    expect(pace.after({ ...packing, doneBytes: 10 })).toEqual({
      bytesPerSecond: 5,
      secondsLeft: 0,
    });
  });

  it("says nothing of a step without bytes", () => {
    const pace = new TaskPace(() => 1);
    expect(pace.after({ step: "compiling", doneBytes: null, totalBytes: null })).toEqual({
      bytesPerSecond: 0,
      secondsLeft: null,
    });
  });
});
