/** How much room there is, as components ask: the same widths as in shell.css. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

/** For the conversations beside the chat. */
export const WIDE = "(min-width: 60rem)";
/** For each of the bar's buttons; else they are one menu. */
export const ROOMY = "(min-width: 40rem)";

export function useMedia(media: string): boolean {
  const isSo = useSignal(matchMedia(media).matches);
  useEffect(() => {
    const query = matchMedia(media);
    const listen = () => {
      isSo.value = query.matches;
    };
    listen();
    query.addEventListener("change", listen);
    return () => {
      query.removeEventListener("change", listen);
    };
  }, [media]);
  return isSo.value;
}
