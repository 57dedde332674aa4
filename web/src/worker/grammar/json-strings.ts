/** Strings of a JSON schema: lengths, patterns, and the formats that a grammar can say. Pure. */
import { PLAIN, asString, quotedString } from "./json-rules.ts";
import { type Node, repeat } from "./node.ts";
import { patternNode, regexNode } from "./regex.ts";

const DATE =
  "(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)" +
  "|02-(0[1-9]|1\\d|2[0-8]))|\\d\\d(0[48]|[2468][048]|[13579][26])-02-29)";
const TIME = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
const LABEL = "[a-z0-9]{1,20}(-[a-z0-9]{1,20}){0,2}";
const HOST = `${LABEL}(\\.${LABEL}){0,4}`;
const BYTE = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const HEXTET = "[0-9a-f]{1,4}";
const PATH = "[A-Za-z0-9._~!$&'()*+,;=:@-]*";

/** What each format may be; some of it, where all of it would be much more. */
const FORMATS: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME,
  "date-time": `${DATE}T${TIME}`,
  duration:
    "P((\\d{1,9}D|\\d{1,9}M(\\d{1,9}D)?|\\d{1,9}Y(\\d{1,9}M(\\d{1,9}D)?)?)" +
    "(T(\\d{1,9}S|\\d{1,9}M(\\d{1,9}S)?|\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?))?" +
    "|T(\\d{1,9}S|\\d{1,9}M(\\d{1,9}S)?|\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?)|\\d{1,9}W)",
  email: `[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@${LABEL}(\\.${LABEL}){1,4}`,
  hostname: HOST,
  ipv4: `${BYTE}(\\.${BYTE}){3}`,
  ipv6: `(${HEXTET}(:${HEXTET}){7}|${HEXTET}(:${HEXTET}){0,2}::${HEXTET}(:${HEXTET}){0,2}|::1|::)`,
  uuid: "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
  uri: `[a-z][a-z0-9+.-]*://${HOST}(:\\d{1,4})?(/${PATH})*(\\?[A-Za-z0-9._~&=+-]*)?(#${PATH})?`,
};

export interface StringBounds {
  minLength: number;
  maxLength: number;
  pattern: string | null;
  format: string | null;
}

/**
 * @param mostCounted how far characters may be counted: each place costs time to prepare.
 * @param unheld is told what the answer may break.
 * @returns null for just any string.
 */
export function stringNode(
  { minLength, maxLength, pattern, format }: StringBounds,
  mostCounted: number,
  unheld: (keyword: string) => void,
): Node | null {
  const isCounted = minLength > 0 || maxLength < Infinity;
  const known = format === null ? undefined : FORMATS[format];
  if (pattern !== null || known !== undefined) {
    if (isCounted) {
      unheld("minLength and maxLength beside pattern or format");
    }
    if (pattern !== null && known !== undefined) {
      unheld("format beside pattern");
    }
    const node = pattern === null ? regexNode(known ?? "") : patternNode(pattern);
    return quotedString(asString(node));
  }
  if (format !== null) {
    unheld(`format ${format}`);
  }
  if (!isCounted) {
    return null;
  }
  const isCut = minLength > mostCounted || (maxLength > mostCounted && maxLength < Infinity);
  if (isCut) {
    unheld(`minLength and maxLength past ${mostCounted} characters`);
  }
  const most = maxLength > mostCounted ? Infinity : maxLength;
  const least = Math.min(minLength, mostCounted);
  return quotedString(repeat({ kind: "set", ranges: PLAIN }, least, most));
}
