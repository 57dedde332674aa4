import { describe, expect, it, vi } from "vitest";

import { watchUpdates } from "../../web/src/client/update.ts";

const SCRIPT = "http://host/chat/assets/index-a1.js";

/** A browser's side of service workers, as far as updates ask for it. */
class FakeServiceWorkers extends EventTarget {
  readonly sent: [to: "active" | "waiting", message: unknown][] = [];
  controller: unknown;
  readonly registration = {
    active: this.#worker("active"),
    waiting: null as { postMessage: (message: unknown) => void } | null,
    update: () => Promise.resolve(),
  };

  constructor(isControlled: boolean) {
    super();
    this.controller = isControlled ? this.registration.active : null;
  }

  get ready() {
    return Promise.resolve(this.registration);
  }

  wait(): void {
    this.registration.waiting = this.#worker("waiting");
  }

  say(kind: string): void {
    this.dispatchEvent(new MessageEvent("message", { data: { kind } }));
  }

  change(): void {
    this.dispatchEvent(new Event("controllerchange"));
  }

  #worker(name: "active" | "waiting") {
    return {
      postMessage: (message: unknown) => {
        this.sent.push([name, message]);
      },
    };
  }
}

function watch(
  isControlled: boolean,
  prepare: (fake: FakeServiceWorkers) => void = () => undefined,
) {
  const fake = new FakeServiceWorkers(isControlled);
  prepare(fake);
  const [onReady, reload, request] = [vi.fn(), vi.fn(), vi.fn(() => new Promise(() => undefined))];
  const updates = watchUpdates({
    serviceWorkers: fake as unknown as ServiceWorkerContainer,
    locks: { request } as unknown as LockManager,
    script: SCRIPT,
    onReady,
    reload,
  });
  return { fake, onReady, reload, request, updates };
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

describe("a newer build", () => {
  it("is told of once, however often it says so", async () => {
    const { fake, onReady } = watch(true);
    fake.say("who-leads");
    await fake.ready;
    expect(onReady).not.toHaveBeenCalled();
    fake.say("update-ready");
    fake.say("update-ready");
    expect(onReady).toHaveBeenCalledOnce();
  });

  it("that waits since an earlier visit is told of as well", async () => {
    const { fake, onReady } = watch(true, (each) => {
      each.wait();
    });
    await fake.ready;
    expect(onReady).toHaveBeenCalledOnce();
  });

  it("is called when the one before it has ended what it did, and not before", async () => {
    const { fake, updates } = watch(true);
    await updates.apply();
    expect(fake.sent).toEqual([]);
    fake.wait();
    const applied = updates.apply();
    await settle();
    expect(fake.sent).toEqual([["active", { kind: "leave" }]]);
    fake.say("left");
    await applied;
    expect(fake.sent.slice(1)).toEqual([["waiting", { kind: "update" }]]);
  });

  it("is called after a while where the one before it says nothing", async () => {
    vi.useFakeTimers();
    const { fake, updates } = watch(true, (each) => {
      each.wait();
    });
    const applied = updates.apply();
    await vi.advanceTimersByTimeAsync(4000);
    expect(fake.sent).toEqual([["active", { kind: "leave" }]]);
    await vi.advanceTimersByTimeAsync(2000);
    await applied;
    expect(fake.sent.slice(1)).toEqual([["waiting", { kind: "update" }]]);
    vi.useRealTimers();
  });

  it("reloads pages of the build before, and none that had no build", () => {
    const older = watch(true);
    older.fake.change();
    expect(older.reload).toHaveBeenCalledOnce();

    const first = watch(false);
    first.fake.change();
    expect(first.reload).not.toHaveBeenCalled();
    first.fake.change();
    expect(first.reload).toHaveBeenCalledOnce();
  });

  it("leaves files of this build alone while this page is open", () => {
    const { request } = watch(true);
    expect(request).toHaveBeenCalledWith(
      `transom-page ${SCRIPT}`,
      { mode: "shared" },
      expect.any(Function),
    );
  });
});
