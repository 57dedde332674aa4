/**
 * Conversations that other apps export, as those of this app: ChatGPT's `conversations.json` and Open
 * WebUI's "Export chats". Branches, times and thoughts come along; files, pictures and calls of tools do not.
 *
 * What comes out is checked as a file of ours is (`export-format.ts`), with its caps.
 *
 * Sources, read in 2026-11: for ChatGPT the field lists at portable-ai-memory.org/providers/openai and
 * difegam.github.io/chatgpt-to-markdown/reference/data-models. For Open WebUI its repository (github.com/
 * open-webui/open-webui): what a row has in backend/open_webui/models/chats.py (`ChatResponse`), what is
 * saved and what is read again in src/lib/components/chat/Settings/DataControls.svelte, messages in
 * src/lib/utils/index.ts, and what is folded into an answer in backend/open_webui/utils/middleware.py
 * (`serialize_content_blocks`).
 */
import {
  type ConversationsFile,
  type FileConversation,
  type FileTurn,
  FORMAT,
  MAX_CONVERSATIONS,
  MAX_FILE_BYTES,
  VERSION,
} from "./export-format.ts";
import { refuse } from "./json-fields.ts";
import { newConversation, newTurn } from "./tree.ts";
import type { Id } from "./types.ts";

type Fields = Readonly<Record<string, unknown>>;

/** What both apps say of a message, once read. */
interface Said {
  id: Id;
  parent: string | null;
  /** Null: it is no turn of ours, and what follows it follows what is above. */
  role: "user" | "assistant" | null;
  text: string;
  /** Also of what is no turn: it belongs to the answer below. */
  reasoning: string;
  /** How long it thought; null: nobody said. */
  seconds: number | null;
  /** Milliseconds; null: nobody said. */
  at: number | null;
}

interface About {
  id: unknown;
  title: unknown;
  system: string;
  createdAt: number | null;
  updatedAt: number | null;
  isPinned: boolean;
  /** The message that showed last. */
  current: unknown;
}

/** @returns null: it is no file of an app that is known here. @throws TransomError: it is a broken one. */
export function readForeign(value: unknown): ConversationsFile | null {
  const rows = Array.isArray(value) ? value : [value];
  if (rows.length > MAX_CONVERSATIONS) {
    refuse("The file", `has ${rows.length} entries, and ${MAX_CONVERSATIONS} are the most`);
  }
  const read = [
    [isChatGpt, fromChatGpt],
    [isOpenWebUi, fromOpenWebUi],
  ] as const;
  const found = read.find(([isIt]) => rows.length > 0 && rows.every((row) => isIt(row)));
  if (found === undefined) {
    return null;
  }
  const conversations = rows.map((row, index) => found[1](row as Fields, `[${index}]`));
  const file = {
    format: FORMAT,
    version: VERSION,
    exportedAt: "",
    files: [],
    presets: [],
  } as const;
  // One in which nothing was said is none here.
  return { ...file, conversations: conversations.filter(({ turns }) => turns.length > 0) };
}

// --- ChatGPT --------------------------------------------------------------------------------------

function isChatGpt(row: unknown): row is Fields {
  return isFields(row) && isFields(row["mapping"]);
}

function fromChatGpt(row: Fields, path: string): FileConversation {
  const nodes = Object.entries(fields(row["mapping"]));
  let system = "";
  const said = nodes.map(([id, node]): Said => {
    const { message, parent } = fields(node);
    const { author, content, create_time: at, metadata, recipient } = fields(message);
    const { role } = fields(author);
    const text = textOf(content);
    const isHidden =
      fields(metadata)["is_visually_hidden_from_conversation"] === true ||
      // To a tool, and not to the person.
      (typeof recipient === "string" && recipient !== "all");
    if (role === "system" && system === "") {
      system = text;
    }
    const isTurn = (role === "user" || role === "assistant") && !isHidden && text !== "";
    return {
      id,
      parent: typeof parent === "string" ? parent : null,
      role: isTurn ? role : null,
      text,
      reasoning: role === "assistant" ? thoughtsOf(content) : "",
      seconds: null,
      at: milliseconds(at),
    };
  });
  const about: About = {
    id: row["id"] ?? row["conversation_id"],
    title: row["title"],
    system,
    createdAt: milliseconds(row["create_time"]),
    updatedAt: milliseconds(row["update_time"]),
    isPinned: false,
    current: row["current_node"],
  };
  return made(about, said, path);
}

