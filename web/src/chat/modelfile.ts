/**
 * `Modelfile`: reading and writing, as `models/transom_models/modelfile/modelfile.py` does it.
 *
 * A directive is a word in any case, a space, and a value up to the end of its line. A value that
 * begins with `"` or `"""` goes on, over line ends, until a line ends with the same quotes; there are
 * no escapes. `#` starts a comment where a directive could start. `docs/modelfile.md` has the rest, and
 * tests/models/modelfile_cases.json what both readers say to the same texts. Pure.
 */
import {
  type Directive,
  ModelfileError,
  SHOWN_CHARACTERS,
  readDirectives,
  spell,
  strip,
} from "./modelfile-grammar.ts";
import {
  type ParameterValue,
  RETIRED,
  checkStops,
  nearMisses,
  parseParameter,
} from "./modelfile-parameters.ts";

/** Seed messages take context; no context holds more turns than this. */
export const MAX_MESSAGES = 1024;
/** Each is one layer of the manifest, whose rows are capped too. */
export const MAX_LICENSES = 64;
export const MAX_ADAPTERS = 16;
/** A path or a model name; longer than common systems allow for either. */
const MAX_PATH_CHARACTERS = 4096;

export const ROLES = ["system", "user", "assistant"] as const;
export const PLATFORMS = ["webgpu", "native"] as const;
export type SeedRole = (typeof ROLES)[number];
export type Platform = (typeof PLATFORMS)[number];
/** Said before every conversation. */
export interface SeedMessage {
  role: SeedRole;
  content: string;
}

export interface Modelfile {
  /** What FROM names. */
  base: string;
  adapters: readonly string[];
  draft: string | null;
  /** As written, Go or Jinja; null where no line gives it. */
  template: string | null;
  system: string | null;
  parameters: Readonly<Record<string, ParameterValue>>;
  licenses: readonly string[];
  messages: readonly SeedMessage[];
  requires: string | null;
  platforms: readonly Platform[];
  /** Parameters of old that were passed over. */
  retired: readonly string[];
}

/** @throws ModelfileError with the number and text of the line. */
export function parseModelfile(text: string): Modelfile {
  const reader = new ModelfileReader();
  for (const directive of readDirectives(text)) {
    reader.take(directive);
  }
  return reader.result();
}

