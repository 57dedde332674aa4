/**
 * Whether whoever asks is still there. Chromium aborts no request of a closed tab until somebody writes
 * to it, and a model may think for minutes before.
 */

const LOOK_MILLISECONDS = 1000;

export interface ClientWatch {
  /** Aborted when the client has gone. */
  left: AbortSignal;
  stop: () => void;
}

/** @param id of the client; "" where there is none yet, as for a page that is being opened. */
export function watchClient(
  id: string,
  clients: { get(id: string): Promise<unknown> },
): ClientWatch {
  const left = new AbortController();
  const timer = setInterval(() => {
    if (id !== "") {
      void clients.get(id).then((client) => {
        if (client === undefined) {
          left.abort(new DOMException("The page that asked has been closed.", "AbortError"));
          clearInterval(timer);
        }
      });
    }
  }, LOOK_MILLISECONDS);
  return {
    left: left.signal,
    stop: () => {
      clearInterval(timer);
    },
  };
}
