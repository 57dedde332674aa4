/**
 * Formats of answers, made into what holds a model to them token by token.
 *
 * All of them become grammars here (`grammar/`): what is refused is refused with a reason, and what
 * reaches xgrammar is what it reads right and fast. Only the frame of structural tags is its own.
 */
import { TransomError } from "../errors.ts";
import type { Constraint, OutputFormat } from "../protocol.ts";
import type { TokenBytes } from "./detokenizer.ts";
import { ebnfGrammar } from "./grammar/ebnf.ts";
import { schemaGrammar } from "./grammar/json-schema.ts";
import { Grammar, type Node, choice, text } from "./grammar/node.ts";
import { regexNode } from "./grammar/regex.ts";
import { StepWatch } from "./grammar/step-watch.ts";
import { structuralTag } from "./grammar/structural-tag.ts";
import { type Source, type TokenMatcher, Xgrammar } from "./grammar/xgrammar.ts";

/** A list of all countries has 250; each is a path to follow for every token. */
const MAX_CHOICES = 1024;
const MAX_CHOICES_LENGTH = 64 * 1024;

/** Where answers mostly end: then it is worth a look whether they must. */
const ENDS: ReadonlySet<number> = new Set(new TextEncoder().encode('}])">'));

export class ConstraintMaker {
  readonly #tokens: readonly Uint8Array[];
  readonly #stopTokenIds: readonly number[];
  readonly #stripsFirstSpace: boolean;
  /** All tokens that have a text, and those that end an answer. */
  readonly #freeMask: Int32Array;
  readonly #now: () => number;
  #host: Promise<Xgrammar> | null = null;

