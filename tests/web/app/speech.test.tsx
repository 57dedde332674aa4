// @vitest-environment jsdom
/** Speech in and out: where sound goes, what is asked first, and which voices read. */
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import {
  type Recognition,
  type RecognitionClass,
  appended,
  findRecognition,
  listen,
  placeOfSpeech,
} from "../../../web/src/page/speech/recognition.ts";
import { Reader, type Synthesis, voiceFor } from "../../../web/src/page/speech/reader.ts";
import { SpeechInput } from "../../../web/src/page/speech/speech-input.tsx";
import {
  PIECE_CHARACTERS,
  languageOf,
  piecesOf,
  spokenText,
} from "../../../web/src/page/speech/spoken-text.ts";

class FakeRecognition implements Recognition {
  static last: FakeRecognition | null = null;
  lang = "";
  continuous = false;
  interimResults = false;
  processLocally?: boolean;
  onresult: Recognition["onresult"] = null;
  onerror: Recognition["onerror"] = null;
  onend: Recognition["onend"] = null;
  isStarted = false;

  constructor() {
    FakeRecognition.last = this;
  }
  start() {
    this.isStarted = true;
  }
  stop() {
    this.onend?.();
  }
  abort() {
    this.onerror?.({ error: "aborted" });
    this.onend?.();
  }
  hear(...pieces: string[]) {
    this.onresult?.({
      results: pieces.map((transcript) => ({ isFinal: true, 0: { transcript } })),
    });
  }
}

function recognition(availability?: string, installs?: boolean): RecognitionClass {
  const made = class extends FakeRecognition {} as unknown as RecognitionClass;
  if (availability !== undefined) {
    made.available = () => Promise.resolve(availability);
  }
  if (installs !== undefined) {
    made.install = () => Promise.resolve(installs);
  }
  return made;
}

describe("where speech is recognised", () => {
  it.each<[string, RecognitionClass | null]>([
    ["none", null],
    ["remote", recognition()],
    ["device", recognition("available")],
    ["download", recognition("downloadable", true)],
    ["remote", recognition("downloadable")],
    ["remote", recognition("unavailable", true)],
  ])("%s", async (place, made) => {
    expect(await placeOfSpeech(made, "en")).toBe(place);
  });

  it("is assumed to be elsewhere where the browser's answer fails", async () => {
    const made = recognition();
    made.available = () => Promise.reject(new TypeError("no such language"));
    expect(await placeOfSpeech(made, "xx")).toBe("remote");
  });

  it("is found by either name", () => {
    const made = recognition();
    expect(findRecognition({ webkitSpeechRecognition: made })).toBe(made);
    expect(findRecognition({})).toBeNull();
  });
});

describe("listening", () => {
  it("gives what was said, and why it ended", () => {
    const texts: string[] = [];
    const ends: unknown[] = [];
    const options = {
      language: "de-DE",
      place: "device" as const,
      onText: (text: string) => texts.push(text),
      onEnd: (why: unknown) => ends.push(why),
    };
    listen(FakeRecognition, options);
    const session = FakeRecognition.last;
    expect([session?.lang, session?.processLocally, session?.isStarted]).toEqual([
      "de-DE",
      true,
      true,
    ]);
    session?.hear("Guten", " Tag ");
    session?.onerror?.({ error: "network" });
    session?.onend?.();
    session?.onend?.();
    expect(texts).toEqual(["Guten Tag"]);
    expect(ends).toEqual(["network"]);
    listen(FakeRecognition, options);
    FakeRecognition.last?.onerror?.({ error: "brand-new" });
    FakeRecognition.last?.stop();
    expect(ends).toEqual(["network", "other"]);
  });

  it("says nothing more after an abort", () => {
    const told: unknown[] = [];
    const tell = (what: unknown) => told.push(what);
    listen(FakeRecognition, { language: "en", place: "remote", onText: tell, onEnd: tell }).abort();
    FakeRecognition.last?.hear("late");
    expect(told).toEqual([]);
    expect(FakeRecognition.last?.processLocally).toBeUndefined();
  });

  it.each([
    ["", "hello", "hello"],
    ["Say", "hello", "Say hello"],
    ["Say\n", "hello", "Say\nhello"],
    ["Say", "", "Say"],
  ])("%j and %j", (before, spoken, all) => {
    expect(appended(before, spoken)).toBe(all);
  });
});

