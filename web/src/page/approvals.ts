/** Calls that wait for the person's word. */
import { type ReadonlySignal, signal } from "@preact/signals";

import type { ApprovalAnswer, ApprovalRequest, Approve } from "../tools/types.ts";

export interface PendingApproval {
  request: ApprovalRequest;
  answer: (answer: ApprovalAnswer) => void;
}

export class Approvals {
  readonly #pending = signal<PendingApproval | null>(null);

  /** Calls run one after another, so one waits at most. */
  readonly pending: ReadonlySignal<PendingApproval | null> = this.#pending;

  readonly ask: Approve = (request, stopped) =>
    new Promise((resolve) => {
      const answer = (said: ApprovalAnswer) => {
        stopped.removeEventListener("abort", refuse);
        this.#pending.value = null;
        resolve(said);
      };
      const refuse = () => {
        answer("no");
      };
      if (stopped.aborted) {
        resolve("no");
        return;
      }
      stopped.addEventListener("abort", refuse);
      this.#pending.value = { request, answer };
    });
}
