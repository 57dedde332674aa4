/** The page's start: what it is made of, put together, shown, and given to programs. */
import "./style.css";
import { effect, signal } from "@preact/signals";
import { render } from "preact";

import { TransomError } from "../errors.ts";
import { readHost } from "./address.ts";
import { App } from "./app.tsx";
import { createParts } from "./parts.ts";
import { go, route } from "./route.ts";
import { keptStorage, openPreferences } from "./settings/preferences.ts";
import { stopReading } from "./speech/speak.tsx";

const parts = createParts(readHost(document));
const { desk, chat, kept } = parts;

/** The address names a conversation that is not here; null: it does not. */
const missing = signal<string | null>(null);

function newChat(): void {
  chat.begin();
  go({ screen: "chat", conversation: null });
}

const ready = desk.start();
// Rejections are on the screen already; who awaits `ready` hears them too.
ready.catch(() => undefined);

effect(() => {
  const name = desk.name.value;
  document.title = name === "" ? "Transom" : `${name} · Transom`;
});
// How fast models are, for their cards.
chat.finished.subscribe((turn) => {
  const figures = turn?.figures ?? null;
  if (figures !== null) {
    kept.noteSpeed(figures);
  }
});
// Downloads that an earlier visit left go on, once the model that was asked for is here or has failed.
void ready
  .catch(() => undefined)
  .then(() => {
    parts.models();
  });
// What was allowed, runs or is read aloud belongs to its conversation.
let before = chat.conversation.peek().id;
effect(() => {
  const { id } = chat.conversation.value;
  if (id !== before) {
    parts.abilities.python.reset();
    stopReading();
    before = id;
  }
});
void kept.database.then((database) => {
  database.listen((change) => {
    const wanted = missing.peek();
    // A database that opened late has "everything".
    const isBack =
      change.kind === "everything" ||
      (change.kind === "restored" && wanted !== null && change.conversations.includes(wanted));
    if (isBack && wanted !== null) {
      void show(wanted);
    }
    if (change.kind === "deleted") {
      change.conversations.forEach((id) => {
        parts.abilities.tools.forget(id);
      });
    } else if (change.kind === "mcpServers") {
      void parts.abilities.mcp.open();
    }
  });
  // Another tab has named, pinned, or gone on with the conversation that shows here.
  database.listen((change, isOurs) => {
    const { id } = chat.conversation.peek();
    const isHere =
      (change.kind === "conversation" && change.id === id) ||
      (change.kind === "turns" && change.conversation === id);
    if (isHere && !isOurs) {
      void chat.refresh();
    }
  });
});
// The tab that wrote to it has ended, perhaps in the middle of an answer.
kept.written.subscribe((written) => {
  if (written !== null && written.conversation === chat.conversation.peek().id) {
    void chat.refresh();
  }
});
// The address follows the conversation that shows …
effect(() => {
  const { id, leaf } = chat.conversation.value;
  if (leaf !== null && route.peek().screen === "chat") {
    go({ screen: "chat", conversation: id }, "replace");
  }
});
// … and the conversation the address.
effect(() => {
  const to = route.value;
  if (to.screen === "chat") {
    void show(to.conversation);
  }
});

/** As a person wants it, also in mid-answer. */
function beginAnew(): void {
  go({ screen: "chat", conversation: null });
}

async function find(conversation: string, turn: string): Promise<void> {
  await show(conversation);
  if (chat.tree.value.turns.has(turn)) {
    chat.choose(turn);
  }
}

/** Whoever leaves a conversation in mid-answer finds it there as far as it came. */
async function show(wanted: string | null): Promise<void> {
  missing.value = null;
  const { id, leaf } = chat.conversation.peek();
  if (wanted === (leaf === null ? null : id)) {
    return;
  }
  await chat.rest();
  if (wanted === null) {
    chat.begin();
  } else if (!(await chat.open(wanted))) {
    // Its address stays: "back" comes here again, and it may come back as well.
    chat.begin();
    missing.value = wanted;
  }
}

window.transom = {
  ready,
  get house() {
    return desk.house;
  },
  ask: async (text, options = {}) => {
    await ready;
    const opened = await desk.current();
    if (opened?.task === "embedding") {
      throw new TransomError("invalid-request", `${opened.model} is an embedding model.`);
    }
    return chat.ask({ text, attachments: [] }, options);
  },
  embed: async (texts, options = {}) => {
    await ready;
    return desk.engine.embed({ texts, ...options });
  },
  partial: () => ({ ...chat.partial, tokenIds: [...chat.partial.tokenIds] }),
  progress: () => desk.progress.value,
  stop: () => {
    chat.stop();
  },
  newChat,
  models: {
    load: (address) => desk.engine.load(desk.requestOf(address), () => undefined),
    unload: (model) => desk.engine.unload(model),
    fit: (address) => desk.engine.current.fit(desk.requestOf(address)),
    generate: async (request, onPiece = () => undefined) => {
      const answer = { text: "", tokenIds: [] as number[] };
      const done = await desk.engine.generate(request, (piece) => {
        const { tokenId, text } = piece;
        onPiece(piece);
        answer.text += text;
        if (tokenId !== null) {
          answer.tokenIds.push(tokenId);
        }
      }).done;
      return { ...done, ...answer };
    },
  },
  storage: {
    stored: () => desk.engine.current.stored(),
    pin: (id, isPinned) => desk.engine.current.pin(id, isPinned),
    remove: (id) => desk.engine.current.remove(id),
  },
};

// Looks are set at once; a language that is not in the page yet comes before anything shows.
void openPreferences(keptStorage()).finally(() => {
  // Preact adds to what is there.
  document.body.replaceChildren();
  render(
    <App parts={parts} missing={missing} onNewChat={beginAnew} onFound={find} />,
    document.body,
  );
});