/** A text that `parseModelfile` reads back as an equal value. @throws ModelfileError where it cannot. */
export function writeModelfile(modelfile: Modelfile): string {
  const { base, adapters, draft, platforms, requires, template, system } = modelfile;
  const { parameters, messages, licenses } = modelfile;
  const lines = [
    `FROM ${spell(base)}`,
    ...adapters.map((path) => `ADAPTER ${spell(path)}`),
    ...(draft === null ? [] : [`DRAFT ${spell(draft)}`]),
    ...platforms.map((platform) => `PLATFORM ${platform}`),
    ...(requires === null ? [] : [`REQUIRES ${requires}`]),
    ...(template === null ? [] : [`TEMPLATE ${spell(template)}`]),
    ...(system === null ? [] : [`SYSTEM ${spell(system)}`]),
    ...Object.keys(parameters)
      .sort()
      .flatMap((name) => parameterLines(name, parameters[name] ?? [])),
    ...messages.map(({ role, content }) => `MESSAGE ${role} ${spell(content)}`),
    ...licenses.map((text) => `LICENSE ${spell(text)}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** PARAMETER lines of one name: one for each text of `stop`. @throws ModelfileError */
export function parameterLines(name: string, value: ParameterValue): string[] {
  const values = typeof value === "object" ? value.map(spell) : [String(value)];
  return values.map((written) => `PARAMETER ${name} ${written}`);
}

/** Semantic versions, with Go's short forms; `v` in front may be there. */
const VERSION =
  /^v?((?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){0,2}(?:-[\dA-Za-z.-]{1,64})?(?:\+[\dA-Za-z.-]{1,64})?)$/;

/** Takes directives in order, and gives the Modelfile that they make. */
class ModelfileReader {
  #base: string | null = null;
  #draft: string | null = null;
  #template: string | null = null;
  #system: string | null = null;
  #requires: string | null = null;
  readonly #adapters: string[] = [];
  readonly #licenses: string[] = [];
  readonly #messages: SeedMessage[] = [];
  readonly #platforms: Platform[] = [];
  readonly #retired: string[] = [];
  readonly #parameters = new Map<string, ParameterValue>();

  take(directive: Directive): void {
    const { word, head, value } = directive;
    if (value.includes("\0")) {
      throw failed(directive, "a NUL character cannot be part of a value");
    }
    switch (word) {
      case "FROM":
        this.#base = only(directive, this.#base, "base");
        break;
      case "DRAFT":
        this.#draft = only(directive, this.#draft, "draft");
        break;
      case "ADAPTER":
        room(directive, this.#adapters, MAX_ADAPTERS);
        this.#adapters.push(path(directive));
        break;
      case "TEMPLATE":
        this.#template = value;
        break;
      case "SYSTEM":
        this.#system = value;
        break;
      case "LICENSE":
        room(directive, this.#licenses, MAX_LICENSES);
        this.#licenses.push(filled(directive));
        break;
      case "MESSAGE": {
        const role = ROLES.find((known) => known === head);
        if (role === undefined) {
          throw failed(directive, `the role "${head}" must be one of ${ROLES.join(", ")}`);
        }
        room(directive, this.#messages, MAX_MESSAGES);
        this.#messages.push({ role, content: value });
        break;
      }
      case "REQUIRES": {
        const [, version] = VERSION.exec(strip(value)) ?? [];
        if (version === undefined) {
          throw failed(directive, "REQUIRES needs a version such as 0.14.0");
        }
        this.#requires = version;
        break;
      }
      case "PLATFORM":
        this.#takePlatform(directive);
        break;
      case "PARAMETER":
        this.#takeParameter(directive);
        break;
    }
  }

  result(): Modelfile {
    if (this.#base === null) {
      throw new ModelfileError("no FROM line; FROM names a model, a GGUF file or a folder");
    }
    return {
      base: this.#base,
      adapters: this.#adapters,
      draft: this.#draft,
      template: this.#template,
      system: this.#system,
      parameters: Object.fromEntries(this.#parameters),
      licenses: this.#licenses,
      messages: this.#messages,
      requires: this.#requires,
      platforms: this.#platforms,
      retired: this.#retired,
    };
  }

  #takePlatform(directive: Directive): void {
    const written = directive.value.toLowerCase();
    const platform = PLATFORMS.find((known) => known === written);
    if (platform === undefined) {
      const hint = nearMisses(written, PLATFORMS);
      throw failed(directive, `PLATFORM must be ${PLATFORMS.join(" or ")}${hint}`);
    }
    if (!this.#platforms.includes(platform)) {
      this.#platforms.push(platform);
    }
  }

  #takeParameter(directive: Directive): void {
    const { head, value } = directive;
    if (RETIRED.has(head)) {
      this.#retired.push(head);
      return;
    }
    try {
      const parsed = parseParameter(head, value);
      const before = this.#parameters.get(head);
      const isAdded = typeof parsed === "object" && typeof before === "object";
      this.#parameters.set(head, isAdded ? checkStops([...before, ...parsed]) : parsed);
    } catch (error) {
      throw failed(directive, error instanceof Error ? error.message : String(error));
    }
  }
}

function failed({ line, text }: Directive, reason: string): ModelfileError {
  return new ModelfileError(reason, line, text);
}

function only(directive: Directive, before: string | null, what: string): string {
  if (before !== null) {
    const first = before.slice(0, SHOWN_CHARACTERS);
    throw failed(
      directive,
      `${directive.word} was given already ('${first}'); a model has one ${what}`,
    );
  }
  return path(directive);
}

function path(directive: Directive): string {
  const value = filled(directive);
  if (value.length > MAX_PATH_CHARACTERS || value.includes("\n")) {
    throw failed(
      directive,
      `${directive.word} needs a name or a path on one line, of ${MAX_PATH_CHARACTERS} characters at most`,
    );
  }
  return value;
}

function filled(directive: Directive): string {
  if (strip(directive.value) === "") {
    throw failed(directive, `${directive.word} needs a value`);
  }
  return directive.value;
}

function room(directive: Directive, values: readonly unknown[], cap: number): void {
  if (values.length >= cap) {
    throw failed(directive, `more than ${cap} ${directive.word} lines`);
  }
}
