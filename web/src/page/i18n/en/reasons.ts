/**
 * Reasons and errors by their codes. They are said in English where they arise, and stand as they are
 * said: these dictionaries are for other languages.
 */
/** Of `TransomError.facts`, as people read them: an error has those of its code. */
export type Facts = Readonly<
  Record<
    | "limitBytes"
    | "tensor"
    | "neededBytes"
    | "budgetBytes"
    | "missingBytes"
    | "roomBytes"
    | "fileBytes"
    | "mostBytes",
    string
  >
>;

type Dictionary<T> = Readonly<Record<string, T>>;

export const reasons = {
  /** Why they answer (`PlaceReason`), as the rest of a sentence. */
  place: {} as Dictionary<string>,
  /** What was in the way (`ErrorCode`), in a few words, as the rest of a sentence. */
  briefly: {} as Dictionary<string>,
  /** A sentence for each code; the English one stands behind it. */
  errors: {} as Dictionary<string>,
  /** Where the facts of an error are known: all that the English sentence says. */
  detailed: {} as Dictionary<(facts: Facts) => string>,
};
