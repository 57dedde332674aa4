/**
 * A remote MCP server as it is kept: where it is, what it is asked with, and the tools that it listed last.
 *
 * What a server says of itself is anybody's text: everything from it has a limit, and is shown as text.
 */
import { TransomError } from "../../errors.ts";
import { type AddressFault, InvalidAddress, readAddress } from "../address.ts";

export interface McpServer {
  id: string;
  /** As the person calls it. */
  name: string;
  url: string;
  /** With each request, such as `Authorization`. Kept in this browser only. */
  headers: readonly (readonly [name: string, value: string])[];
  /** As the server listed them last, so that a visit need not ask it before a tool is called. */
  tools: readonly McpTool[];
  /** Milliseconds since 1970; null: it was never reached. */
  listedAt: number | null;
}

export interface McpTool {
  name: string;
  title: string;
  description: string;
  parameters: Readonly<Record<string, unknown>>;
}

/** Each has a stream that stays open while it is used. */
export const MAX_SERVERS = 20;
/** Descriptions of more would fill the context of most models. */
export const MAX_TOOLS = 128;
/** Of a list in pages; a server that always has one more is stopped here. */
export const MAX_PAGES = 32;
export const MAX_DESCRIPTION_CHARACTERS = 2000;
/** As JSON; the description of a whole database has some 10 kB. */
export const MAX_SCHEMA_CHARACTERS = 20_000;
const MAX_NAME_CHARACTERS = 60;
const MAX_TOOL_NAME_CHARACTERS = 128;
const MAX_HEADERS = 16;
const MAX_HEADER_CHARACTERS = 8192;

/** What the person typed. */
export interface ServerFields {
  name: string;
  url: string;
  /** A token, with or without "Bearer "; "": none. */
  token: string;
  /** `Name: value`, one a line. */
  headers: string;
}

export type FieldFault =
  AddressFault | "token" | "header" | "too-many-headers" | "too-many-servers";

/** Which field is wrong, and how; the page has words for it. */
export class InvalidField extends TransomError {
  readonly field: keyof ServerFields;
  readonly fault: FieldFault;

  constructor(field: keyof ServerFields, fault: FieldFault) {
    super("invalid-request", `The ${field} of the server cannot be used (${fault}).`);
    this.field = field;
    this.fault = fault;
  }
}

/** @throws InvalidField. */
export function readFields(fields: ServerFields): Pick<McpServer, "name" | "url" | "headers"> {
  const address = readUrl(fields.url);
  const name = oneLine(fields.name, MAX_NAME_CHARACTERS);
  const token = fields.token.trim().replace(/^Bearer\s+/i, "");
  if (!/^[\x21-\x7e]*$/.test(token) || token.length > MAX_HEADER_CHARACTERS) {
    throw new InvalidField("token", "token");
  }
  return {
    name: name === "" ? address.host.slice(0, MAX_NAME_CHARACTERS) : name,
    url: address.href,
    headers: [
      ...(token === "" ? [] : [["Authorization", `Bearer ${token}`] as const]),
      ...readHeaders(fields.headers),
    ],
  };
}

function readUrl(text: string): URL {
  try {
    const address = readAddress(text);
    address.hash = "";
    return address;
  } catch (error) {
    throw error instanceof InvalidAddress ? new InvalidField("url", error.fault) : error;
  }
}

/** What of a kept server is shown for editing. */
export function fieldsOf({ name, url, headers }: McpServer): ServerFields {
  const token = headers.find(([header, value]) => isBearer(header, value))?.[1] ?? "";
  return {
    name,
    url,
    token: token.replace(/^Bearer /, ""),
    headers: headers
      .filter(([header, value]) => !isBearer(header, value))
      .map(([header, value]) => `${header}: ${value}`)
      .join("\n"),
  };
}

function isBearer(header: string, value: string): boolean {
  return header === "Authorization" && value.startsWith("Bearer ");
}

function readHeaders(text: string): readonly (readonly [string, string])[] {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (lines.length > MAX_HEADERS || text.length > MAX_HEADER_CHARACTERS) {
    throw new InvalidField("headers", "too-many-headers");
  }
  return lines.map((line) => {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).trim();
    const value = line.slice(colon + 1).trim();
    // RFC 9110: a token, and visible ASCII.
    if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(name) || !/^[\x20-\x7e]+$/.test(value)) {
      throw new InvalidField("headers", "header");
    }
    return [name, value];
  });
}

/** A tool of a server's list; null: it cannot be used. */
export function readTool(row: {
  name: string;
  title?: string | undefined;
  description?: string | undefined;
  inputSchema: unknown;
}): McpTool | null {
  const { name, title = "", description = "", inputSchema } = row;
  const schema = inputSchema as Record<string, unknown> | null | undefined;
  if (name === "" || name.length > MAX_TOOL_NAME_CHARACTERS) {
    return null;
  }
  const isUsable =
    typeof schema === "object" &&
    schema !== null &&
    JSON.stringify(schema).length <= MAX_SCHEMA_CHARACTERS;
  return isUsable
    ? {
        name,
        title: oneLine(title, MAX_NAME_CHARACTERS),
        description: visible(description).slice(0, MAX_DESCRIPTION_CHARACTERS),
        parameters: schema,
      }
    : null;
}

/** A server as it was kept, by this or an earlier version; null: it is none. */
export function readKept(row: unknown): McpServer | null {
  const { id, name, url, headers, tools, listedAt } = (row ?? {}) as Partial<McpServer>;
  const isServer =
    typeof id === "string" &&
    typeof name === "string" &&
    typeof url === "string" &&
    URL.canParse(url) &&
    Array.isArray(headers) &&
    Array.isArray(tools);
  return isServer
    ? { id, name, url, headers, tools: tools as McpTool[], listedAt: listedAt ?? null }
    : null;
}

/** Text of strangers on one line. */
function oneLine(text: string, most: number): string {
  return visible(text).replaceAll(/\s+/g, " ").trim().slice(0, most);
}

/** Without what hides or turns text around: controls, and marks of direction. */
function visible(text: string): string {
  return text.replaceAll(
    // eslint-disable-next-line no-control-regex -- those are what it takes out
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]|[\u{e0000}-\u{e007f}]/gu,
    "",
  );
}
