/** What can go wrong with an MCP server, so that the page can say it in the person's language. */

export type ProblemKind =
  /** No answer: not there, or it does not let pages ask it (CORS). Browsers do not tell which. */
  | "unreachable"
  /** 401: it wants a token, or another one. Signing in by OAuth is not done here. */
  | "unauthorized"
  | "forbidden"
  /** It sends elsewhere; tokens are not carried after. */
  | "redirected"
  /** What answers there does not speak MCP. */
  | "not-mcp"
  /** Its CORS hides the session from pages: `Access-Control-Expose-Headers: Mcp-Session-Id`. */
  | "hidden-session"
  | "timeout"
  /** It said so itself. */
  | "refused"
  | "failed";

export class McpProblem extends Error {
  override readonly name = "McpProblem";
  readonly kind: ProblemKind;
  /** What the server said, as text of strangers; "": nothing. */
  readonly detail: string;

  constructor(kind: ProblemKind, detail = "", options?: ErrorOptions) {
    super(detail === "" ? SENTENCES[kind] : `${SENTENCES[kind]} (${detail})`, options);
    this.kind = kind;
    this.detail = detail;
  }
}

/** For the model, which reads English. */
const SENTENCES: Readonly<Record<ProblemKind, string>> = {
  unreachable: "The server did not answer: it is not running, or does not let web pages ask it.",
  unauthorized: "The server wants a token; the user can give it one in the settings of tools.",
  forbidden: "The server does not allow this with the token that it was given.",
  redirected: "The server sends to another address; the user has to enter that one.",
  "not-mcp": "What answers there does not speak MCP over HTTP.",
  "hidden-session": "The server does not let web pages see its session (Mcp-Session-Id).",
  timeout: "The server took too long.",
  refused: "The server refused the call.",
  failed: "The call failed.",
};
