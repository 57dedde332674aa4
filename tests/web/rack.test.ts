import { describe, expect, it } from "vitest";

import { Rack } from "../../web/src/worker/rack.ts";

const BUDGET = 100;

function rack(...names: string[]) {
  const gone: string[] = [];
  const made = new Rack<{ name: string; dispose(): void }>();
  const model = (name: string) => ({ name, dispose: () => gone.push(name) });
  const put = (name: string, bytes = 40) => {
    const left = made.reserve(name, bytes, BUDGET);
    made.fill(name, model(name));
    return left;
  };
  names.forEach((name) => put(name));
  const touch = (name: string) => made.use(name, (used) => Promise.resolve(used.name));
  return { made, gone, put, touch, model };
}

describe("Rack", () => {
  it("keeps models side by side while they fit", () => {
    const { gone, put } = rack("a");
    expect(put("b")).toEqual([]);
    expect(put("c", 20)).toEqual([]);
    expect(gone).toEqual([]);
  });

  it("lets the one go that was used least recently, and no more than it must", async () => {
    const { gone, put, touch } = rack("a", "b");
    await touch("a");
    expect(put("c")).toEqual(["b"]);
    expect(gone).toEqual(["b"]);
    expect(put("d", 100)).toEqual(["a", "c"]);
  });

  it("lets none go that answers", async () => {
    const { made, gone, put } = rack("a", "b");
    let end: () => void = () => undefined;
    const answering = made.use("a", () => new Promise<void>((resolve) => (end = resolve)));
    expect(put("c")).toEqual(["b"]);
    expect(() => put("d", 80)).toThrow(/a would have to leave, but is busy/);
    expect(() => {
      made.unload("a");
    }).toThrow(/busy/);
    // What is refused leaves all as it was.
    expect(gone).toEqual(["b"]);
    end();
    await answering;
    // Its answer ended after the other came.
    expect(put("d", 80)).toEqual(["c", "a"]);
  });

  it("counts a model on its way, and gives its place back when it does not come", () => {
    const { made, put } = rack("a");
    expect(made.reserve("b", 60, BUDGET)).toEqual([]);
    expect(() => made.reserve("c", 60, BUDGET)).toThrow(/b would have to leave/);
    expect(() => made.reserve("b", 10, BUDGET)).toThrow(/b is busy/);
    made.release("b");
    expect(put("c", 60)).toEqual([]);
  });

  it("takes what is larger than all memory only when it is forced to", () => {
    const { made, gone } = rack("a");
    expect(() => made.reserve("b", 101, BUDGET)).toThrow(/more than the 1 MB/);
    expect(made.reserve("b", 101, BUDGET, true)).toEqual(["a"]);
    expect(gone).toEqual(["a"]);
  });

  it("replaces a model of the same name, and says nothing of it", () => {
    const { gone, put } = rack("a", "b");
    expect(put("a", 60)).toEqual([]);
    expect(gone).toEqual(["a"]);
  });

  it("answers for the one loaded last, whoever was used since", async () => {
    const { made, touch } = rack("a", "b");
    await touch("a");
    const last = () => made.use(undefined, ({ name }) => Promise.resolve(name));
    expect(await last()).toBe("b");
    expect(made.again("a")?.name).toBe("a");
    expect(await last()).toBe("a");
    expect(made.again("nobody")).toBeNull();
  });

  it("says who is there when somebody else is asked for", async () => {
    const { made, touch } = rack("a", "b");
    await expect(touch("c")).rejects.toThrow("c is not loaded (loaded: a, b).");
    made.unload("a");
    made.unload("b");
    made.unload("b");
    await expect(made.use(undefined, () => Promise.resolve())).rejects.toMatchObject({
      code: "not-loaded",
    });
  });
});
