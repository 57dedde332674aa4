/**
 * The conversation on the screen: asks, runs tools, keeps what comes, branches. No DOM.
 *
 *   ask      question turn -> answer turn (-> tool turns -> answer turn)*
 *   retry    a sibling of an answer
 *   edit     a sibling of a question, and its answer
 *   resume   more of the same answer
 *
 * What shows is in `shown-conversation.ts`; what streams is `live` there, and a turn when it ends.
 */
import { type ReadonlySignal, computed, signal } from "@preact/signals";

import type { AskOptions, CompletionRequest } from "../client/api-client.ts";
import { TransomError } from "../errors.ts";
import {
  type AnswerReport,
  type PartialAnswer,
  type RunningAnswer,
  nothingYet,
  startAnswer,
} from "./answer.ts";
import { brokenOff, emptyResult, endOf, grown, withText } from "./answer-turn.ts";
import { Images, questionWithSources } from "./attachments.ts";
import type { ChatOptions, Partner } from "./chat-options.ts";
import { cutsOf, messagesOf, optionsOf } from "./request.ts";
import { ShownConversation } from "./shown-conversation.ts";
import { type Tree, branchTo, leafBelow, newTurn } from "./tree.ts";
import type { Conversation, Draft, Id, Turn } from "./types.ts";

/** A model that calls tools for ever is stopped; people's chains of calls are shorter. */
const MAX_TOOL_ROUNDS = 16;

export class Chat {
  readonly #options: ChatOptions;
  readonly #shown: ShownConversation;
  readonly #images: Images;
  #partial: PartialAnswer = nothingYet();
  #running: { controller: AbortController; answer: RunningAnswer | null } | null = null;
  /** Resolves when no answer is on its way any more. */
  #rested: Promise<unknown> = Promise.resolve();

  readonly conversation: ReadonlySignal<Conversation>;
  /** The turn that is being written; newer than the same turn in `branch`. */
  readonly live: ReadonlySignal<Turn | null>;
  /** Changes when an answer begins or ends, and not with each piece of it. */
  readonly liveId = computed(() => this.live.value?.id ?? null);
  readonly tree: ReadonlySignal<Tree>;
  readonly branch: ReadonlySignal<readonly Turn[]>;
  readonly isAnswering = signal(false);
  /** The last answer that failed because the conversation is longer than the context window. */
  readonly tooLong = signal<Id | null>(null);
  /** The last answer that came to an end here. */
  readonly finished = signal<Turn | null>(null);

