/**
 * A conversation's turns as a tree: branches, siblings, and what shows when one of them is chosen.
 *
 * Pure. Turns may come from anywhere: one whose parent is missing counts as a first question, and a
 * circle of parents is cut at its oldest turn, so that every walk ends. Nothing here recurses: a
 * branch may be thousands of turns long.
 */
import type { Conversation, Id, Role, Time, Turn } from "./types.ts";

/** Turns, and who follows whom. */
export interface Tree {
  turns: ReadonlyMap<Id, Turn>;
  /** By parent, oldest first; those under null are first questions. */
  children: ReadonlyMap<Id | null, readonly Turn[]>;
  /** As the tree has it; a turn's own `parent` may be missing or circular. */
  parents: ReadonlyMap<Id, Id | null>;
}

/** Where a turn stands among those that answer or ask the same: "2 of 3". */
export interface SiblingPlace {
  /** Oldest first, itself among them. */
  siblings: readonly Turn[];
  /** 1 is the first. */
  number: number;
}

export function treeOf(turns: Iterable<Turn>): Tree {
  const byId = new Map<Id, Turn>();
  for (const turn of turns) {
    byId.set(turn.id, turn);
  }
  const parents = parentsOf(byId);
  const children = new Map<Id | null, Turn[]>();
  for (const turn of byId.values()) {
    const parent = parents.get(turn.id) ?? null;
    const siblings = children.get(parent);
    if (siblings === undefined) {
      children.set(parent, [turn]);
    } else {
      siblings.push(turn);
    }
  }
  for (const siblings of children.values()) {
    siblings.sort(byAge);
  }
  return { turns: byId, children, parents };
}

/** From the first question down to `leaf`; empty for null and for a turn that is not there. */
export function branchTo(tree: Tree, leaf: Id | null): readonly Turn[] {
  const branch: Turn[] = [];
  for (let id = leaf; id !== null; id = tree.parents.get(id) ?? null) {
    const turn = tree.turns.get(id);
    if (turn === undefined) {
      break;
    }
    branch.push(turn);
  }
  return branch.reverse();
}

/** Null for a turn that is not there. */
export function siblingPlace(tree: Tree, id: Id): SiblingPlace | null {
  const parent = tree.parents.get(id);
  if (parent === undefined) {
    return null;
  }
  const siblings = tree.children.get(parent) ?? [];
  return { siblings, number: siblings.findIndex((turn) => turn.id === id) + 1 };
}

/**
 * The leaf that shows when a turn is chosen: below it, where something was said last. The turn itself
 * where nothing follows it; null: it is not there.
 */
export function leafBelow(tree: Tree, id: Id): Id | null {
  const turn = tree.turns.get(id);
  return turn === undefined ? null : newestLeaf(tree, descendantsOf(tree, turn));
}

/** Where something was said last at all; null in an empty tree. */
export function latestLeaf(tree: Tree): Id | null {
  return newestLeaf(tree, tree.turns.values());
}

/**
 * The leaf to show for what a conversation remembers: its own where that still exists (the end below
 * it, should it have grown elsewhere, stays hidden until it is chosen), else the latest one.
 */
export function shownLeaf(tree: Tree, leaf: Id | null): Id | null {
  return leaf !== null && tree.turns.has(leaf) ? leaf : latestLeaf(tree);
}

/** What is left without a turn and all that follows from it. */
export interface Pruned {
  turns: readonly Turn[];
  removed: readonly Id[];
  /** What shows now: the same leaf if it is still there, else the nearest sibling's, else the parent. */
  leaf: Id | null;
}

export function pruned(tree: Tree, id: Id, leaf: Id | null): Pruned {
  const turn = tree.turns.get(id);
  if (turn === undefined) {
    return { turns: [...tree.turns.values()], removed: [], leaf: shownLeaf(tree, leaf) };
  }
  const removed = new Set(descendantsOf(tree, turn).map((gone) => gone.id));
  const turns = [...tree.turns.values()].filter((kept) => !removed.has(kept.id));
  if (leaf !== null && tree.turns.has(leaf) && !removed.has(leaf)) {
    return { turns, removed: [...removed], leaf };
  }
  const { siblings = [], number = 0 } = siblingPlace(tree, id) ?? {};
  const neighbour = siblings[number] ?? siblings[number - 2];
  return {
    turns,
    removed: [...removed],
    leaf: neighbour === undefined ? (tree.parents.get(id) ?? null) : leafBelow(tree, neighbour.id),
  };
}

/** A turn with nothing in it but what is given. */
export function newTurn(
  about: { conversation: Id; parent: Id | null; role: Role } & Partial<Turn>,
  now: Time = nextTime(),
): Turn {
  return {
    id: newId(),
    createdAt: now,
    text: "",
    reasoning: "",
    attachments: [],
    calls: [],
    result: null,
    sources: [],
    state: "done",
    error: null,
    figures: null,
    ...about,
  };
}

/** A conversation in which nothing was said. */
export function newConversation(
  about: Partial<Conversation> = {},
  now: Time = Date.now(),
): Conversation {
  return {
    id: newId(),
    title: "",
    createdAt: now,
    updatedAt: now,
    isPinned: false,
    model: null,
    preset: null,
    system: "",
    parameters: {},
    tools: [],
    overflow: "ask",
    leaf: null,
    ...about,
  };
}

let lastTime: Time = 0;

/** Turns of one tab are told apart by when they came, also those of one millisecond. */
function nextTime(): Time {
  lastTime = Math.max(Date.now(), lastTime + 1);
  return lastTime;
}

/** 128 random bits. `crypto.randomUUID` is not there on a network's plain http, and chats are. */
export function newId(): Id {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Each turn's parent, or null where that is missing or would close a circle. */
function parentsOf(turns: ReadonlyMap<Id, Turn>): ReadonlyMap<Id, Id | null> {
  const parents = new Map<Id, Id | null>();
  // Oldest first, so that a circle is cut at its oldest turn: the first of it that is asked.
  for (const start of [...turns.values()].sort(byAge)) {
    const walked: Turn[] = [];
    const onThisWalk = new Set<Id>();
    let turn: Turn | undefined = start;
    while (turn !== undefined && !parents.has(turn.id) && !onThisWalk.has(turn.id)) {
      onThisWalk.add(turn.id);
      walked.push(turn);
      turn = turn.parent === null ? undefined : turns.get(turn.parent);
    }
    const circle =
      turn !== undefined && onThisWalk.has(turn.id) ? walked.slice(walked.indexOf(turn)) : [];
    const cut = circle.sort(byAge)[0];
    for (const { id, parent } of walked) {
      const isRoot = id === cut?.id || parent === null || !turns.has(parent);
      parents.set(id, isRoot ? null : parent);
    }
  }
  return parents;
}

function descendantsOf(tree: Tree, turn: Turn): Turn[] {
  const found = [turn];
  // The list grows while it is walked.
  for (const { id } of found) {
    for (const child of tree.children.get(id) ?? []) {
      found.push(child);
    }
  }
  return found;
}

function newestLeaf(tree: Tree, among: Iterable<Turn>): Id | null {
  let newest: Turn | null = null;
  for (const turn of among) {
    if (newest === null || byAge(newest, turn) < 0) {
      newest = turn;
    }
  }
  // A child may be as old as its parent, or older where a clock was set back.
  for (let next = newest; next !== null; next = tree.children.get(next.id)?.at(-1) ?? null) {
    newest = next;
  }
  return newest?.id ?? null;
}

function byAge(one: Turn, other: Turn): number {
  return one.createdAt - other.createdAt || (one.id < other.id ? -1 : one.id > other.id ? 1 : 0);
}
