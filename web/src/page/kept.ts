/**
 * What this browser keeps of conversations, presets and choices, as signals that follow what is
 * stored, whichever tab changes it.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import type { ChatStore } from "../chat/chat-options.ts";
import { type Database, type Keeping, openDatabase } from "../chat/database.ts";
import { Keeper, whenHiding } from "../chat/keeper.ts";
import type { AnswerFigures, Conversation, Id, Preset } from "../chat/types.ts";
import { type Speeds, readSpeeds, withSpeed } from "../client/model-cards.ts";

const SPEEDS_SETTING = "models.speeds";

export class Kept {
  readonly #conversations = signal<readonly Conversation[]>([]);
  readonly #presets = signal<readonly Preset[]>([]);
  readonly #speeds = signal<Speeds>({});
  readonly #keeping = signal<Keeping>("kept");
  readonly #written = signal<{ conversation: Id } | null>(null);
  #keeper: Keeper | null = null;

  /** The one changed last first. */
  readonly conversations: ReadonlySignal<readonly Conversation[]> = this.#conversations;
  readonly presets: ReadonlySignal<readonly Preset[]> = this.#presets;
  /** Of answers before, by model. */
  readonly speeds: ReadonlySignal<Speeds> = this.#speeds;
  /** Whether what is said now will be there on the next visit. */
  readonly keeping: ReadonlySignal<Keeping> = this.#keeping;
  /** The last that another tab wrote to when it was read here, and does not any more. */
  readonly written: ReadonlySignal<{ conversation: Id } | null> = this.#written;
  /** Never rejects. */
  readonly database: Promise<Database> = openDatabase();
  readonly #ready = this.database.then((database) => {
    this.#keeper = new Keeper({
      database,
      // Not there on plain http.
      locks: "locks" in navigator ? navigator.locks : null,
      onHiding: whenHiding,
      onWritten: (conversation) => {
        this.#written.value = { conversation };
      },
    });
    this.#follow(database);
    return this.#keeper;
  });

  /** For `Chat`: writes at once when the database is open, else in the same order when it is. */
  readonly store: ChatStore = {
    read: async (id) => (await this.#ready).read(id),
    keepConversation: (conversation) => {
      this.#with((keeper) => {
        keeper.keepConversation(conversation);
      });
    },
    changeConversation: (id, about) => {
      this.#with((keeper) => {
        keeper.changeConversation(id, about);
      });
    },
    keepTurn: (turn) => {
      this.#with((keeper) => {
        keeper.keepTurn(turn);
      });
    },
    begin: (id) => {
      this.#with((keeper) => {
        keeper.begin(id);
      });
    },
    end: (id) => {
      this.#with((keeper) => {
        keeper.end(id);
      });
    },
  };

  /** Small choices that outlive the page. */
  readonly settings = {
    get: async (key: string): Promise<unknown> => (await this.database).setting(key),
    set: async (key: string, value: unknown): Promise<void> => {
      await (await this.database).putSetting(key, value);
    },
  };

  /** How fast an answer came, for the cards of models. */
  noteSpeed(figures: AnswerFigures): void {
    const speeds = withSpeed(this.#speeds.value, figures.model, figures);
    if (speeds !== this.#speeds.value) {
      void this.settings.set(SPEEDS_SETTING, speeds);
    }
  }

  #with(work: (keeper: Keeper) => void): void {
    if (this.#keeper !== null) {
      work(this.#keeper);
    } else {
      void this.#ready.then(work);
    }
  }

  #follow(database: Database): void {
    const readers = {
      conversation: async () => {
        this.#conversations.value = await database.conversations();
      },
      presets: async () => {
        this.#presets.value = await database.presets();
      },
      speeds: async () => {
        this.#speeds.value = readSpeeds(await database.setting(SPEEDS_SETTING));
      },
    };
    const all = () => Promise.all(Object.values(readers).map((read) => read()));
    database.keeping.subscribe((keeping) => {
      this.#keeping.value = keeping;
    });
    database.listen((change) => {
      switch (change.kind) {
        case "conversation":
        case "deleted":
        case "restored":
          void readers.conversation();
          break;
        case "presets":
          void readers.presets();
          break;
        case "everything":
          void all();
          break;
        case "setting":
          if (change.key === SPEEDS_SETTING) {
            void readers.speeds();
          }
          break;
        case "turns":
        case "mcpServers":
          break;
      }
    });
    void all();
  }
}