  constructor(options: ChatOptions) {
    this.#options = options;
    this.#images = new Images(options.readImage);
    this.#shown = new ShownConversation(options);
    ({
      conversation: this.conversation,
      live: this.live,
      tree: this.tree,
      branch: this.branch,
    } = this.#shown);
  }

  /** The running or last answer, as far as it came. */
  get partial(): Readonly<PartialAnswer> {
    return this.#partial;
  }

  /** Show another conversation; false: there is none of that id. */
  async open(id: Id): Promise<boolean> {
    this.#requireRest();
    const found = await this.#options.store.read(id);
    if (found === null) {
      return false;
    }
    this.#shown.show(found);
    return true;
  }

  /** Another tab has written to the conversation that shows: what it said last holds here, too. */
  async refresh(): Promise<void> {
    const { id } = this.conversation.value;
    const found = this.#running === null ? await this.#options.store.read(id) : null;
    if (found !== null && !this.#isBusyWith(id)) {
      this.#shown.show(found);
    }
  }

  /** A new one. @throws TransomError `busy` while an answer is on its way. */
  begin(about: Partial<Conversation> = {}): void {
    this.#requireRest();
    this.#shown.begin(about);
    this.#partial = nothingYet();
  }

  /** Title, system prompt, parameters, tools … of this conversation. */
  change(about: Partial<Conversation>): void {
    this.#shown.change(about);
  }

  /** What a preset has said before the first question; nothing happens where something was said. */
  seed(messages: readonly { role: "system" | "user" | "assistant"; content: string }[]): void {
    if (this.conversation.value.leaf !== null) {
      return;
    }
    for (const { role, content } of messages) {
      if (role !== "system") {
        const { id: conversation, leaf } = this.conversation.value;
        this.#shown.add(newTurn({ conversation, parent: leaf, role, text: content }));
      }
    }
  }

  /** Ask, below what shows. Resolves with the last answer. */
  ask(draft: Draft, options: AskOptions = {}): Promise<AnswerReport> {
    return this.#askBelow(this.conversation.value.leaf, draft, options);
  }

  /** Ask otherwise: a sibling of a question. */
  edit(question: Id, draft: Draft): Promise<AnswerReport> {
    return this.#askBelow(this.#shown.turn(question).parent, draft, {});
  }

  /** Another answer to what `id`, or the question above it, asked. */
  retry(id: Id): Promise<AnswerReport> {
    this.#requireRest();
    let turn = this.#shown.turn(id);
    while (turn.role !== "user" && turn.parent !== null) {
      turn = this.#shown.turn(turn.parent);
    }
    return this.#answer(turn.id, {});
  }

  /** Go on where an answer was stopped, cut or broken off. */
  resume(id: Id): Promise<AnswerReport> {
    this.#requireRest();
    const turn = this.#shown.turn(id);
    return turn.text === "" ? this.retry(id) : this.#answer(turn.parent, {}, turn);
  }

  /** Show the branch on which a turn is. */
  choose(id: Id): void {
    this.#requireRest();
    this.change({ leaf: leafBelow(this.tree.value, id) });
  }

  /** Stop the answer, and wait until it is kept as far as it came. */
  async rest(): Promise<void> {
    this.stop();
    await this.#rested;
  }

  /** Stop the answer within one token; nothing happens where there is none. */
  stop(): void {
    this.#running?.controller.abort();
    this.#running?.answer?.abort();
  }

  #askBelow(parent: Id | null, draft: Draft, options: AskOptions): Promise<AnswerReport> {
    this.#requireRest();
    const conversation = this.conversation.value;
    const turn = newTurn({
      conversation: conversation.id,
      parent,
      role: "user",
      text: draft.text,
      attachments: draft.attachments,
    });
    if (conversation.title === "") {
      this.change({ title: this.#options.titleOf(draft.text) });
    }
    this.#shown.add(turn);
    return this.#answer(turn.id, options);
  }

  /** @param before an answer that goes on; else a new one is begun. */
  #answer(parent: Id | null, options: AskOptions, before?: Turn): Promise<AnswerReport> {
    const report = this.#answerNow(parent, options, before);
    this.#rested = report.catch(() => undefined);
    return report;
  }

  async #answerNow(
    parent: Id | null,
    options: AskOptions,
    before: Turn | undefined,
  ): Promise<AnswerReport> {
    const partner = this.#options.partner();
    if (partner === null) {
      throw new TransomError("no-model", "There is no model to ask.");
    }
    const running = (this.#running = { controller: new AbortController(), answer: null });
    const conversation = this.conversation.value.id;
    this.#options.store.begin(conversation);
    this.isAnswering.value = true;
    try {
      await this.#prepare(parent, partner, running.controller.signal);
      let above = parent;
      for (let round = 0; ; round++) {
        const [turn, report] = await this.#say(above, partner, options, before);
        before = undefined;
        if (
          turn.calls.length === 0 ||
          report.finishReason === "abort" ||
          round === MAX_TOOL_ROUNDS
        ) {
          return report;
        }
        above = await this.#call(turn, running.controller.signal);
        if (running.controller.signal.aborted) {
          return { ...report, finishReason: "abort" };
        }
      }
    } finally {
      this.#running = null;
      this.isAnswering.value = false;
      this.#options.store.end(conversation);
    }
  }

  /** What attachments bring: images, and passages of documents for the question. */
  async #prepare(parent: Id | null, partner: Partner, signal: AbortSignal): Promise<void> {
    const branch = branchTo(this.tree.value, parent);
    await this.#images.readAll(branch);
    const { retrieval } = this.#options;
    const question = await questionWithSources(
      branch,
      retrieval,
      partner.contextWindowSize,
      signal,
    );
    if (question !== null) {
      this.#shown.put(question);
    }
  }

