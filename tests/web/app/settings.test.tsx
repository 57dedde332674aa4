// @vitest-environment jsdom
/** Settings, parameters, presets and the place of answers, as people use them. */
import { readFileSync } from "node:fs";

import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import type { ChatParameters, Preset } from "../../../web/src/chat/types.ts";
import { words } from "../../../web/src/page/i18n/words.ts";
import type { Situation } from "../../../web/src/page/place-text.ts";
import { ContextMeter } from "../../../web/src/page/settings/context-meter.tsx";
import { LIBRARIES } from "../../../web/src/page/settings/libraries.ts";
import { ParametersPanel } from "../../../web/src/page/settings/parameters-panel.tsx";
import { PlaceBadge, type PlaceBadgeProps } from "../../../web/src/page/settings/place-badge.tsx";
import {
  USUAL,
  choose,
  openPreferences,
  preferences,
  readPreferences,
} from "../../../web/src/page/settings/preferences.ts";
import { PresetsPanel } from "../../../web/src/page/settings/presets-panel.tsx";
import { nameOf } from "../../../web/src/page/settings/save-as-model.tsx";
import { SettingsDialog } from "../../../web/src/page/settings/settings-dialog.tsx";
import { placeBeside } from "../../../web/src/page/ui/anchored.ts";
import { nextEntry } from "../../../web/src/page/ui/menu.tsx";

beforeAll(() => {
  // jsdom has dialogs, but none that open.
  HTMLDialogElement.prototype.showModal = function show(this: HTMLDialogElement) {
    this.open = true;
  };
});

let page: HTMLElement;

beforeEach(() => {
  page = document.createElement("div");
  document.body.append(page);
});

afterEach(async () => {
  render(null, page);
  page.remove();
  await choose(USUAL);
});

async function show(view: preact.ComponentChildren): Promise<void> {
  await act(() => {
    render(view, page);
  });
}

function find(selector: string): Element {
  const found = page.querySelector(selector);
  if (found === null) {
    throw new Error(`There is no ${selector}.`);
  }
  return found;
}

function button(name: string): HTMLButtonElement {
  const found = [...page.querySelectorAll("button")].find(
    (each) => each.textContent.trim() === name || each.getAttribute("aria-label") === name,
  );
  if (found === undefined) {
    throw new Error(`There is no button "${name}".`);
  }
  return found;
}

/** Or a textarea, or a select: what is asked of them is the same. */
function labelled(name: string): HTMLInputElement {
  const label = [...page.querySelectorAll("label")].find((each) => each.textContent === name);
  const field = document.getElementById(label?.htmlFor ?? "");
  if (field === null) {
    throw new Error(`There is no field "${name}".`);
  }
  return field as HTMLInputElement;
}

async function click(element: HTMLElement): Promise<void> {
  await act(() => {
    element.click();
  });
}

async function type(field: HTMLInputElement, text: string): Promise<void> {
  await act(() => {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });
}

const situation: Situation = {
  place: { wanted: "auto", hasWebGpu: true, hasServer: true },
  knowsWebGpu: true,
  engine: "webgpu",
  processor: null,
  isInAnotherTab: false,
  failure: null,
  answered: null,
};

