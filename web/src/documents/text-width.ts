/**
 * How much text is, in something that is nearer to tokens than characters are. Pure.
 *
 * Four letters of an alphabet are about a token; an ideograph, kana or syllable of hangul is one by
 * itself; of other scripts than Latin two letters are, roughly. So those count as four and two, and
 * limits in this width hold for a document in Chinese or Arabic as they do for one in English.
 */

const IDEOGRAPH_WIDTH = 4;
const OTHER_SCRIPT_WIDTH = 2;

export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    width += widthOfPoint(character.codePointAt(0) ?? 0);
  }
  return width;
}

/** The index at most `width` behind `start`, never in the middle of a character. */
export function walk(text: string, start: number, width: number): number {
  let at = start;
  let left = width;
  while (at < text.length) {
    const point = text.codePointAt(at) ?? 0;
    left -= widthOfPoint(point);
    if (left < 0) {
      break;
    }
    at += point > 0xffff ? 2 : 1;
  }
  return at;
}

/** The same the other way. */
export function walkBack(text: string, end: number, width: number): number {
  let at = end;
  let left = width;
  while (at > 0) {
    const isPair = at > 1 && /[\udc00-\udfff]/.test(text.charAt(at - 1));
    const before = at - (isPair ? 2 : 1);
    left -= widthOfPoint(text.codePointAt(before) ?? 0);
    if (left < 0) {
      break;
    }
    at = before;
  }
  return at;
}

function widthOfPoint(point: number): number {
  const isIdeographic =
    (point >= 0x2e80 && point <= 0xa4cf) ||
    (point >= 0xac00 && point <= 0xd7af) ||
    (point >= 0xf900 && point <= 0xfaff) ||
    (point >= 0x20000 && point <= 0x3ffff);
  if (isIdeographic) {
    return IDEOGRAPH_WIDTH;
  }
  // From Greek on, but for general punctuation: dashes and quotation marks are of every script.
  const isOther = point >= 0x370 && !(point >= 0x2000 && point <= 0x206f);
  return isOther ? OTHER_SCRIPT_WIDTH : 1;
}
