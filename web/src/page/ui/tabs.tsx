/** Views of which one shows: a row of tabs, by arrow keys as well. */
import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";

export interface TabsProps<View extends string> {
  label: string;
  view: View;
  views: readonly (readonly [view: View, label: string])[];
  onView: (view: View) => void;
  /** What the view shows. */
  children: ComponentChildren;
}

export function Tabs<View extends string>(props: TabsProps<View>) {
  const { label, view, views, onView, children } = props;
  const id = useId();
  const row = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const step = stepOf(event.key, getComputedStyle(event.currentTarget as Element).direction);
    if (step === null) {
      return;
    }
    event.preventDefault();
    const at = views.findIndex(([each]) => each === view);
    const to = (at + step + views.length) % views.length;
    const next = views[to];
    if (next !== undefined) {
      onView(next[0]);
      row.current?.querySelectorAll("button").item(to).focus();
    }
  };
  return (
    <div class="tabs">
      <div ref={row} class="tab-row" role="tablist" aria-label={label} onKeyDown={move}>
        {views.map(([each, said]) => (
          <button
            key={each}
            id={`${id}-${each}`}
            class="tab"
            type="button"
            role="tab"
            aria-selected={each === view}
            aria-controls={`${id}-panel`}
            tabIndex={each === view ? 0 : -1}
            onClick={() => {
              onView(each);
            }}
          >
            {said}
          </button>
        ))}
      </div>
      <div id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-${view}`}>
        {children}
      </div>
    </div>
  );
}

/** +1 is the next in reading order. */
function stepOf(key: string, direction: string): 1 | -1 | null {
  const forwards = direction === "rtl" ? "ArrowLeft" : "ArrowRight";
  const backwards = direction === "rtl" ? "ArrowRight" : "ArrowLeft";
  return key === forwards ? 1 : key === backwards ? -1 : null;
}