describe("preferences", () => {
  const storage = (text: string | null = null) => {
    const kept = { text };
    return {
      kept,
      getItem: () => kept.text,
      setItem: (_: string, value: string) => {
        kept.text = value;
      },
    };
  };

  it.each([null, "", "{", "[]", "7", "null", '{"theme":"pink","language":"toString"}'])(
    "are as usual where %j was kept",
    (text) => {
      expect(readPreferences(text)).toEqual(USUAL);
    },
  );

  it("show at once, are kept, and come back", async () => {
    const shelf = storage();
    await openPreferences(shelf, ["de-CH"]);
    expect(document.documentElement.lang).toBe("de");
    await choose({ theme: "dark", contrast: "more", textSize: "large", language: "ar" });
    const { dataset, lang, dir } = document.documentElement;
    expect(dataset).toMatchObject({ theme: "dark", contrast: "more", text: "large" });
    expect([lang, dir]).toEqual(["ar", "rtl"]);
    expect(readPreferences(shelf.kept.text)).toEqual(preferences.value);

    await choose({ theme: "system", contrast: "system", textSize: "normal", language: null }, []);
    expect(document.documentElement.getAttributeNames().sort()).toEqual(["dir", "lang"]);
    expect(document.documentElement.dir).toBe("ltr");
  });

  it("hold for the visit where nothing can be kept", async () => {
    await openPreferences(
      {
        getItem: () => {
          throw new Error("no");
        },
        setItem: () => {
          throw new Error("no");
        },
      },
      [],
    );
    await choose({ sendKey: "ctrl-enter" });
    expect(preferences.value.sendKey).toBe("ctrl-enter");
  });

  it("turn the colour of the browser's bar", async () => {
    document.head.innerHTML =
      '<meta name="theme-color" media="(prefers-color-scheme: light)" content="#fff" />' +
      '<meta name="theme-color" media="(prefers-color-scheme: dark)" content="#000" />';
    const medias = () =>
      [...document.head.querySelectorAll("meta")].map((meta) => meta.getAttribute("media"));
    const before = medias();
    await choose({ theme: "dark" });
    expect(medias()).toEqual(["not all", "all"]);
    await choose({ theme: "light" });
    expect(medias()).toEqual(["all", "not all"]);
    await choose({ theme: "system" });
    expect(medias()).toEqual(before);
    document.head.innerHTML = "";
  });
});

describe("the settings", () => {
  const dialog = (more: Partial<Parameters<typeof SettingsDialog>[0]> = {}) => (
    <SettingsDialog
      apiKey={null}
      preferences={preferences.value}
      situation={situation}
      host="box.local"
      version="1.2.3"
      actions={{
        choose: (change) => void choose(change),
        want: () => undefined,
        deleteEverything: () => Promise.resolve(),
        keepApiKey: () => undefined,
      }}
      onClose={() => undefined}
      {...more}
    />
  );

  it("delete everything only when asked twice, and say what went wrong", async () => {
    const deleteEverything = vi.fn(() => Promise.reject(new Error("Close the other tabs.")));
    const actions = { choose: vi.fn(), want: vi.fn(), deleteEverything, keepApiKey: vi.fn() };
    await show(dialog({ section: "privacy", actions }));
    await click(button("Delete everything"));
    expect(deleteEverything).not.toHaveBeenCalled();
    await click(button("Yes, delete everything"));
    expect(deleteEverything).toHaveBeenCalledOnce();
    expect(find('[role="alert"]').textContent).toBe("Close the other tabs.");
    await click(button("Keep it"));
    expect(button("Delete everything").disabled).toBe(false);
  });

  it("say whether anything leaves the device now", async () => {
    await show(dialog({ section: "privacy" }));
    expect(find(".note").textContent).toContain("Nothing that you write leaves this device");
    const place = { ...situation.place, wanted: "server" as const };
    await show(dialog({ section: "privacy", situation: { ...situation, place } }));
    expect(find(".note").textContent).toContain("What you write goes to box.local");
  });

  it("hide the API key, show it, and forget it", async () => {
    const keepApiKey = vi.fn();
    const actions = { choose: vi.fn(), want: vi.fn(), deleteEverything: vi.fn(), keepApiKey };
    await show(dialog({ section: "server", apiKey: "secret", actions }));
    const field = labelled("API key of the server");
    expect(field.type).toBe("password");
    await click(button("Show the key"));
    expect(labelled("API key of the server").type).toBe("text");
    await type(labelled("API key of the server"), "  other ");
    expect(keepApiKey).toHaveBeenLastCalledWith("other");
    await click(button("Forget the key"));
    expect(keepApiKey).toHaveBeenLastCalledWith(null);
  });

  it("lead by arrow keys from view to view, in the direction of the text", async () => {
    await show(dialog());
    const press = (key: string) =>
      act(() => {
        const event = new KeyboardEvent("keydown", { key, bubbles: true });
        document.activeElement?.dispatchEvent(event);
      });
    button("Look").focus();
    await press("ArrowRight");
    expect(document.activeElement?.textContent).toBe("Chat");
    expect(button("Chat").getAttribute("aria-selected")).toBe("true");
    await press("ArrowLeft");
    await press("ArrowLeft");
    expect(document.activeElement?.textContent).toBe("About");
  });

  it("name every library that the page is built with", () => {
    const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as {
      dependencies: Record<string, string>;
    };
    expect(LIBRARIES.map(([name]) => name)).toEqual(Object.keys(dependencies));
    for (const [name, licence] of LIBRARIES) {
      const text = readFileSync(`node_modules/${name}/package.json`, "utf8");
      const stated = (JSON.parse(text) as { license: string }).license;
      expect(stated.replace(/[()]/g, ""), name).toBe(licence);
    }
  });
});

