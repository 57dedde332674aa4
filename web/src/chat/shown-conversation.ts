/**
 * The conversation that shows: its tree of turns, the branch to its leaf, and the turn that is being
 * written. Each change is kept (`ChatStore`) as it comes.
 *
 * Knows nothing of models and requests.
 */
import { type ReadonlySignal, batch, computed, signal } from "@preact/signals";

import { TransomError } from "../errors.ts";
import type { ChatOptions, ChatStore, StoredConversation } from "./chat-options.ts";
import { branchTo, newConversation, shownLeaf, treeOf } from "./tree.ts";
import type { Conversation, Id, Turn } from "./types.ts";

export class ShownConversation {
  readonly #store: ChatStore;
  readonly #partner: ChatOptions["partner"];
  readonly #conversation = signal<Conversation>(newConversation());
  readonly #turns = signal<ReadonlyMap<Id, Turn>>(new Map());
  /** Nothing was kept of a conversation before its first turn. */
  #isKept = false;

  readonly conversation: ReadonlySignal<Conversation> = this.#conversation;
  /** The turn that is being written; newer than the same turn in `branch`. */
  readonly live = signal<Turn | null>(null);
  readonly tree = computed(() => treeOf(this.#turns.value.values()));
  readonly branch = computed(() => branchTo(this.tree.value, this.#conversation.value.leaf));

  constructor({ store, partner }: Pick<ChatOptions, "store" | "partner">) {
    this.#store = store;
    this.#partner = partner;
  }

  /** Show one that is kept, as it is kept. */
  show({ conversation, turns }: StoredConversation): void {
    batch(() => {
      this.#turns.value = new Map(turns.map((turn) => [turn.id, turn]));
      const leaf = shownLeaf(this.tree.value, conversation.leaf);
      this.#conversation.value = { ...conversation, leaf };
    });
    this.#isKept = true;
  }

  begin(about: Partial<Conversation>): void {
    batch(() => {
      this.#conversation.value = newConversation(about);
      this.#turns.value = new Map();
    });
    this.#isKept = false;
  }

  change(about: Partial<Conversation>): void {
    this.#conversation.value = { ...this.#conversation.value, ...about };
    if (this.#isKept) {
      this.#store.changeConversation(this.#conversation.value.id, about);
    }
  }

  /** @throws TransomError `invalid-request`: there is none of that id. */
  turn(id: Id): Turn {
    const turn = this.#turns.value.get(id);
    if (turn === undefined) {
      throw new TransomError("invalid-request", "That turn is not in this conversation.");
    }
    return turn;
  }

  /** Put it, and show the branch to it. */
  add(turn: Turn): void {
    batch(() => {
      this.put(turn);
      this.change({
        leaf: turn.id,
        model: this.#partner()?.model ?? this.#conversation.value.model,
        updatedAt: Date.now(),
      });
    });
    if (!this.#isKept) {
      this.#isKept = true;
      this.#store.keepConversation(this.#conversation.value);
    }
  }

  put(turn: Turn): void {
    this.#turns.value = new Map(this.#turns.value).set(turn.id, turn);
    this.#store.keepTurn(turn);
  }

  /** Put the turn that was live, as it ended. */
  finish(turn: Turn): void {
    batch(() => {
      this.live.value = null;
      this.put(turn);
    });
  }
}