  /** One answer, streamed into a turn of its own, or behind the one that goes on. */
  async #say(
    parent: Id | null,
    partner: Partner,
    options: AskOptions,
    before: Turn | undefined,
  ): Promise<[Turn, AnswerReport]> {
    const conversation = this.conversation.value;
    const first =
      before ??
      newTurn({ conversation: conversation.id, parent, role: "assistant", state: "streaming" });
    this.#shown.add({ ...first, state: "streaming", error: null });
    const above = branchTo(this.tree.value, parent);
    const cuts = conversation.overflow === "drop-oldest" ? cutsOf(above) : [];
    let leftOut = 0;
    for (;;) {
      const partial = (this.#partial = nothingYet());
      try {
        const request = this.#requestOf(above, partner, options, before, leftOut);
        const report = await this.#stream(request, partial, first);
        const turn = endOf(first, report, partner.model, leftOut);
        this.#shown.finish(turn);
        this.finished.value = turn;
        return [turn, withText(report, turn)];
      } catch (error) {
        const cut = cuts.shift();
        const isTooLong = error instanceof TransomError && error.code === "context-overflow";
        if (isTooLong && cut !== undefined && partial.pieces === 0) {
          leftOut = cut;
          continue;
        }
        this.#shown.finish(brokenOff(first, partial, error));
        if (isTooLong) {
          this.tooLong.value = first.id;
        }
        throw error;
      }
    }
  }

  #requestOf(
    above: readonly Turn[],
    { model }: Partner,
    options: AskOptions,
    before: Turn | undefined,
    leftOut: number,
  ): CompletionRequest {
    const { system, parameters, tools } = this.conversation.value;
    const definitions = this.#options.tools.definitions(tools);
    return {
      model,
      messages: messagesOf({
        system,
        branch: before === undefined ? above : [...above, before],
        leftOut,
        imageUrl: (sha256) => this.#images.urlOf(sha256),
        contextOf: this.#options.contextOf,
      }),
      options: { ...optionsOf(parameters), ...options },
      ...(definitions.length > 0 && { tools: definitions.map((each) => ({ ...each })) }),
    };
  }

  async #stream(
    request: CompletionRequest,
    partial: PartialAnswer,
    first: Turn,
  ): Promise<AnswerReport> {
    const { client, schedule, store } = this.#options;
    let isScheduled = false;
    const show = () => {
      isScheduled = false;
      const live = this.#shown.live.value;
      if (live !== null && live.id === first.id && partial === this.#partial) {
        this.#shown.live.value = grown(first, partial);
      }
    };
    this.#shown.live.value = { ...first, state: "streaming", error: null };
    const answer = startAnswer(client, request, partial, () => {
      if (!isScheduled) {
        isScheduled = true;
        schedule(show);
      }
      store.keepTurn(grown(first, partial));
    });
    if (this.#running !== null) {
      this.#running.answer = answer;
      if (this.#running.controller.signal.aborted) {
        answer.abort();
      }
    }
    return answer.done;
  }

  /** Run what the model wants done; gives the last result's turn. */
  async #call(turn: Turn, signal: AbortSignal): Promise<Id> {
    const { tools, approve } = this.#options;
    let above = turn.id;
    for (const call of turn.calls) {
      const waiting = newTurn({
        conversation: turn.conversation,
        parent: above,
        role: "tool",
        state: "streaming",
        result: emptyResult(call),
      });
      this.#shown.add(waiting);
      this.#shown.live.value = waiting;
      const result = await tools.run(call, {
        conversation: turn.conversation,
        approve,
        signal,
        onView: (view) => {
          const live = this.#shown.live.value;
          if (live?.id === waiting.id && live.result !== null) {
            const views = [...live.result.views, view];
            this.#shown.live.value = { ...live, result: { ...live.result, views } };
          }
        },
      });
      this.#shown.finish({ ...waiting, result, state: signal.aborted ? "stopped" : "done" });
      above = waiting.id;
    }
    return above;
  }

  /** It shows no more, or is being written to here. */
  #isBusyWith(id: Id): boolean {
    return this.#running !== null || this.conversation.value.id !== id;
  }

  #requireRest(): void {
    if (this.#running !== null) {
      throw new TransomError("busy", "An answer is on its way; stop it first.");
    }
  }
}
