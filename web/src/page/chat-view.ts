/**
 * The conversation on the screen. Shows; decides nothing.
 *
 * Text is always set as text, never as HTML. While an answer grows it is `aria-busy`; screen
 * readers hear it once, whole, when it is there.
 */
import type { AnswerReport } from "../client/chat-session.ts";
import { byId, make } from "./dom.ts";
import { formatRate, formatSeconds } from "./format.ts";

/** Closer to the end than this counts as reading along. */
const NEAR_END_PIXELS = 80;

const messages = byId("messages", HTMLOListElement);
const scroller = byId("scroller", HTMLElement);
const announcer = byId("announcer", HTMLParagraphElement);

/** An answer that is being written. */
export interface AnswerView {
  show(text: string): void;
  finish(report: AnswerReport): void;
  fail(message: string): void;
}

export function addQuestion(text: string): void {
  const item = make("li", "asked");
  item.append(make("p", "message-text", text));
  messages.append(item);
  scrollToEnd();
}

export function addAnswer(): AnswerView {
  const item = make("li", "answered is-writing");
  const body = make("p", "message-text");
  item.setAttribute("aria-busy", "true");
  item.append(body);
  messages.append(item);
  announcer.textContent = "Answering…";
  scrollToEnd();

  const end = (className: string, text: string) => {
    const follows = isNearEnd();
    item.classList.remove("is-writing");
    item.removeAttribute("aria-busy");
    item.append(make("p", className, text));
    if (follows) {
      scrollToEnd();
    }
  };
  return {
    show(text) {
      const follows = isNearEnd();
      body.textContent = text;
      if (follows) {
        scrollToEnd();
      }
    },
    finish(report) {
      end("message-note", noteOf(report));
      announcer.textContent = report.text;
    },
    fail(message) {
      end("message-error", message);
      announcer.textContent = message;
    },
  };
}

export function clearMessages(): void {
  messages.replaceChildren();
  announcer.textContent = "New chat.";
}

function noteOf(report: AnswerReport): string {
  const { completionTokens: count, decodeTokensPerSecond, timeToFirstTokenSeconds } = report;
  const parts = [`${count} ${count === 1 ? "token" : "tokens"}`];
  if (decodeTokensPerSecond > 0) {
    parts.push(formatRate(decodeTokensPerSecond));
  }
  if (count > 0) {
    const seconds = timeToFirstTokenSeconds;
    parts.push(`first after ${seconds < 10 ? `${seconds.toFixed(1)} s` : formatSeconds(seconds)}`);
  }
  if (report.finishReason === "abort") {
    parts.push("stopped");
  } else if (report.finishReason === "length") {
    parts.push("cut off at the length limit");
  }
  return parts.join(" · ");
}

function isNearEnd(): boolean {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PIXELS;
}

function scrollToEnd(): void {
  scroller.scrollTop = scroller.scrollHeight;
}
