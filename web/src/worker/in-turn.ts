/** The same work, one after the other in the order of the calls. It must not fail. */
export function inTurn<T>(work: (value: T) => Promise<void>): (value: T) => Promise<void> {
  let last = Promise.resolve();
  return (value) => (last = last.then(() => work(value)));
}
