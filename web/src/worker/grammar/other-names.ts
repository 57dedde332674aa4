/** Names of properties that are not among some known ones. Pure. */
import { type JsonRules, PLAIN, quotedString } from "./json-rules.ts";
import {
  NOTHING,
  type Node,
  type Range,
  choice,
  complement,
  intersection,
  repeat,
  sequence,
  text,
} from "./node.ts";

/** Known names by their characters. */
interface Branch {
  isName: boolean;
  readonly next: Map<string, Branch>;
}

/** A string in its quotes that is none of the names, spelled with a backslash or not. */
export function otherNames(json: JsonRules, names: readonly string[]): Node {
  if (names.length === 0) {
    return json.string;
  }
  const root: Branch = { isName: false, next: new Map() };
  for (const name of names) {
    let branch = root;
    for (const character of name) {
      const next = branch.next.get(character) ?? { isName: false, next: new Map() };
      branch.next.set(character, next);
      branch = next;
    }
    branch.isName = true;
  }
  const rest = json.grammar.rule(repeat({ kind: "set", ranges: PLAIN }, 0, Infinity));
  return quotedString(away(json, root, rest));
}

/** What goes on from a branch without ending in a name. */
function away(json: JsonRules, branch: Branch, rest: Node): Node {
  const taken = [...branch.next.keys()].map((character): Range => {
    const codePoint = character.codePointAt(0) ?? 0;
    return [codePoint, codePoint];
  });
  const free = intersection(PLAIN, complement(taken));
  const options = [...branch.next]
    // Written with a backslash; such names are not begun at all.
    .filter(([character]) => JSON.stringify(character).length === character.length + 2)
    .map(([character, next]) => sequence(text(character), away(json, next, rest)));
  const end = branch.isName ? [] : [NOTHING];
  return json.grammar.rule(
    choice(sequence({ kind: "set", ranges: free }, rest), ...options, ...end),
  );
}
