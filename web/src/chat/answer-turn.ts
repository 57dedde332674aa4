/** What a model says, as a turn of the conversation. Pure. */
import type { AnswerReport, PartialAnswer } from "./answer.ts";
import { toWireError } from "../errors.ts";
import type { ToolCall, ToolResult, Turn } from "./types.ts";

/** What was there before, and what has come since. */
export function grown(first: Turn, partial: PartialAnswer): Turn {
  const { reasoningSeconds: before } = first;
  const thought = partial.reasoning === "" ? before : (before ?? 0) + partial.reasoningSeconds;
  return {
    ...first,
    state: "streaming",
    error: null,
    text: first.text + partial.text,
    reasoning: first.reasoning + partial.reasoning,
    ...(thought !== undefined && { reasoningSeconds: thought }),
    calls: Object.values(partial.calls).map((call) => ({ ...call })),
  };
}

/** As far as it came, and what went wrong. */
export function brokenOff(first: Turn, partial: PartialAnswer, error: unknown): Turn {
  const { code, message } = toWireError(error);
  return { ...grown(first, partial), state: "failed", error: message, errorCode: code };
}

export function endOf(
  first: Turn,
  report: AnswerReport,
  model: string,
  leftOutTurns: number,
): Turn {
  const { finishReason, servedBy } = report;
  const states = { abort: "stopped", length: "length", stop: "done", tool_calls: "done" } as const;
  return {
    ...grown(first, report),
    state: states[finishReason],
    // Half a call is none.
    calls: finishReason === "abort" || finishReason === "length" ? [] : [...report.calls],
    figures: {
      model,
      servedBy: servedBy.place,
      why: servedBy.why,
      ...(servedBy.code !== undefined && { whyCode: servedBy.code }),
      leftOutTurns,
      promptTokens: report.promptTokens,
      cachedTokens: report.cachedTokens,
      completionTokens: report.completionTokens,
      timeToFirstTokenSeconds: report.timeToFirstTokenSeconds,
      decodeTokensPerSecond: report.decodeTokensPerSecond,
    },
  };
}

/** The whole text, where the answer went on from an earlier one. */
export function withText(report: AnswerReport, { text, reasoning }: Turn): AnswerReport {
  return { ...report, text, reasoning };
}

export function emptyResult({ id, name }: ToolCall): ToolResult {
  return { callId: id, name, isError: false, text: "", views: [] };
}
