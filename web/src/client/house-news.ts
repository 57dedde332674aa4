/** What pages of one house tell each other: the leader says, all hear, and who comes late asks. */
import type { HouseNews } from "../api-protocol.ts";

/** The part of `BroadcastChannel` that is used. */
export interface NewsChannel {
  postMessage(message: HouseNews): void;
  addEventListener(type: "message", listener: (event: { data: HouseNews }) => void): void;
  close(): void;
}

export class HouseNewsDesk {
  readonly #channel: NewsChannel;
  readonly #listeners = new Set<(news: HouseNews) => void>();
  /** The leader's: what it says to those who come late. */
  #leads: HouseNews | null = null;
  #loading: HouseNews | null = null;
  readonly #loaded = new Map<string, HouseNews>();

  constructor(channel: NewsChannel) {
    this.#channel = channel;
    channel.addEventListener("message", ({ data }) => {
      if (data.kind === "hello") {
        this.#repeat();
      } else {
        this.#hear(data);
      }
    });
    channel.postMessage({ kind: "hello" });
  }

  /** @returns a function that ends it. */
  onNews(listener: (news: HouseNews) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** For the leader: every page hears it, this one too. */
  tell(news: HouseNews): void {
    this.#remember(news);
    this.#channel.postMessage(news);
    this.#hear(news);
  }

  close(): void {
    this.#channel.close();
    this.#listeners.clear();
  }

  #hear(news: HouseNews): void {
    for (const listener of this.#listeners) {
      listener(news);
    }
  }

  #repeat(): void {
    for (const news of [this.#leads, ...this.#loaded.values(), this.#loading]) {
      if (news !== null) {
        this.#channel.postMessage(news);
      }
    }
  }

  #remember(news: HouseNews): void {
    switch (news.kind) {
      case "leads":
        this.#leads = news;
        return;
      case "loading":
        this.#loading = news;
        return;
      case "load-failed":
        this.#loading = null;
        return;
      case "loaded":
        this.#loading = null;
        for (const name of news.report.unloaded) {
          this.#loaded.delete(name);
        }
        this.#loaded.set(news.report.model, news);
        return;
      case "hello":
        return;
    }
  }
}
