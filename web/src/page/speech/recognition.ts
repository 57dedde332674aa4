/**
 * Speech as text, by whatever the browser has, and where its sound would go.
 *
 * The Web Speech API (https://webaudio.github.io/web-speech-api/) says nothing about where sound is
 * recognised unless the browser has its later part: `available()` and `processLocally`. Without
 * that, Chromium and others send it to their maker, so "remote" is what is assumed.
 */

export type SpeechPlace =
  /** On this device: nobody has to be asked. */
  | "device"
  /** On this device, once a language pack is here. */
  | "download"
  /** On servers of the browser's maker, as far as anybody can tell. */
  | "remote"
  /** Not at all. */
  | "none";

export type SpeechFailure =
  | "not-allowed"
  | "service-not-allowed"
  | "no-speech"
  | "audio-capture"
  | "network"
  | "language-not-supported"
  | "other";

const FAILURES: readonly string[] = [
  "not-allowed",
  "service-not-allowed",
  "no-speech",
  "audio-capture",
  "network",
  "language-not-supported",
] satisfies SpeechFailure[];

interface RecognitionResult {
  readonly isFinal: boolean;
  readonly 0?: { transcript: string };
}

/** What we use of a recognition; TypeScript's library has none of it. */
export interface Recognition {
  lang: string;
  continuous: boolean;
  interimResults: boolean;
  processLocally?: boolean;
  onresult: ((event: { results: ArrayLike<RecognitionResult> }) => void) | null;
  onerror: ((event: { error: string }) => void) | null;
  onend: (() => void) | null;
  start(): void;
  stop(): void;
  abort(): void;
}

interface LocalOptions {
  langs: readonly string[];
  processLocally: true;
}

export interface RecognitionClass {
  new (): Recognition;
  available?: (options: LocalOptions) => Promise<string>;
  install?: (options: LocalOptions) => Promise<boolean>;
}

/** Null where the browser has none. */
export function findRecognition(scope: object = globalThis): RecognitionClass | null {
  const names = scope as Record<string, RecognitionClass | undefined>;
  return names["SpeechRecognition"] ?? names["webkitSpeechRecognition"] ?? null;
}

/** Where speech in this language would be recognised; asks the browser only, and no server. */
export async function placeOfSpeech(
  recognition: RecognitionClass | null,
  language: string,
): Promise<SpeechPlace> {
  if (recognition === null) {
    return "none";
  }
  try {
    const answer = await recognition.available?.({ langs: [language], processLocally: true });
    if (answer === "available") {
      return "device";
    }
    const canInstall = recognition.install !== undefined;
    return (answer === "downloadable" || answer === "downloading") && canInstall
      ? "download"
      : "remote";
  } catch {
    // A language that it does not know, or an older draft of the interface.
    return "remote";
  }
}

/** @returns whether the language pack is here now. */
export async function installSpeech(
  recognition: RecognitionClass,
  language: string,
): Promise<boolean> {
  try {
    return (await recognition.install?.({ langs: [language], processLocally: true })) ?? false;
  } catch {
    return false;
  }
}

export interface ListeningOptions {
  language: string;
  place: "device" | "remote";
  /** All that was said since the beginning; its end may still change. */
  onText: (text: string) => void;
  /** It is over: by `stop`, by silence, or by what went wrong. */
  onEnd: (failure: SpeechFailure | null) => void;
}

export interface Listening {
  /** What was said before still comes. */
  stop: () => void;
  /** Nothing more comes. */
  abort: () => void;
}

/** Opens the microphone; the browser asks for it. */
export function listen(recognition: RecognitionClass, options: ListeningOptions): Listening {
  const session = new recognition();
  session.lang = options.language;
  session.continuous = true;
  session.interimResults = true;
  if (options.place === "device") {
    session.processLocally = true;
  }
  let failure: SpeechFailure | null = null;
  let isOver = false;
  const end = () => {
    if (!isOver) {
      isOver = true;
      options.onEnd(failure);
    }
  };
  session.onresult = ({ results }) => {
    if (!isOver) {
      options.onText(textOf(results));
    }
  };
  session.onerror = ({ error }) => {
    // It was stopped by us.
    failure = error === "aborted" ? null : failureOf(error);
  };
  session.onend = end;
  try {
    session.start();
  } catch {
    failure = "other";
    end();
  }
  return {
    stop: () => {
      session.stop();
    },
    abort: () => {
      isOver = true;
      session.abort();
    },
  };
}

function failureOf(error: string): SpeechFailure {
  return FAILURES.includes(error) ? (error as SpeechFailure) : "other";
}

/** Pieces with single spaces between; some browsers begin them with one, and some do not. */
function textOf(results: ArrayLike<RecognitionResult>): string {
  const pieces = Array.from(results, (result) => (result[0]?.transcript ?? "").trim());
  return pieces.filter((piece) => piece !== "").join(" ");
}

/** What stands in the field already, with what was said behind it. */
export function appended(before: string, spoken: string): string {
  const isApart = before === "" || spoken === "" || /\s$/.test(before);
  return `${before}${isApart ? "" : " "}${spoken}`;
}
