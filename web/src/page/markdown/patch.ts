/**
 * Makes what is shown equal to what was just made, and keeps each node that is the same already: a
 * selection, a focus and a scrolled table stay while an answer grows beside them.
 */

/** `shown`'s children, or those behind `after`, become equal to `wanted`'s, which is used up. */
export function patchChildren(shown: Node, wanted: Node, after: Node | null = null): void {
  let here = after === null ? shown.firstChild : after.nextSibling;
  let next = wanted.firstChild;
  while (next !== null) {
    const following = next.nextSibling;
    if (here === null) {
      shown.appendChild(next);
    } else {
      const beside = here.nextSibling;
      if (!patchNode(here, next)) {
        shown.replaceChild(next, here);
      }
      here = beside;
    }
    next = following;
  }
  while (here !== null) {
    const beside = here.nextSibling;
    here.remove();
    here = beside;
  }
}

/** False: they differ in more than what is in them. */
function patchNode(shown: Node, wanted: Node): boolean {
  if (shown.nodeType !== wanted.nodeType || shown.nodeName !== wanted.nodeName) {
    return false;
  }
  if (shown instanceof Text && wanted instanceof Text) {
    patchText(shown, wanted.data);
    return true;
  }
  if (
    !(shown instanceof Element && wanted instanceof Element) ||
    !areAttributesEqual(shown, wanted)
  ) {
    return false;
  }
  // Code that has its colours, and a formula that is drawn, are equal by their text.
  if (shown.nodeName === "CODE" && shown.textContent === wanted.textContent) {
    return true;
  }
  if (shown.nodeName === "math" && !shown.isEqualNode(wanted)) {
    return false;
  }
  patchChildren(shown, wanted);
  return true;
}

function patchText(shown: Text, data: string): void {
  if (data === shown.data) {
    return;
  }
  if (data.startsWith(shown.data)) {
    shown.appendData(data.slice(shown.data.length));
  } else {
    shown.data = data;
  }
}

function areAttributesEqual(shown: Element, wanted: Element): boolean {
  const names = wanted.getAttributeNames();
  return (
    names.length === shown.getAttributeNames().length &&
    names.every((name) => shown.getAttribute(name) === wanted.getAttribute(name))
  );
}
