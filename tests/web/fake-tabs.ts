/** The tabs of an origin: one alone, or several that see what the others use. */
import type { Tabs } from "../../web/src/store/shelf.ts";

/** @param others ids that other tabs use. */
export function tabs(others: Iterable<string> = []): Tabs {
  const using = [...others];
  return {
    alone: (work) => work(),
    using: async (id, work) => {
      using.push(id);
      try {
        return await work();
      } finally {
        using.splice(using.indexOf(id), 1);
      }
    },
    inUse: () =>
      Promise.resolve(new Map(using.map((id) => [id, using.filter((each) => each === id).length]))),
  };
}

export const ONE_TAB: Tabs = tabs();
