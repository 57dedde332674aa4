// @vitest-environment jsdom
import { afterEach, describe, expect, it } from "vitest";

import type { Place } from "../../web/src/api-protocol.ts";
import { ERROR_CODES } from "../../web/src/errors.ts";
import { errorText } from "../../web/src/page/error-text.ts";
import { speak } from "../../web/src/page/i18n/words.ts";
import { type Situation, describePlace, describeServedBy } from "../../web/src/page/place-text.ts";

function place(wanted: Place["wanted"], hasWebGpu: boolean, hasServer: boolean): Place {
  return { wanted, hasWebGpu, hasServer };
}

function situation(of: Place, more: Partial<Situation> = {}): Situation {
  return {
    place: of,
    knowsWebGpu: false,
    engine: null,
    processor: null,
    isInAnotherTab: false,
    failure: null,
    answered: null,
    ...more,
  };
}

describe("where answers come from, in words", () => {
  it.each<[string, Situation]>([
    ["This browser's graphics adapter", situation(place("auto", true, true))],
    ["This browser's graphics adapter", situation(place("auto", true, false))],
    [
      "This browser's graphics adapter, in another tab",
      situation(place("auto", true, true), { engine: "webgpu", isInAnotherTab: true }),
    ],
    [
      "The server at this address, because this browser has no WebGPU",
      situation(place("auto", false, true)),
    ],
    [
      "The server at this address, because this browser has no graphics adapter for WebGPU",
      situation(place("auto", false, true), { knowsWebGpu: true }),
    ],
    [
      "This browser's processor: there is no WebGPU and no server",
      situation(place("auto", false, false), {
        engine: "cpu",
        processor: { reason: "No WebGPU here", code: "no-variant" },
      }),
    ],
    [
      "This browser's graphics adapter, as chosen",
      situation(place("browser", true, true), { engine: "webgpu" }),
    ],
    [
      "This browser's processor, as chosen: there is no WebGPU",
      situation(place("browser", false, true), {
        engine: "cpu",
        processor: { reason: "No WebGPU", code: "no-variant" },
      }),
    ],
    [
      "This browser's processor, as chosen",
      situation(place("browser", true, true), { engine: "cpu" }),
    ],
    [
      "This browser's processor: no variant fits",
      situation(place("auto", true, true), {
        engine: "cpu",
        processor: { reason: "no variant fits", code: "no-variant" },
      }),
    ],
    ["The server at this address, as chosen", situation(place("server", true, true))],
    [
      "This browser's graphics adapter: there is no server",
      situation(place("server", true, false), { engine: "webgpu" }),
    ],
    [
      "This browser's processor: there is no WebGPU and no server",
      situation(place("server", false, false)),
    ],
    [
      "The server at this address, because this browser cannot: there is no GGUF of big here",
      situation(place("auto", true, true), {
        failure: { code: "no-variant", message: "There is no GGUF of big here." },
      }),
    ],
    [
      "The server at this address, because this browser cannot: GPU lost",
      situation(place("auto", true, true), {
        engine: "webgpu",
        answered: { place: "server", why: "this browser cannot: GPU lost" },
      }),
    ],
    [
      "This browser, because the server is not reached",
      situation(place("auto", false, true), {
        answered: { place: "browser", why: "the server is not reached" },
      }),
    ],
  ])("%s", (words, of) => {
    expect(describePlace(of)).toBe(words);
  });

  it("says under an answer only what is worth a word", () => {
    const here = place("auto", true, true);
    const there = place("auto", false, true);
    expect(describeServedBy({ place: "browser", why: "x" }, here)).toBeNull();
    expect(describeServedBy({ place: "server", why: "x" }, there)).toBe("from the server");
    expect(describeServedBy({ place: "server", why: "this browser cannot: x" }, here)).toBe(
      "from the server, because this browser cannot: x",
    );
    expect(describeServedBy({ place: "server", why: "" }, here)).toBe("from the server");
    expect(describeServedBy({ place: "browser", why: "the server is not reached" }, there)).toBe(
      "from this browser, because the server is not reached",
    );
  });
});

describe("reasons in other languages", () => {
  afterEach(() => speak("en"));
  const here = place("auto", true, true);
  const unreached = { why: "the server is not reached", code: "not-reached" };

  it("follow the code, not the English words", async () => {
    await speak("de");
    expect(describeServedBy({ place: "browser", ...unreached }, place("auto", false, true))).toBe(
      "aus diesem Browser – der Server ist nicht erreichbar",
    );
    const failed = { why: "this browser cannot: 5 GB", code: "cannot out-of-memory" };
    expect(describeServedBy({ place: "server", ...failed }, here)).toBe(
      "vom Server – dieser Browser kann es nicht: der Grafikspeicher reicht nicht",
    );
  });

  it("are the English words where the code is not known", async () => {
    await speak("ar");
    const strange = { place: "server", why: "the moon is full", code: "full-moon" } as const;
    expect(describeServedBy(strange, here)).toContain("the moon is full");
    const inherited = { ...strange, code: "cannot constructor" };
    expect(describeServedBy(inherited, here)).toContain("the moon is full");
  });

  it("say why the processor runs it, and why this browser cannot", async () => {
    await speak("de");
    const processor = { reason: "No WebGPU here", code: "no-webgpu" } as const;
    expect(
      describePlace(situation(place("auto", true, true), { engine: "cpu", processor })),
    ).toContain("hier gibt es kein WebGPU");
    const failure = { code: "no-variant", message: "There is no GGUF of big here." } as const;
    expect(describePlace(situation(here, { failure }))).not.toContain("GGUF");
  });
});

describe("errorText", () => {
  afterEach(() => speak("en"));
  const facts = { neededBytes: 5e9, budgetBytes: 2.5e9 };
  const error = { code: "out-of-memory", message: "It takes 5 GB." } as const;

  it("is the sentence itself in English", () => {
    expect(errorText({ ...error, facts })).toBe("It takes 5 GB.");
  });

  it("says all in the page's language where the facts are known", async () => {
    await speak("de");
    expect(errorText({ ...error, facts })).toContain("5,0 GB Grafikspeicher");
    expect(errorText({ ...error, facts })).not.toContain("It takes");
  });

  it("keeps the English sentence behind a general one", async () => {
    await speak("ar");
    expect(errorText(error)).toBe("الذاكرة لا تكفي: \u2068It takes 5 GB.\u2069");
  });

  it.each(["de", "ar"] as const)("knows each code in %s", async (language) => {
    await speak(language);
    const plain = ERROR_CODES.filter((code) => errorText({ code, message: "x" }) === "x");
    expect(plain).toEqual([]);
  });
});
