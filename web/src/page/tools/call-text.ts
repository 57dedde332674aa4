/** What of a call is shown, and how: pure. */
import type { ToolCall, ToolResult } from "../../chat/types.ts";
import { REFUSED } from "../../tools/tool-box.ts";
import type { Tool } from "../../tools/types.ts";
import type { Words } from "../i18n/words.ts";

export type CallState = "waiting" | "running" | "done" | "failed" | "refused";

/** Of a call whose result is there; null: it runs. */
export function stateOf(result: ToolResult | null): CallState {
  if (result === null || (result.text === "" && !result.isError && result.views.length === 0)) {
    return "running";
  }
  if (!result.isError) {
    return "done";
  }
  return result.text.includes(REFUSED) ? "refused" : "failed";
}

/** As people call a tool, in their language; of servers' tools the server's own words. */
export function titleOf(
  name: string,
  tool: Pick<Tool, "title" | "origin"> | null,
  { names }: Words["tools"],
): string {
  const isBuiltin = tool === null || tool.origin === "builtin";
  const ours = isBuiltin && Object.hasOwn(names, name) ? names[name] : undefined;
  return ours ?? (tool?.title === undefined || tool.title === "" ? name : tool.title);
}

/** One argument, as it is shown: text as it is, all else as JSON. */
export interface Argument {
  name: string;
  text: string;
}

/** Null: what the model wrote is no JSON object, and shows as it is. */
export function argumentsOf(call: ToolCall): readonly Argument[] | null {
  if (call.arguments.trim() === "") {
    return [];
  }
  let input: unknown;
  try {
    input = JSON.parse(call.arguments);
  } catch {
    return null;
  }
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    return null;
  }
  return Object.entries(input).map(([name, value]: [string, unknown]) => ({
    name,
    text: typeof value === "string" ? value : JSON.stringify(value, null, 2),
  }));
}

/** Room for it on one line beside the title; more would be cut by the line anyway. */
const MAX_HINT_CHARACTERS = 120;

/** The first argument on one line, to tell calls apart while they are folded. */
export function hintOf(call: ToolCall): string {
  const text = argumentsOf(call)?.[0]?.text ?? call.arguments;
  return text
    .slice(0, 4 * MAX_HINT_CHARACTERS)
    .replaceAll(/\s+/g, " ")
    .trim()
    .slice(0, MAX_HINT_CHARACTERS);
}
