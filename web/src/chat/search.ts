/**
 * Search in conversations: every word of the question has to be there, in the title or in one turn.
 *
 * Case, accents, Arabic vowel marks and the width of letters make no difference. Pure, and all in
 * memory: texts are folded once, when they are put in.
 */
import type { Conversation, Id, Turn } from "./types.ts";

/** Before and after the first word found in a snippet. */
const LEAD_CHARACTERS = 30;
const SNIPPET_CHARACTERS = 140;

/** Long texts are folded in strides to find a place: one character at a time is slow. */
const STRIDE_CHARACTERS = 256;

/** More words than anybody types; each costs a walk through all texts. */
const MAX_WORDS = 16;

/** A piece of a title or a snippet. */
export interface Piece {
  text: string;
  /** It is what was searched for. */
  isMatch: boolean;
}

/** One conversation in which everything was found. */
export interface Hit {
  conversation: Id;
  title: readonly Piece[];
  /** The newest turn with words that the title has not; null: the title has them all. */
  turn: Id | null;
  /** Of that turn's text; empty without one. */
  snippet: readonly Piece[];
}

interface FoldedTurn {
  turn: Turn;
  folded: string;
}

interface FoldedConversation {
  conversation: Conversation;
  title: string;
  /** Newest first. */
  turns: readonly FoldedTurn[];
}

export class ChatSearch {
  readonly #conversations = new Map<Id, FoldedConversation>();

  /** Put a conversation in, or again. Turns that did not change are not folded again. */
  put(conversation: Conversation, turns: readonly Turn[]): void {
    const before = new Map(
      this.#conversations.get(conversation.id)?.turns.map((known) => [known.turn.id, known]),
    );
    const folded = turns.map((turn) => {
      const known = before.get(turn.id);
      return known?.turn.text === turn.text
        ? { turn, folded: known.folded }
        : { turn, folded: fold(turn.text) };
    });
    folded.sort((one, other) => other.turn.createdAt - one.turn.createdAt);
    const title = fold(conversation.title);
    this.#conversations.set(conversation.id, { conversation, title, turns: folded });
  }

  /** Title, pin and times changed, turns did not. */
  putConversation(conversation: Conversation): void {
    const turns = this.#conversations.get(conversation.id)?.turns ?? [];
    this.#conversations.set(conversation.id, {
      conversation,
      title: fold(conversation.title),
      turns,
    });
  }

  delete(id: Id): void {
    this.#conversations.delete(id);
  }

  clear(): void {
    this.#conversations.clear();
  }

  /** The conversation changed last first; none for a question without words. */
  find(question: string): readonly Hit[] {
    const words = wordsOf(question);
    if (words.length === 0) {
      return [];
    }
    const found = [...this.#conversations.values()].flatMap((candidate) => {
      const hit = hitIn(candidate, words);
      return hit === null ? [] : [{ hit, updatedAt: candidate.conversation.updatedAt }];
    });
    return found.sort((one, other) => other.updatedAt - one.updatedAt).map(({ hit }) => hit);
  }
}

function hitIn(candidate: FoldedConversation, words: readonly string[]): Hit | null {
  const { conversation } = candidate;
  const missing = words.filter((word) => !candidate.title.includes(word));
  const found =
    missing.length === 0
      ? undefined
      : candidate.turns.find(({ folded }) => missing.every((word) => folded.includes(word)));
  if (missing.length > 0 && found === undefined) {
    return null;
  }
  return {
    conversation: conversation.id,
    title: marked(conversation.title, words),
    turn: found?.turn.id ?? null,
    snippet: found === undefined ? [] : snippetOf(found, words),
  };
}

/** Folded, each once. */
function wordsOf(question: string): readonly string[] {
  const words = fold(question)
    .split(/\s+/u)
    .filter((word) => word !== "");
  return [...new Set(words)].slice(0, MAX_WORDS);
}

/**
 * Marks that a text can be written without: accents, Arabic and Hebrew vowels, and the line that
 * stretches Arabic words. Marks of other scripts are letters: without them Hindi falls apart, and
 * Japanese が (its voice mark is inherited, too) becomes か.
 */
const MARKS =
  /(?!\u3099|\u309a)(?=\p{Script=Inherited}|\p{Script=Arabic}|\p{Script=Hebrew})\p{M}|\u0640/gu;

/** Lower case, compatible forms alike (NFKD), without marks. */
export function fold(text: string): string {
  const lower = text.toLowerCase();
  return isAscii(lower)
    ? lower
    : lower.normalize("NFKD").replace(MARKS, "").replaceAll("ß", "ss").replaceAll("ς", "σ");
}

function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text);
}

/** The text in pieces, those that match any of the folded words among them. */
export function marked(text: string, words: readonly string[]): readonly Piece[] {
  const { folded, starts } = foldedWithPlaces(text);
  const isMatch = new Uint8Array(text.length);
  for (const word of words) {
    for (let at = folded.indexOf(word); at >= 0; at = folded.indexOf(word, at + word.length)) {
      isMatch.fill(1, starts[at], starts[at + word.length]);
    }
  }
  const pieces: Piece[] = [];
  for (let start = 0; start < text.length;) {
    let end = start + 1;
    while (end < text.length && isMatch[end] === isMatch[start]) {
      end++;
    }
    pieces.push({ text: text.slice(start, end), isMatch: isMatch[start] === 1 });
    start = end;
  }
  return pieces;
}

/** Some words around the first that was found, on one line. */
function snippetOf({ turn, folded }: FoldedTurn, words: readonly string[]): readonly Piece[] {
  const first = Math.min(...words.map((word) => folded.indexOf(word)).filter((at) => at >= 0));
  const place = placeOf(turn.text, first);
  const start = atWord(turn.text, Math.max(0, place - LEAD_CHARACTERS), place);
  const end = atCharacter(turn.text, start + SNIPPET_CHARACTERS);
  const inside = turn.text.slice(start, end).replace(/\s+/gu, " ").trim();
  const text = `${start > 0 ? "…" : ""}${inside}${end < turn.text.length ? "…" : ""}`;
  return marked(text, words);
}

/** Where in a text the `at`th character of its folded form comes from. */
function placeOf(text: string, at: number): number {
  let passed = 0;
  for (let start = 0; start < text.length;) {
    const end = atCharacter(text, start + STRIDE_CHARACTERS);
    const part = text.slice(start, end);
    const length = fold(part).length;
    if (passed + length > at) {
      return start + (foldedWithPlaces(part).starts[at - passed] ?? 0);
    }
    passed += length;
    start = end;
  }
  return text.length;
}

/** The next beginning of a word, as far as `most`; where spaces part none, the same place. */
function atWord(text: string, at: number, most: number): number {
  if (at === 0) {
    return 0;
  }
  const space = text.slice(at, most).search(/\s/u);
  return space < 0 ? atCharacter(text, at) : at + space + 1;
}

/** The same place, or one later where that would part a pair of surrogates. */
function atCharacter(text: string, at: number): number {
  const isInside = /^[\udc00-\udfff]/.test(text.charAt(at));
  return Math.min(isInside ? at + 1 : at, text.length);
}

/** Folded character by character; where each part of it came from, and behind the last the text's end. */
function foldedWithPlaces(text: string): { folded: string; starts: readonly number[] } {
  let folded = "";
  const starts: number[] = [];
  let at = 0;
  for (const character of text) {
    const part = fold(character);
    folded += part;
    starts.push(...Array<number>(part.length).fill(at));
    at += character.length;
  }
  starts.push(text.length);
  return { folded, starts };
}
