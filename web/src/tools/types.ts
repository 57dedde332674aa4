/** Tools: what a model may call, how it is asked for, and what comes back. */
import type { ToolCall, ToolResult, ToolView } from "../chat/types.ts";

/** What happens before a tool runs. */
export type Approval =
  /** Nothing leaves the page and nothing changes: it runs. */
  | "never"
  /** The person is asked each time, and may say "always in this conversation". */
  | "ask";

export interface Tool {
  /** [a-zA-Z0-9_-]{1,64}, as OpenAI's API takes names. */
  name: string;
  /** For people, translated by whoever shows it; "": the name is what there is. */
  title: string;
  /** For the model, in English. */
  description: string;
  /** JSON schema of its arguments, an object. */
  parameters: Readonly<Record<string, unknown>>;
  approval: Approval;
  /** Where it comes from: "builtin", or the name of an MCP server. */
  origin: string;
  /** Seconds that a run may take; 60 if left out, null: the tool has a limit of its own. */
  limitSeconds?: number | null;
  /** What the person should see of a call before they agree to it; of tools that ask. */
  preview?: (input: unknown) => CallPreview;
  /**
   * @param input what the model wrote, parsed; not checked against `parameters`.
   * @throws Error whose message the model and the person read.
   */
  run(input: unknown, context: ToolContext): Promise<ToolOutput>;
}

/** What stands out in a call. */
export interface CallPreview {
  /** Where it goes, in full. */
  address?: string;
  warnings?: readonly CallWarning[];
  /**
   * What "always in this conversation" covers: calls of the tool with the same scope. Left out: all its
   * calls; null: none, the person is asked each time.
   */
  scope?: string | null;
}

export type CallWarning =
  /** The address is in the person's own network, or this machine. */
  | "private-address"
  /** The address carries text after its path, which may tell of the conversation. */
  | "carries-text";

export interface ToolContext {
  signal: AbortSignal;
  /** Id of the conversation that asks: a tool that keeps something keeps it for one. */
  conversation?: string;
  /** What comes while it runs, for people. */
  onView: (view: ToolView) => void;
}

export interface ToolOutput {
  /** What the model reads. */
  text: string;
  /** The tool ran and says that it failed. */
  isError?: boolean;
  views?: readonly ToolView[];
}

/** A call that waits for the person. */
export interface ApprovalRequest {
  call: ToolCall;
  tool: Tool;
  preview?: CallPreview;
}

export type ApprovalAnswer = "once" | "conversation" | "no";

/** Asks the person. Aborts (the answer was stopped) count as "no". */
export type Approve = (request: ApprovalRequest, signal: AbortSignal) => Promise<ApprovalAnswer>;

/** What the chat knows of tools. */
export interface ToolBox {
  /** All there are now, for the menu. */
  readonly tools: readonly Tool[];
  /** Of those named, as OpenAI's API takes them. */
  definitions(names: readonly string[]): readonly ToolDefinition[];
  /** Runs one call and never rejects: what goes wrong is a result that the model reads. */
  run(
    call: ToolCall,
    options: {
      conversation: string;
      approve: Approve;
      signal: AbortSignal;
      onView: (view: ToolView) => void;
    },
  ): Promise<ToolResult>;
}

export interface ToolDefinition {
  type: "function";
  function: { name: string; description: string; parameters: Readonly<Record<string, unknown>> };
}