describe("the parameters", () => {
  async function open(parameters: ChatParameters, own: ChatParameters = {}) {
    const set = vi.fn<(parameters: ChatParameters) => void>();
    const panel = (now: ChatParameters) => (
      <ParametersPanel
        system=""
        parameters={now}
        overflow="ask"
        own={{ system: null, parameters: own }}
        actions={{
          setSystem: () => undefined,
          setParameters: (changed) => {
            set(changed);
            render(panel(changed), page);
          },
          setOverflow: () => undefined,
        }}
        onClose={() => undefined}
      />
    );
    await show(panel(parameters));
    return set;
  }

  it("take numbers, refuse others in words, and go back to the model's own", async () => {
    const set = await open({}, { temperature: 0.6 });
    const field = labelled("Temperature");
    expect(page.textContent).toContain("model's own: 0.6");
    expect(field.placeholder).toBe("0.6");
    await type(field, "0,25");
    expect(set).toHaveBeenLastCalledWith({ temperature: 0.25 });
    await type(field, "hot");
    expect(set).toHaveBeenCalledTimes(1);
    expect(field.getAttribute("aria-invalid")).toBe("true");
    expect(page.textContent).toContain("A number from 0 to 100.");
    await click(button("Temperature: back to the model's own"));
    expect(set).toHaveBeenLastCalledWith({});
    expect(field.value).toBe("");
  });

  it("keep stop texts with line breaks, one in a line", async () => {
    const set = await open({ stop: ["a\nb", "c\\d"], seed: 1 });
    const field = labelled("Stop texts");
    expect(field.value).toBe("a\\nb\nc\\\\d");
    await type(field, "a\\nb\n\n###\n###");
    expect(set).toHaveBeenLastCalledWith({ seed: 1, stop: ["a\nb", "###"] });
    await type(field, "x".repeat(257));
    expect(page.textContent).toContain("At most 256 characters in a line.");
    await click(button("All back to the model's own"));
    expect(set).toHaveBeenLastCalledWith({});
  });
});

