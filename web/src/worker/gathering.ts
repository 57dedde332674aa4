/** Puts what comes at once into one message: a message costs more than what is in it. */

export interface Gathering<T> {
  push: (item: T) => void;
  /** Send what is left, now. */
  flush: () => void;
}

/**
 * @param send gets all that was pushed within one turn of the event loop, in order; never nothing.
 */
export function gather<T>(send: (items: readonly T[]) => void): Gathering<T> {
  let items: T[] = [];
  const flush = () => {
    if (items.length > 0) {
      const together = items;
      items = [];
      send(together);
    }
  };
  return {
    push: (item) => {
      items.push(item);
      if (items.length === 1) {
        soon(flush);
      }
    },
    flush,
  };
}

const { port1, port2 } = new MessageChannel();
let waiting: (() => void)[] = [];
port1.onmessage = () => {
  const all = waiting;
  waiting = [];
  for (const work of all) {
    work();
  }
};

/** Behind everything that is ready; timers would wait for milliseconds. */
function soon(work: () => void): void {
  waiting.push(work);
  if (waiting.length === 1) {
    port2.postMessage(null);
  }
}
