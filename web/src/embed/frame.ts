/**
 * Our frame in another site's page: who may ask, whether the visitor agrees, and what is shown of it.
 * docs/embedding.md tells the story.
 */
import { Catalogue } from "../client/catalogue.ts";
import { type House, startHouse } from "../client/house.ts";
import { bundleUrl, engineForApi, startApiWorker, startEngine } from "../client/start-engine.ts";
import type { ConnectMessage, ToSite } from "../embed-protocol.ts";
import { describe } from "../errors.ts";
import { readHost, readMirrors } from "../page/address.ts";
import { byId } from "./dom.ts";
import { readOrigins } from "./gate.ts";
import { askVisitor, forget, isRemembered, mayKeep, remember } from "./permission.ts";
import { serveSite } from "./requests.ts";

const NOBODY_LISTED =
  "This Transom is not open to other sites. Whoever runs it can list them: " +
  "transom serve --embed-origins, or transom export --embed.";
const NOTHING_KEPT =
  "This browser lets pages of other sites keep nothing (third-party storage is blocked), " +
  "so no model can run in them.";

const line = byId("line", HTMLParagraphElement);
const review = byId("review", HTMLButtonElement);
const stop = byId("stop", HTMLButtonElement);

/** Missing, unreadable or wrong: nobody is listed. */
const origins = readList().catch((error: unknown): ReadonlySet<string> => {
  say(`${NOBODY_LISTED} (${describe(error)})`);
  return new Set();
});
let isConnected = false;

async function readList(): Promise<ReadonlySet<string>> {
  const response = await fetch("embed.json", { cache: "no-cache" });
  if (!response.ok) {
    throw new Error(`embed.json: HTTP ${response.status}`);
  }
  return readOrigins(await response.json());
}

async function connect(origin: string, port: MessagePort): Promise<void> {
  const post = (message: ToSite) => {
    port.postMessage(message);
  };
  if (!(await origins).has(origin)) {
    say(NOBODY_LISTED);
    post({
      kind: "refused",
      reason: `${origin} is not among the sites that ${location.host} lists.`,
    });
    return;
  }
  if (!mayKeep()) {
    say(NOTHING_KEPT);
    post({ kind: "refused", reason: NOTHING_KEPT });
    return;
  }
  if (!isRemembered(origin)) {
    post({ kind: "waiting" });
    await agreement(origin);
  }
  const house = openHouse(origin);
  await house.ready;
  if (!house.hasServiceWorker) {
    say("This browser does not let a frame answer for its models.");
    post({ kind: "refused", reason: "There can be no service worker in this frame." });
    return;
  }
  const end = serveSite(port, new URL("./", document.baseURI));
  say(`${origin} uses the models of this browser.`);
  stop.hidden = false;
  stop.addEventListener(
    "click",
    () => {
      forget(origin);
      end("The visitor has ended it.");
      house.close();
      stop.hidden = true;
      say(`${origin} was stopped. Reload its page to be asked again.`);
    },
    { once: true },
  );
  post({ kind: "open" });
}

/** The frame leads where no other page of ours does; `name` is whom it works for. */
function openHouse(name: string): House {
  const host = readHost(document);
  const engine = startEngine((isOver) => {
    say(isOver ? `${name} uses the models of this browser.` : "The graphics adapter was lost.");
  });
  const house: House = startHouse({
    engine: () =>
      engineForApi(
        engine,
        house,
        new Catalogue({
          baseUrl: document.baseURI,
          host,
          mirrors: readMirrors(document),
          named: null,
          stored: () => engine.current.stored(),
        }),
      ),
    startApiWorker,
    bundleUrl: bundleUrl(),
    isStatic: host === "layout",
  });
  house.onNews((news) => {
    switch (news.kind) {
      case "loading": {
        const { doneBytes, totalBytes } = news.progress;
        const part = totalBytes === 0 ? 0 : Math.floor((100 * doneBytes) / totalBytes);
        say(`${news.name} is loading: ${part} %`);
        return;
      }
      case "loaded":
        say(`${name} uses the models of this browser.`);
        return;
      case "load-failed":
        say(`${news.name}: ${news.error.message}`);
        return;
      case "leads":
      case "hello":
        return;
    }
  });
  return house;
}

/** Resolves once the visitor has agreed, however often they say no before. */
function agreement(origin: string): Promise<void> {
  say(`${origin} would like to use the language models of this browser.`);
  review.hidden = false;
  return new Promise((resolve) => {
    const ask = () => {
      // Opened by the click itself: without one, browsers open no window.
      void askVisitor(origin).then((answer) => {
        if (answer === null) {
          say(`${origin} was not allowed to use the models of this browser.`);
          return;
        }
        if (answer.isRemembered) {
          remember(origin);
        }
        review.removeEventListener("click", ask);
        review.hidden = true;
        resolve();
      });
    };
    review.addEventListener("click", ask);
  });
}

function say(text: string): void {
  line.textContent = text;
}

window.addEventListener("message", ({ source, origin, data, ports }: MessageEvent<unknown>) => {
  const [port] = ports;
  // What the browser tells of a message cannot be made up; only the page around this frame counts.
  const isParents = source === window.parent && window.parent !== window;
  const message = data as Partial<ConnectMessage> | null;
  if (!isParents || port === undefined || message?.kind !== "transom-connect" || isConnected) {
    return;
  }
  if (message.version !== 1) {
    port.postMessage({
      kind: "refused",
      reason: "connect.js is of another version.",
    } satisfies ToSite);
    return;
  }
  isConnected = true;
  connect(origin, port).catch((error: unknown) => {
    say(describe(error));
    port.postMessage({ kind: "refused", reason: describe(error) } satisfies ToSite);
  });
});
if (window.parent === window) {
  say("This page is a frame for pages of other sites; there is nothing to see by itself.");
} else if (isOwnSite()) {
  // A page of our own origin can fetch the API itself, once somebody answers it.
  isConnected = true;
  const house = openHouse("This site");
  void house.ready.then(() => {
    say("Models of this browser answer here.");
  });
}

function isOwnSite(): boolean {
  try {
    return window.parent.location.origin === location.origin;
  } catch {
    return false;
  }
}