/** Texts among the parts; pictures and files are pointers into another file. */
function textOf(content: unknown): string {
  const { content_type: type, parts } = fields(content);
  return (type === "text" || type === "multimodal_text") && Array.isArray(parts)
    ? parts
        .filter((part) => typeof part === "string")
        .join("\n")
        .trim()
    : "";
}

function thoughtsOf(content: unknown): string {
  const { content_type: type, thoughts } = fields(content);
  return type === "thoughts" && Array.isArray(thoughts)
    ? thoughts
        .map((thought) => fields(thought)["content"])
        .filter((text) => typeof text === "string")
        .join("\n\n")
    : "";
}

// --- Open WebUI -----------------------------------------------------------------------------------

function isOpenWebUi(row: unknown): row is Fields {
  if (!isFields(row) || !isFields(row["chat"])) {
    return false;
  }
  const { history, messages } = row["chat"];
  return (isFields(history) && isFields(history["messages"])) || Array.isArray(messages);
}

function fromOpenWebUi(row: Fields, path: string): FileConversation {
  const chat = fields(row["chat"]);
  const history = fields(chat["history"]);
  const nodes = isFields(history["messages"])
    ? Object.entries(history["messages"])
    : chainOf(chat["messages"]);
  const said = nodes.map(([id, node]): Said => {
    const { parentId, role, content, timestamp } = fields(node);
    const whole = typeof content === "string" ? content : "";
    const { text, reasoning, seconds } =
      role === "assistant" ? unfold(whole) : { text: whole, reasoning: "", seconds: null };
    return {
      id,
      parent: typeof parentId === "string" ? parentId : null,
      role: role === "user" || role === "assistant" ? role : null,
      text,
      reasoning,
      seconds,
      at: milliseconds(timestamp),
    };
  });
  const about: About = {
    id: row["id"],
    title: row["title"] ?? chat["title"],
    system: systemOf(chat),
    createdAt: milliseconds(row["created_at"]),
    updatedAt: milliseconds(row["updated_at"]),
    isPinned: row["pinned"] === true,
    current: history["currentId"],
  };
  return made(about, said, path);
}

/** Of this chat, else of all at that time. */
function systemOf(chat: Fields): string {
  const said = [fields(chat["params"])["system"], chat["system"]];
  return said.find((each) => typeof each === "string") ?? "";
}

/** Exports of its first versions have the branch alone. */
function chainOf(messages: unknown): [string, unknown][] {
  const list = Array.isArray(messages) ? messages.map(fields) : [];
  const ids = list.map(({ id }, index) => (typeof id === "string" ? id : `message ${index}`));
  return list.map((message, index) => [
    ids[index] ?? "",
    { ...message, parentId: ids[index - 1] ?? null },
  ]);
}

const FOLD = '<details type="';
const FOLD_END = "</details>";

/** An answer as it was saved, told apart. */
interface Unfolded {
  text: string;
  reasoning: string;
  seconds: number | null;
}

/**
 * Thoughts stand among the text, folded and quoted; calls of tools and code that ran stand there too, and
 * are left out. Other folds are the answer's own.
 */
function unfold(content: string): Unfolded {
  const texts: string[] = [];
  const thoughts: string[] = [];
  let seconds: number | null = null;
  let at = 0;
  for (let search = 0; ;) {
    const start = content.indexOf(FOLD, search);
    const end = start === -1 ? -1 : content.indexOf(FOLD_END, start);
    if (end === -1) {
      break;
    }
    const fold = content.slice(start, end);
    search = end + FOLD_END.length;
    const [, kind] = /^<details type="(reasoning|tool_calls|code_interpreter)"/.exec(fold) ?? [];
    if (kind === undefined) {
      continue;
    }
    texts.push(content.slice(at, start));
    at = search;
    if (kind === "reasoning") {
      thoughts.push(unquoted(fold));
      const [, duration] = /^[^>]* duration="(\d{1,9})"/.exec(fold) ?? [];
      seconds = duration === undefined ? seconds : (seconds ?? 0) + Number(duration);
    }
  }
  if (at === 0) {
    return { text: content, reasoning: "", seconds };
  }
  texts.push(content.slice(at));
  const whole = (parts: readonly string[]) =>
    parts
      .map((part) => part.trim())
      .filter(Boolean)
      .join("\n\n");
  return { text: whole(texts), reasoning: whole(thoughts), seconds };
}