describe("the presets", () => {
  const pirate: Preset = {
    id: "1",
    name: "Pirate",
    updatedAt: 1,
    modelfile: "# Mine\nFROM smollm2\nSYSTEM You are a pirate.\n",
  };

  async function open(presets: readonly Preset[], more: object = {}) {
    const actions = {
      keep: vi.fn(),
      remove: vi.fn(),
      use: vi.fn(),
      download: vi.fn(),
      saveAsModel: null as ((request: object) => Promise<void>) | null,
      ...more,
    };
    await show(
      <PresetsPanel
        presets={presets}
        current={null}
        ofChat={null}
        models={["smollm2"]}
        actions={actions}
        onClose={() => undefined}
      />,
    );
    return actions;
  }

  it("are edited as a form and as a text, which say the same", async () => {
    const { keep } = await open([pirate]);
    await click(button("Edit: Pirate"));
    await type(labelled("System prompt"), "You are a cook.");
    await click(button("Modelfile"));
    const text = labelled("Modelfile");
    expect(text.value).toBe("# Mine\nFROM smollm2\nSYSTEM You are a cook.\n");
    await type(text, `${text.value}PARAMETER temprature 1\n`);
    expect(page.textContent).toContain("Line 4: ");
    expect(page.textContent).toContain("did you mean temperature");
    expect(button("Save").disabled).toBe(true);
    await click(button("Form"));
    expect(page.textContent).toContain("The form waits");
    await click(button("Modelfile"));
    await type(labelled("Modelfile"), `${pirate.modelfile}PARAMETER temperature 1\n`);
    await click(button("Form"));
    expect(labelled("Temperature").value).toBe("1");
    await click(button("Save"));
    expect(keep).toHaveBeenCalledWith({
      id: "1",
      name: "Pirate",
      modelfile: "# Mine\nFROM smollm2\nSYSTEM You are a pirate.\nPARAMETER temperature 1\n",
    });
  });

  it("are not left with changes unless somebody says so", async () => {
    await open([pirate]);
    await click(button("Edit: Pirate"));
    await type(labelled("Name"), "");
    expect(button("Save").disabled).toBe(true);
    await click(button("Cancel"));
    expect(page.textContent).toContain("You have changed this preset.");
    await click(button("Go on editing"));
    await click(button("Cancel"));
    await click(button("Discard the changes"));
    expect(page.textContent).toContain("Use in this chat");
  });

  it("are used, and say what a chat cannot have", async () => {
    const preset = { ...pirate, modelfile: "FROM smollm2\nPARAMETER num_ctx 4096\n" };
    const { use } = await open([preset]);
    await click(button("Use in this chat"));
    expect(use).toHaveBeenCalledWith(preset, expect.objectContaining({ model: "smollm2" }));
    expect(page.textContent).toContain("Only a model made of it would have: num_ctx.");
  });

  it("are duplicated, exported and deleted by the menu", async () => {
    const { keep, download, remove } = await open([pirate]);
    const choosing = async (label: string) => {
      await click(button("More for Pirate"));
      await click(button(label));
    };
    await choosing("Duplicate");
    expect(keep).toHaveBeenCalledWith({ ...pick(pirate), id: null, name: "Pirate (copy)" });
    await choosing("Export");
    expect(download).toHaveBeenCalledWith("Pirate.Modelfile", pirate.modelfile);
    await choosing("Delete");
    expect(remove).not.toHaveBeenCalled();
    await click(button("Delete"));
    expect(remove).toHaveBeenCalledWith("1");
  });

  it("become models on a server, or say that there is none", async () => {
    await open([pirate]);
    await click(button("More for Pirate"));
    await click(button("Save as a model"));
    expect(page.textContent).toContain("The preset stays in this browser");
    render(null, page);

    const saveAsModel = vi.fn(() => Promise.resolve());
    await open([pirate], { saveAsModel });
    await click(button("More for Pirate"));
    await click(button("Save as a model"));
    await type(labelled("Name of the model"), "me/Pirate:v1");
    await click(button("Make the model"));
    expect(saveAsModel).toHaveBeenCalledWith(
      { model: "me/Pirate:v1", from: "smollm2", system: "You are a pirate.", stream: true },
      expect.anything(),
    );
    expect(page.textContent).toContain("me/Pirate:v1 is on the server now.");
  });

  it.each([
    ["Pirate!", "pirate"],
    ["Über-Köchin 2", "uber-kochin-2"],
    ["طبّاخ", "preset"],
    ["x".repeat(100), "x".repeat(60)],
  ])("%s is offered as %s", (name, offered) => {
    expect(nameOf(name)).toBe(offered);
  });

  function pick({ name, modelfile }: Preset) {
    return { name, modelfile };
  }
});

