/** Conversations from files, all of them or none. What stands in a file: `export-format.ts`. */
import { TransomError } from "../errors.ts";
import { fromBase64 } from "./base64.ts";
import type { Bundle } from "./database.ts";
import {
  type FileBlob,
  type FileConversation,
  MAX_FILE_BYTES,
  checkFile,
} from "./export-format.ts";
import { fileConversation } from "./export.ts";
import { readForeign } from "./foreign-export.ts";
import { refuse } from "./json-fields.ts";
import type { ReadConversation } from "./keeper.ts";
import { newId } from "./tree.ts";
import type { Id, Preset, Turn } from "./types.ts";

/** A file that was checked, with its attachments as bytes. */
export interface Imported {
  conversations: readonly FileConversation[];
  files: Bundle["files"];
  presets: readonly Preset[];
}

/** @throws TransomError that says in one sentence what is wrong, naming the field. */
export async function readConversationsFile(file: Blob): Promise<Imported> {
  if (file.size > MAX_FILE_BYTES) {
    throw new TransomError("invalid-request", "The file is larger than 256 MiB.");
  }
  const value = parse(await file.arrayBuffer());
  const checked = checkFile(readForeign(value) ?? value);
  const lengths = new Map(
    checked.conversations.flatMap(({ turns }) =>
      turns.flatMap(({ attachments }) => attachments.map((each) => [each.sha256, each.bytes])),
    ),
  );
  const files = [];
  for (const [index, each] of checked.files.entries()) {
    files.push(await blobOf(each, lengths.get(each.sha256), `files[${index}].base64`));
  }
  return { conversations: checked.conversations, files, presets: checked.presets };
}

function parse(bytes: ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new TransomError("invalid-request", "The file is no JSON in UTF-8.");
  }
}

async function blobOf(
  { sha256, mediaType, base64 }: FileBlob,
  length: number | undefined,
  path: string,
): Promise<Imported["files"][number]> {
  const bytes = fromBase64(base64) ?? refuse(path, "is no base64");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256 || bytes.byteLength !== length) {
    refuse(path, "is not the file that its sha256 and its attachment name");
  }
  return { sha256, mediaType, blob: new Blob([bytes], { type: mediaType }) };
}

/** What is here already, as far as the file has the same ids. */
export interface Existing {
  conversations: ReadonlyMap<Id, ReadConversation>;
  turns: ReadonlySet<Id>;
  presets: ReadonlyMap<Id, Preset>;
}

export interface ImportPlan {
  bundle: Bundle;
  /** Conversations that come. */
  added: number;
  /** Conversations that are here already, exactly so. */
  known: number;
}

/**
 * What an import changes: nothing that is here. What is here already is left out; what has the id of
 * something else gets a fresh one.
 */
export function planImport(
  { conversations, files, presets }: Imported,
  existing: Existing,
  freshId: () => Id = newId,
): ImportPlan {
  const presetIds = new Map<Id, Id>();
  const newPresets = presets.flatMap((preset) => {
    const here = existing.presets.get(preset.id);
    if (here === undefined) {
      return [preset];
    }
    if (isSame(here, preset)) {
      return [];
    }
    presetIds.set(preset.id, freshId());
    return [{ ...preset, id: presetIds.get(preset.id) ?? preset.id }];
  });
  const coming = conversations.filter((each) => {
    const here = existing.conversations.get(each.id);
    return here === undefined || !isSame(sorted(fileConversation(here)), sorted(each));
  });
  const taken = new Set(existing.turns);
  const placed = coming.map((each) => {
    const isTaken = existing.conversations.has(each.id);
    const hasTakenTurns = each.turns.some(({ id }) => taken.has(id));
    const here = withIds(each, {
      id: isTaken ? freshId() : each.id,
      turn: hasTakenTurns ? freshId : null,
      preset: presetIds,
    });
    for (const { id } of here.turns) {
      // Nothing says that two conversations of a file have different turns.
      taken.add(id);
    }
    return here;
  });
  return {
    bundle: {
      conversations: placed.map(({ conversation }) => conversation),
      turns: placed.flatMap(({ turns }) => turns),
      files,
      presets: newPresets,
    },
    added: coming.length,
    known: conversations.length - coming.length,
  };
}

interface Ids {
  id: Id;
  /** Null: the turns keep theirs. */
  turn: (() => Id) | null;
  preset: ReadonlyMap<Id, Id>;
}

function withIds(
  file: FileConversation,
  ids: Ids,
): { conversation: ReadConversation["conversation"]; turns: Turn[] } {
  const { turns, ...about } = file;
  const turnIds = new Map(turns.map(({ id }) => [id, ids.turn?.() ?? id]));
  const renamed = (id: Id | null) => (id === null ? null : (turnIds.get(id) ?? null));
  const { preset } = about;
  return {
    conversation: {
      ...about,
      id: ids.id,
      leaf: renamed(about.leaf),
      preset: preset === null ? null : (ids.preset.get(preset) ?? preset),
    },
    turns: turns.map((turn) => ({
      ...turn,
      id: turnIds.get(turn.id) ?? turn.id,
      parent: renamed(turn.parent),
      conversation: ids.id,
    })),
  };
}

/** The order of turns says nothing: parents and times do. */
function sorted(conversation: FileConversation): FileConversation {
  const turns = [...conversation.turns].sort((one, other) => (one.id < other.id ? -1 : 1));
  return { ...conversation, turns };
}

/** The same as JSON, in whatever order the fields are. */
function isSame(one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([one], [other]) => (one < other ? -1 : 1)))
      : inner,
  );
}