/** What stands below the summary of a fold; its first versions did not escape it. */
function unquoted(fold: string): string {
  const summary = fold.indexOf("</summary>");
  const quoted = fold
    .slice(summary === -1 ? fold.indexOf(">") + 1 : summary + "</summary>".length)
    .trim();
  const isEscaped = quoted.startsWith("&gt;");
  return (isEscaped ? unescaped(quoted) : quoted).replace(/^> ?/gm, "");
}

/** What Python's `html.escape` does, undone. */
function unescaped(text: string): string {
  const characters: Readonly<Record<string, string>> = {
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#x27;": "'",
    "&amp;": "&",
  };
  return text.replace(/&(?:lt|gt|quot|#x27|amp);/g, (name) => characters[name] ?? name);
}

// --- both -----------------------------------------------------------------------------------------

/** Those that are turns, each below the nearest above it that is one. */
function made(about: About, said: readonly Said[], path: string): FileConversation {
  const byId = new Map(said.map((each) => [each.id, each]));
  const above = nearest(byId, path);
  const now = Date.now();
  const createdAt = about.createdAt ?? now;
  let thoughts = 0;
  const turns = said.flatMap((each): FileTurn[] => {
    if (each.role === null) {
      return [];
    }
    const { turn: parent, reasoning } = above(each.parent);
    thoughts += reasoning.length;
    if (thoughts > MAX_FILE_BYTES) {
      // One thought, and many answers below it: a small file that says a lot.
      refuse(path, "repeats its thoughts until they are more than a file of ours may hold");
    }
    const turn: FileTurn & { conversation?: Id } = newTurn({
      conversation: "",
      parent,
      role: each.role,
      text: each.text,
      reasoning:
        each.role === "assistant" ? [reasoning, each.reasoning].filter(Boolean).join("\n\n") : "",
    });
    delete turn.conversation;
    return [
      {
        ...turn,
        id: each.id,
        createdAt: each.at ?? createdAt,
        ...(each.seconds !== null && { reasoningSeconds: each.seconds }),
      },
    ];
  });
  const current = typeof about.current === "string" ? above(about.current).turn : null;
  const { id, title } = about;
  return {
    ...newConversation({
      ...(typeof id === "string" && id !== "" && { id }),
      title: typeof title === "string" ? title : "",
      system: about.system,
      isPinned: about.isPinned,
      createdAt,
      updatedAt: about.updatedAt ?? createdAt,
      leaf: current ?? turns.at(-1)?.id ?? null,
    }),
    turns,
  };
}

interface Above {
  turn: Id | null;
  /** Of what was skipped on the way. */
  reasoning: string;
}

/** For a message, or its nearest above that is a turn. Each is walked once, however long the chains are. */
function nearest(byId: ReadonlyMap<string, Said>, path: string): (from: string | null) => Above {
  const known = new Map<string, Above>();
  return (from) => {
    const skipped: Said[] = [];
    const walked = new Set<string>();
    let found: Above = { turn: null, reasoning: "" };
    for (let next = from; next !== null;) {
      const here = byId.get(next);
      const before = known.get(next);
      if (before !== undefined || here === undefined) {
        found = before ?? found;
        break;
      }
      if (here.role !== null) {
        found = { turn: here.id, reasoning: "" };
        break;
      }
      if (walked.has(next)) {
        return refuse(path, "has messages that lead round in a circle");
      }
      walked.add(next);
      skipped.push(here);
      next = here.parent;
    }
    for (const each of skipped.reverse()) {
      found =
        each.reasoning === ""
          ? found
          : {
              turn: found.turn,
              reasoning:
                found.reasoning === "" ? each.reasoning : `${found.reasoning}\n\n${each.reasoning}`,
            };
      known.set(each.id, found);
    }
    return found;
  };
}

/** Seconds since 1970, with fractions; what is no time says none. */
function milliseconds(seconds: unknown): number | null {
  return typeof seconds === "number" && seconds > 0 && seconds < 8.64e12
    ? Math.round(seconds * 1000)
    : null;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fields(value: unknown): Fields {
  return isFields(value) ? value : {};
}
