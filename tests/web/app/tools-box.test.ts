/** How calls run: arguments, approval, limits; and that nothing they do gets out as an exception. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { ToolView } from "../../../web/src/chat/types.ts";
import { faultsOf } from "../../../web/src/tools/json-check.ts";
import {
  MAX_ARGUMENT_CHARACTERS,
  MAX_IMAGE_CHARACTERS,
  MAX_TEXT_CHARACTERS,
  MAX_VIEWS,
  Tools,
} from "../../../web/src/tools/tool-box.ts";
import type { ApprovalAnswer, ApprovalRequest, Tool } from "../../../web/src/tools/types.ts";

const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1 } },
  required: ["city"],
};

function tool(fields: Partial<Tool> = {}): Tool {
  return {
    name: "weather",
    title: "",
    description: "Weather of a city.",
    parameters: SCHEMA,
    approval: "never",
    origin: "builtin",
    run: (input) => Promise.resolve({ text: `sunny: ${JSON.stringify(input)}` }),
    ...fields,
  };
}

function box(fields: Partial<Tool> = {}) {
  const tools = new Tools({ builtins: [tool(fields)] });
  const asked: ApprovalRequest[] = [];
  const views: ToolView[] = [];
  const stop = new AbortController();
  const run = (
    text = '{"city":"Ulm"}',
    {
      answer = "once",
      conversation = "c1",
      name = "weather",
    }: Partial<{
      answer: ApprovalAnswer;
      conversation: string;
      name: string;
    }> = {},
  ) =>
    tools.run(
      { id: "call_1", name, arguments: text },
      {
        conversation,
        signal: stop.signal,
        approve: (request) => {
          asked.push(request);
          return Promise.resolve(answer);
        },
        onView: (view) => {
          views.push(view);
        },
      },
    );
  return { tools, run, asked, views, stop };
}

describe("arguments", () => {
  it("reach the tool, and its text comes back", async () => {
    const result = await box().run('{"city":"Ulm","days":2}');
    expect(result).toEqual({
      callId: "call_1",
      name: "weather",
      isError: false,
      text: 'sunny: {"city":"Ulm","days":2}',
      views: [],
    });
  });

  it("may be nothing, where nothing is wanted", async () => {
    const result = await box({ parameters: { type: "object" } }).run("");
    expect(result.text).toBe("sunny: {}");
  });

  it.each([
    ["{city: Ulm}", /are no JSON .*Write one JSON object/],
    ["{", /are no JSON/],
    ['"Ulm"', /the input must be an object, not a string/],
    ["{}", /"city" is missing/],
    ['{"city":7}', /"city" must be a string, not a number/],
    ['{"city":"Ulm","days":1.5}', /"days" must be an integer, not a number/],
    ['{"city":"Ulm","days":0}', /"days" must be at least 1/],
    ["[]", /must be an object, not an array/],
  ])("%s are told to the model", async (text, message) => {
    const run = vi.fn();
    const result = await box({ run }).run(text);
    expect(result.isError).toBe(true);
    expect(result.text).toMatch(message);
    expect(run).not.toHaveBeenCalled();
  });

  it("have a limit of their length", async () => {
    const most = `{"city":"${"x".repeat(MAX_ARGUMENT_CHARACTERS - 11)}"}`;
    expect(most.length).toBe(MAX_ARGUMENT_CHARACTERS);
    expect((await box().run(most)).isError).toBe(false);
    expect((await box().run(`${most} `)).text).toMatch(/more than 1000000 characters/);
  });

  it("of a tool that is not there name those that are", async () => {
    const result = await box().run("{}", { name: "wether" });
    expect(result.text).toBe('Error: There is no tool "wether". There are: weather.');
  });
});

describe("schemas", () => {
  it.each<[unknown, unknown, RegExp | null]>([
    [{ enum: ["a", "b"] }, "c", /one of \["a","b"\]/],
    [{ enum: ["a", "b"] }, "a", null],
    [{ const: 3 }, 4, /must be 3/],
    [{ type: ["string", "null"] }, null, null],
    [{ type: ["string", "null"] }, 1, /a string or null, not a number/],
    [{ anyOf: [{ type: "string" }, { type: "number" }] }, 1, null],
    [{ anyOf: [{ type: "string" }, { type: "number" }] }, true, /fits none/],
    [{ allOf: [{ minimum: 2 }, { maximum: 3 }] }, 4, /at most 3/],
    [
      { type: "array", items: { type: "number" }, maxItems: 2 },
      [1, "x"],
      /"\[1\]" must be a number/,
    ],
    [{ type: "array", maxItems: 2 }, [1, 2, 3], /at most 2 items/],
    [{ minLength: 2 }, "🙂", /at least 2 characters/],
    [{ maxLength: 1 }, "🙂", null],
    [
      { properties: { a: {} }, additionalProperties: false },
      { b: 1 },
      /"b" is not known; there are \["a"\]/,
    ],
    [{ additionalProperties: { type: "number" } }, { b: "x" }, /"b" must be a number/],
    [{ $ref: "#/$defs/n", $defs: { n: { type: "number" } } }, "x", /must be a number/],
    [{ $ref: "https://elsewhere.example/schema" }, "x", null],
    [{ format: "date", pattern: "^x$" }, "no date", null],
    [{ type: "unheard-of" }, 1, null],
    [true, 1, null],
    [false, 1, /may not be there/],
    [{ properties: { ["__proto__"]: { type: "number" } } }, {}, null],
    [{ required: ["toString"] }, {}, /"toString" is missing/],
  ])("%j and %j", (schema, value, message) => {
    const faults = faultsOf({ properties: { x: schema } }, { x: value }).map((fault) =>
      fault.replace(/"x\.?/g, '"'),
    );
    if (message === null) {
      expect(faultsOf(schema as Record<string, unknown>, value)).toEqual([]);
    } else if (typeof schema === "boolean") {
      expect(faults[0]).toMatch(message);
    } else {
      expect(faultsOf(schema as Record<string, unknown>, value)[0]).toMatch(message);
    }
  });

  it("that name themselves come to an end", () => {
    const schema = { $ref: "#" };
    expect(faultsOf(schema, 1)).toEqual([]);
    const deep = { type: "object", properties: { a: { $ref: "#" } }, additionalProperties: false };
    const value = JSON.parse('{"a":'.repeat(500) + "{}" + "}".repeat(500)) as unknown;
    expect(faultsOf(deep, value)).toEqual([]);
  });

  it("tell at most five faults", () => {
    const required = Array.from({ length: 50 }, (_, i) => `f${i}`);
    expect(faultsOf({ required }, {})).toHaveLength(5);
  });
});

describe("approval", () => {
  const asks = { approval: "ask" as const };

  it("is asked for each time, where the answer is once", async () => {
    const { run, asked } = box(asks);
    expect((await run()).isError).toBe(false);
    expect((await run()).isError).toBe(false);
    expect(asked.map(({ call }) => call.id)).toEqual(["call_1", "call_1"]);
  });

  it("holds for the conversation, and for no other", async () => {
    const { run, asked, tools } = box(asks);
    await run(undefined, { answer: "conversation" });
    await run();
    expect(asked).toHaveLength(1);
    await run(undefined, { conversation: "c2" });
    expect(asked).toHaveLength(2);
    tools.forget("c1");
    await run();
    expect(asked).toHaveLength(3);
  });

  it("is not given: the model is told, and the tool does not run", async () => {
    const run = vi.fn();
    const result = await box({ ...asks, run }).run(undefined, { answer: "no" });
    expect(result.isError).toBe(true);
    expect(result.text).toMatch(/did not allow this call/);
    expect(run).not.toHaveBeenCalled();
  });

  it("covers one scope only", async () => {
    const preview = (input: unknown) => ({ scope: (input as { city: string }).city });
    const { run, asked } = box({ ...asks, preview });
    await run('{"city":"Ulm"}', { answer: "conversation" });
    await run('{"city":"Ulm"}');
    expect(asked).toHaveLength(1);
    await run('{"city":"Bonn"}');
    expect(asked).toHaveLength(2);
  });

  it("is asked for each time, where nothing can be covered", async () => {
    const { run, asked } = box({ ...asks, preview: () => ({ scope: null }) });
    await run(undefined, { answer: "conversation" });
    await run();
    expect(asked).toHaveLength(2);
  });

  it("is not asked for what does not fit, or what the tool itself refuses", async () => {
    const preview = () => {
      throw new Error("no such place");
    };
    const { run, asked } = box({ ...asks, preview });
    expect((await run("{}")).text).toMatch(/"city" is missing/);
    expect((await run()).text).toBe("Error: no such place");
    expect(asked).toHaveLength(0);
  });

  it("that fails counts as no", async () => {
    const tools = new Tools({ builtins: [tool(asks)] });
    const result = await tools.run(
      { id: "1", name: "weather", arguments: '{"city":"Ulm"}' },
      {
        conversation: "c",
        signal: new AbortController().signal,
        approve: () => Promise.reject(new Error("the page went away")),
        onView: () => undefined,
      },
    );
    expect(result).toMatchObject({ isError: true, text: "Error: the page went away" });
  });

  it("is for a tool of that origin", async () => {
    let others = [tool({ name: "search", origin: "one", ...asks })];
    const tools = new Tools({ builtins: [], others: () => others });
    const approve = vi.fn(() => Promise.resolve<ApprovalAnswer>("conversation"));
    const run = () =>
      tools.run(
        { id: "1", name: "search", arguments: '{"city":"Ulm"}' },
        {
          conversation: "c",
          signal: new AbortController().signal,
          approve,
          onView: () => undefined,
        },
      );
    await run();
    await run();
    expect(approve).toHaveBeenCalledTimes(1);
    others = [tool({ name: "search", origin: "another", ...asks })];
    await run();
    expect(approve).toHaveBeenCalledTimes(2);
  });
});

describe("a run", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("that throws is a result", async () => {
    const result = await box({ run: () => Promise.reject(new Error("no such city")) }).run();
    expect(result).toMatchObject({ isError: true, text: "Error: no such city" });
    const thrown = await box({
      run: () => {
        throw new Error("at once");
      },
    }).run();
    expect(thrown.text).toBe("Error: at once");
  });

  it("that never ends is ended", async () => {
    let heard: AbortSignal | null = null;
    const { run } = box({
      run: (_, { signal }) => {
        heard = signal;
        return new Promise(() => undefined);
      },
    });
    const result = run();
    await vi.advanceTimersByTimeAsync(59_999);
    expect((heard as AbortSignal | null)?.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect((await result).text).toMatch(/longer than 60 seconds/);
    expect((heard as AbortSignal | null)?.aborted).toBe(true);
  });

  it("may have a limit of its own", async () => {
    const { run } = box({ limitSeconds: 2, run: () => new Promise(() => undefined) });
    const result = run();
    await vi.advanceTimersByTimeAsync(2000);
    expect((await result).text).toMatch(/longer than 2 seconds/);
    const { run: endless, stop } = box({
      limitSeconds: null,
      run: () => new Promise(() => undefined),
    });
    let isDone = false;
    const never = endless().finally(() => {
      isDone = true;
    });
    await vi.advanceTimersByTimeAsync(10_000_000);
    expect(isDone).toBe(false);
    stop.abort();
    expect((await never).text).toMatch(/stopped by the user/);
  });

  it("ends when it is stopped, and shows nothing after", async () => {
    let show: (view: ToolView) => void = () => undefined;
    const { run, stop, views } = box({
      run: (_, { onView }) => {
        show = onView;
        return new Promise(() => undefined);
      },
    });
    const result = run();
    await vi.advanceTimersByTimeAsync(10);
    show({ kind: "text", text: "half" });
    stop.abort();
    expect((await result).text).toBe("Error: The call was stopped by the user.");
    show({ kind: "text", text: "late" });
    expect(views).toEqual([{ kind: "text", text: "half" }]);
  });
});

describe("what a tool gives", () => {
  it("is cut at the limit, and says so", async () => {
    const of = (text: string) => box({ run: () => Promise.resolve({ text }) }).run();
    const most = "x".repeat(MAX_TEXT_CHARACTERS);
    expect((await of(most)).text).toBe(most);
    const { text } = await of(`${most}x`);
    expect(text).toMatch(/\[The first 20000 of 20001 characters; the rest was cut off\.\]$/);
    const half = await of("x".repeat(MAX_TEXT_CHARACTERS - 1) + "🙂");
    expect(half.text.slice(0, MAX_TEXT_CHARACTERS)).not.toMatch(/[\uD800-\uDBFF]\n/);
  });

  it("may be pictures that browsers show, and cannot run", async () => {
    const picture = (mediaType: string, base64: string): ToolView => ({
      kind: "image",
      mediaType,
      base64,
    });
    const views = [
      picture("image/png", "iVBORw=="),
      picture("image/svg+xml", "PHN2Zz4="),
      picture("text/html", "PGI+"),
      picture("image/png", '" onerror="alert(1)'),
      picture("image/png", "A".repeat(MAX_IMAGE_CHARACTERS + 4)),
      picture("image/jpeg", "A".repeat(MAX_IMAGE_CHARACTERS)),
    ];
    const result = await box({ run: () => Promise.resolve({ text: "", views }) }).run();
    expect(result.views).toEqual([views[0], views[1], views[5]]);
    const many = Array.from({ length: MAX_VIEWS + 1 }, () => picture("image/png", ""));
    const kept = await box({ run: () => Promise.resolve({ text: "", views: many }) }).run();
    expect(kept.views).toHaveLength(MAX_VIEWS);
  });

  it("comes while it runs, up to as many", async () => {
    const { run, views } = box({
      run: (_, { onView }) => {
        for (let i = 0; i < 1000; i += 1) {
          onView({ kind: "text", text: String(i) });
        }
        return Promise.resolve({ text: "done" });
      },
    });
    await run();
    expect(views).toHaveLength(MAX_VIEWS);
  });

  it("may be an error of its own", async () => {
    const run = () => Promise.resolve({ text: "out of range", isError: true });
    expect(await box({ run }).run()).toMatchObject({ isError: true, text: "out of range" });
  });
});

describe("names", () => {
  const others = (...tools: Tool[]) =>
    new Tools({ builtins: [tool()], others: () => tools }).tools.map(({ name }) => name);

  it("of servers' tools stay, unless they are taken or are none", () => {
    expect(others(tool({ name: "search", origin: "Docs" }))).toEqual(["weather", "search"]);
    expect(
      others(
        tool({ origin: "Docs & more" }),
        tool({ name: "find", origin: "a" }),
        tool({ name: "find", origin: "b" }),
        tool({ name: "do.it!", origin: "b" }),
      ),
    ).toEqual(["weather", "Docs_more_weather", "a_find", "b_find", "b_do_it_"]);
  });

  it("are unique and short, however hard a server tries", () => {
    const long = "x".repeat(200);
    const names = others(
      tool({ name: long, origin: long }),
      tool({ name: long, origin: long }),
      tool({ name: "日本", origin: "天気" }),
      tool({ name: "", origin: "" }),
      tool({ name: "a_find", origin: "z" }),
      tool({ name: "find", origin: "a" }),
      tool({ name: "find", origin: "a" }),
    );
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) {
      expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
    }
  });

  it("lead to the tool that has them", async () => {
    class Remote {
      readonly title = "";
      readonly description = "";
      readonly parameters = {};
      readonly approval = "never";
      readonly origin = "Docs";
      readonly name = "weather";
      readonly #answer = "of the server";
      run = () => Promise.resolve({ text: this.#answer });
    }
    const tools = new Tools({ builtins: [tool()], others: () => [new Remote()] });
    expect(tools.definitions(["Docs_weather"])).toEqual([
      {
        type: "function",
        function: { name: "Docs_weather", description: "", parameters: {} },
      },
    ]);
    const result = await tools.run(
      { id: "1", name: "Docs_weather", arguments: "{}" },
      {
        conversation: "c",
        signal: new AbortController().signal,
        approve: () => Promise.resolve("no"),
        onView: () => undefined,
      },
    );
    expect(result.text).toBe("of the server");
  });
});