describe("the microphone", () => {
  let root: HTMLElement;
  const texts: string[] = [];
  const onAgree = vi.fn();

  beforeEach(() => {
    root = document.body.appendChild(document.createElement("div"));
    texts.length = 0;
    onAgree.mockReset();
    // jsdom's dialogs do not open.
    HTMLDialogElement.prototype.showModal = function show(this: HTMLDialogElement) {
      this.open = true;
    };
  });
  afterEach(() => {
    render(null, root);
    root.remove();
    vi.unstubAllGlobals();
  });

  async function show(made: RecognitionClass | null, mayLeave = false) {
    vi.stubGlobal("webkitSpeechRecognition", made ?? undefined);
    await act(async () => {
      render(
        <SpeechInput
          text="Say"
          onText={(text) => texts.push(text)}
          mayLeave={mayLeave}
          onAgree={onAgree}
        />,
        root,
      );
      await Promise.resolve();
    });
    await act(() => new Promise((resolve) => setTimeout(resolve, 5)));
  }

  const press = (selector: string) =>
    act(() => {
      root.querySelector<HTMLButtonElement>(selector)?.click();
    });

  it("is not there where the browser cannot hear", async () => {
    await show(null);
    expect(root.innerHTML).toBe("");
  });

  it("asks before sound leaves, and listens only when they agree", async () => {
    FakeRecognition.last = null;
    await show(recognition());
    await press("button.speech");
    expect(root.querySelector("dialog")?.textContent).toContain("servers of its maker");
    expect(FakeRecognition.last).toBeNull();
    await press("dialog .quiet");
    expect(root.querySelector("dialog")).toBeNull();
    expect(onAgree).not.toHaveBeenCalled();
    await press("button.speech");
    await press("dialog .primary");
    expect(onAgree).toHaveBeenCalledOnce();
    await act(() => FakeRecognition.last?.hear("hello"));
    expect(texts).toEqual(["Say hello"]);
    expect(root.querySelector("button.speech")?.getAttribute("aria-pressed")).toBe("true");
    await press("button.speech");
    expect(root.querySelector("button.speech")?.getAttribute("aria-pressed")).toBe("false");
  });

  it("does not ask twice, nor where nothing leaves", async () => {
    await show(recognition(), true);
    await press("button.speech");
    expect(root.querySelector("dialog")).toBeNull();
    await act(() => {
      FakeRecognition.last?.onerror?.({ error: "not-allowed" });
      FakeRecognition.last?.onend?.();
    });
    expect(root.textContent).toContain("microphone was not allowed");
    render(null, root);
    await show(recognition("available"));
    await press("button.speech");
    expect(root.querySelector("dialog")).toBeNull();
    expect(FakeRecognition.last?.processLocally).toBe(true);
  });
});

describe("what is read aloud", () => {
  it("is words, not marks, code or citations", () => {
    const markdown = [
      "## A *small* **title**",
      "See [the page](https://example.org) [1], and `code`.",
      "```js\nlet x = 1;\n```",
      "- one",
      "2. two",
      "| a | b |",
      "|---|---|",
      "$$x^2$$",
    ].join("\n");
    expect(
      spokenText(markdown)
        .split("\n")
        .map((line) => line.trim()),
    ).toEqual(["A small title", "See the page, and code.", "one", "two", ", a , b ,"]);
    expect(spokenText("Look:\n```\nnever closed")).toBe("Look:");
  });

  it("comes in pieces that end with sentences where they can", () => {
    const pieces = piecesOf(`First one. Second one! ${"long words, ".repeat(60)}end.`, "en");
    expect(pieces[0]).toBe("First one. Second one!");
    expect(pieces.every((piece) => piece.length <= PIECE_CHARACTERS)).toBe(true);
    expect(piecesOf("文".repeat(500), "zh").join("")).toBe("文".repeat(500));
    expect(
      piecesOf("😀a".repeat(200), "en").every((piece) => encodeURIComponent(piece) !== ""),
    ).toBe(true);
    expect(piecesOf(" \n--- \n", "en")).toEqual([]);
  });

  it.each([
    ["The cat is on the table and it is happy.", "de", "en"],
    ["Die Katze ist nicht auf dem Tisch, und das ist gut.", "en", "de"],
    ["القطة على الطاولة", "en", "ar"],
    ["猫はテーブルの上にいます", "en", "ja"],
    ["猫在桌子上", "en", "zh"],
    ["42", "de", "de"],
  ])("%s on a page in %s: %s", (text, page, wanted) => {
    expect(languageOf(text, page)).toBe(wanted);
  });
});

describe("voices", () => {
  const voice = (lang: string, localService: boolean, isDefault = false) =>
    ({ lang, localService, default: isDefault }) as SpeechSynthesisVoice;

  it("are of this device only, of the text's language, and of the person's region", () => {
    const voices = [
      voice("en-US", false),
      voice("en-GB", true),
      voice("en_AU", true),
      voice("de-DE", true),
    ];
    expect(voiceFor(voices, "en", ["en-AU"])?.lang).toBe("en_AU");
    expect(voiceFor(voices, "en", ["fr"])?.lang).toBe("en-GB");
    expect(voiceFor(voices, "fr", ["fr"])).toBeNull();
    expect(voiceFor([voice("en-US", false)], "en", ["en-US"])).toBeNull();
  });

  it("read piece by piece, one text at a time, and stop", () => {
    const said: (EventTarget & { text: string })[] = [];
    const synthesis = {
      getVoices: () => [voice("en-US", true)],
      speak: (utterance: unknown) => said.push(utterance as EventTarget & { text: string }),
      cancel: vi.fn(),
      addEventListener: () => undefined,
    } as unknown as Synthesis;
    const reader = new Reader(
      synthesis,
      (text) => Object.assign(new EventTarget(), { text }) as unknown as SpeechSynthesisUtterance,
    );
    reader.read("a", "One word. ".repeat(30), "en");
    expect(reader.reading.value).toBe("a");
    expect(said).toHaveLength(1);
    said[0]?.dispatchEvent(new Event("end"));
    expect(said).toHaveLength(2);
    reader.read("b", "Short.", "en");
    said[1]?.dispatchEvent(new Event("end"));
    expect(said).toHaveLength(3);
    expect(reader.reading.value).toBe("b");
    said[2]?.dispatchEvent(new Event("end"));
    expect(reader.reading.value).toBeNull();
    reader.read("c", "Kurz.", "de");
    expect(said).toHaveLength(3);
    expect(reader.reading.value).toBeNull();
  });
});