  /**
   * @param vocabularySize places in the logits; models pad it beyond what their tokenizer has.
   * @param now milliseconds.
   */
  constructor(
    table: TokenBytes,
    vocabularySize: number,
    stopTokenIds: readonly number[],
    now = () => performance.now(),
  ) {
    this.#now = now;
    this.#tokens = Array.from({ length: vocabularySize }, (_, id) => table.bytesOrNone(id));
    this.#stopTokenIds = stopTokenIds;
    this.#stripsFirstSpace = table.stripsFirstSpace;
    this.#freeMask = new Int32Array(Math.ceil(vocabularySize / 32));
    this.#tokens.forEach((bytes, id) => {
      if (bytes.length > 0 || stopTokenIds.includes(id)) {
        this.#freeMask[id >> 5] = (this.#freeMask[id >> 5] ?? 0) | (1 << (id & 31));
      }
    });
  }

  /** @throws TransomError `invalid-request` naming what is wrong with the format. */
  async make(format: OutputFormat): Promise<Constraint> {
    const source = this.#sourceOf(format);
    const vocabulary = { tokens: this.#tokens, stopTokenIds: this.#stopTokenIds };
    this.#host ??= Xgrammar.load(vocabulary);
    try {
      const matcher = (await this.#host).start(source);
      const watch = new StepWatch(this.#now);
      return new TokenConstraint(matcher, watch, this.#tokens, this.#freeMask, this.#stopTokenIds);
    } catch (error) {
      this.#host = null;
      throw error;
    }
  }

  #sourceOf(format: OutputFormat): Source {
    switch (format.kind) {
      case "json":
        return this.#own(schemaGrammar({ type: "object" }).grammar);
      case "json-schema": {
        const { grammar, unheld } = schemaGrammar(format.schema);
        sayUnheld(unheld);
        return this.#own(grammar);
      }
      case "grammar":
        return this.#own(ebnfGrammar(format.grammar));
      case "regex":
        return this.#own(written(regexNode(format.pattern)));
      case "choice":
        requireChoices(format.choices);
        return this.#own(written(choice(...format.choices.map(text))));
      case "structural-tag": {
        const unheld: string[] = [];
        const json = structuralTag(format.tag, (keyword) => unheld.push(keyword));
        sayUnheld(unheld);
        return { kind: "structural-tag", json };
      }
    }
  }

  /** Where a tokenizer takes the first space of a text away, an answer may begin with one. */
  #own(grammar: string): Source {
    return this.#stripsFirstSpace
      ? { kind: "grammar", text: `${grammar}\n${SPACED} ::= (" " | "") root\n`, root: SPACED }
      : { kind: "grammar", text: grammar, root: "root" };
  }
}

const SPACED = "transom_spaced_root";

class TokenConstraint implements Constraint {
  readonly #matcher: TokenMatcher;
  readonly #watch: StepWatch;
  readonly #tokens: readonly Uint8Array[];
  readonly #freeMask: Int32Array;
  readonly #stopTokenIds: ReadonlySet<number>;
  /** What `nextMask` will say; undefined until it is known. */
  #mask: Int32Array | null | undefined;

  constructor(
    matcher: TokenMatcher,
    watch: StepWatch,
    tokens: readonly Uint8Array[],
    freeMask: Int32Array,
    stopTokenIds: readonly number[],
  ) {
    this.#matcher = matcher;
    this.#watch = watch;
    this.#tokens = tokens;
    this.#freeMask = freeMask;
    this.#stopTokenIds = new Set(stopTokenIds);
  }

  nextMask(): Int32Array | null {
    if (this.#mask === undefined) {
      const mask = this.#watch.measure(() => this.#matcher.mask());
      this.#watch.endStep();
      if (mask.every((word) => word === 0)) {
        throw new TransomError(
          "invalid-request",
          "The format has come to a place where none of this model's tokens can follow.",
        );
      }
      this.#mask = this.#allowsAll(mask) ? null : mask;
    }
    return this.#mask;
  }

  accept(tokenId: number): boolean {
    const bytes = this.#tokens[tokenId];
    const isStop = this.#stopTokenIds.has(tokenId);
    if (!isStop && (bytes === undefined || bytes.length === 0)) {
      // It has no text that could break a format, nor bring the answer on.
      return true;
    }
    this.#mask = undefined;
    if (!this.#watch.measure(() => this.#matcher.accept(tokenId))) {
      throw new TransomError(
        "invalid-request",
        `The answer does not keep to its format: token ${tokenId} may not follow.`,
      );
    }
    return !isStop && !(ENDS.has(bytes?.at(-1) ?? 0) && this.#mustStop());
  }

  dispose(): void {
    this.#matcher.dispose();
  }

  #allowsAll(mask: Int32Array): boolean {
    return this.#freeMask.every((free, index) => ((mask[index] ?? 0) & free) === free);
  }

  #mustStop(): boolean {
    const mask = this.nextMask();
    const rest = mask?.slice();
    for (const id of this.#stopTokenIds) {
      if (rest !== undefined) {
        rest[id >> 5] = (rest[id >> 5] ?? 0) & ~(1 << (id & 31));
      }
    }
    return rest?.every((word) => word === 0) ?? false;
  }
}

function written(node: Node): string {
  const grammar = new Grammar();
  grammar.define("root", node);
  return grammar.toString();
}

function requireChoices(choices: readonly string[]): void {
  if (choices.length === 0 || choices.length > MAX_CHOICES) {
    throw new TransomError(
      "invalid-request",
      `There are ${choices.length} choices; there must be 1 to ${MAX_CHOICES}.`,
    );
  }
  if (choices.reduce((sum, { length }) => sum + length, 0) > MAX_CHOICES_LENGTH) {
    throw new TransomError(
      "invalid-request",
      `The choices have more than ${MAX_CHOICES_LENGTH} characters.`,
    );
  }
}

/** An answer that may break the schema after all is said, not hidden; it stops nobody. */
function sayUnheld(keywords: readonly string[]): void {
  if (keywords.length > 0) {
    // eslint-disable-next-line no-console -- for whoever wonders why an answer does not fit
    console.warn(`The answer is not held to the schema's ${keywords.join(", ")}.`);
  }
}