describe("the place of answers", () => {
  const badge: PlaceBadgeProps = {
    situation,
    report: null,
    task: "",
    figures: null,
    liveTokensPerSecond: null,
    contextSize: 0,
    host: "box.local",
    onWanted: () => undefined,
  };

  it("is chosen by hand, under the names that people know", async () => {
    const onWanted = vi.fn();
    const place = { ...situation.place, hasServer: false };
    await show(<PlaceBadge {...badge} situation={{ ...situation, place }} onWanted={onWanted} />);
    const choice = labelled("Answers from") as HTMLElement as HTMLSelectElement;
    expect(choice.id).toBe("place-wanted");
    expect([...choice.options].map(({ text, disabled }) => [text, disabled])).toEqual([
      ["Automatic", false],
      ["This browser", false],
      ["The server (there is none)", true],
    ]);
    expect(find("#place-text").textContent).toBe("This browser's graphics adapter.");
    await act(() => {
      choice.value = "browser";
      choice.dispatchEvent(new Event("change", { bubbles: true }));
    });
    expect(onWanted).toHaveBeenCalledWith("browser");
  });

  it("tells the figures of the answer on its way, then of the last one", async () => {
    const figures = {
      promptTokens: 90,
      cachedTokens: 30,
      completionTokens: 10,
      timeToFirstTokenSeconds: 0.42,
      decodeTokensPerSecond: 31.4,
    };
    await show(<PlaceBadge {...badge} figures={figures} contextSize={1000} />);
    const facts = find("#status");
    expect(facts.textContent).toContain("31 tokens/s");
    expect(facts.textContent).toContain("after 0.4 s");
    expect(facts.textContent).toContain("100 of 1,000");
    expect(find('[role="meter"]').getAttribute("aria-valuenow")).toBe("100");
    await show(<PlaceBadge {...badge} figures={figures} liveTokensPerSecond={7.25} />);
    expect(find(".place-button").textContent).toContain("7.3 tokens/s");
  });

  it("offers ways on when the context is full, and never cuts by itself", async () => {
    const ways = { onDropOldest: vi.fn(), onNewChat: vi.fn() };
    await show(<ContextMeter used={10} size={100} {...ways} />);
    expect(page.textContent).toBe("");
    await show(<ContextMeter used={90} size={100} {...ways} />);
    expect(page.textContent).toContain("nearly full");
    await show(<ContextMeter used={90} draft={20} size={100} {...ways} />);
    expect(page.textContent).toContain("With what you are writing");
    await click(button("Leave out the oldest messages"));
    await click(button("Begin a new chat"));
    expect(ways.onDropOldest).toHaveBeenCalledOnce();
    expect(ways.onNewChat).toHaveBeenCalledOnce();
    await show(<ContextMeter used={90} size={0} {...ways} />);
    expect(page.textContent).toBe("");
  });
});

describe("menus", () => {
  it.each([
    ["ArrowDown", 2, 0],
    ["ArrowUp", 0, 2],
    ["Home", 2, 0],
    ["End", 0, 2],
    ["d", 0, 2],
    ["E", 2, 1],
    ["x", 0, null],
    ["Enter", 0, null],
    [" ", 0, null],
  ])("%s leads from %i to %s", (key, at, to) => {
    expect(nextEntry(key, at, ["Duplicate", "Export", "Delete"])).toBe(to);
  });

  it.each([
    ["below", { left: 10, top: 10, width: 40, height: 20 }, false, { left: 10, top: 36 }],
    [
      "above at the foot",
      { left: 10, top: 560, width: 40, height: 20 },
      false,
      { left: 10, top: 354 },
    ],
    [
      "inside at the edge",
      { left: 380, top: 10, width: 20, height: 20 },
      false,
      { left: 292, top: 36 },
    ],
    [
      "at the other start",
      { left: 200, top: 10, width: 40, height: 20 },
      true,
      { left: 140, top: 36 },
    ],
  ])("open %s", (_, anchor, isRightToLeft, at) => {
    const view = { width: 400, height: 600 };
    expect(placeBeside(anchor, { width: 100, height: 200 }, view, isRightToLeft)).toEqual(at);
  });
});

it("speaks English until told otherwise", () => {
  expect(words.value.settings.title).toBe("Settings");
});
