/** The passages that a model was given, as it cites them: [1] is the first. */
import { useEffect, useRef } from "preact/hooks";

import type { Source } from "../../chat/types.ts";
import { language, words } from "../i18n/words.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import "./documents.css";

export interface SourceListProps {
  sources: readonly Source[];
  /** The number of the source to show, from 1; 0: all, none of them marked; null: closed. */
  open: number | null;
  onClose: () => void;
}

/** A panel with all of them; the one that was asked for is in view. */
export function SourceList({ sources, open, onClose }: SourceListProps) {
  const { documents } = words.value;
  if (open === null) {
    return null;
  }
  return (
    <Dialog title={documents.sources} form="side" onClose={onClose}>
      <p class="source-note">{documents.sourceNote}</p>
      <ol class="sources">
        {sources.map((source, index) => (
          <Passage key={index} source={source} number={index + 1} isMarked={index + 1 === open} />
        ))}
      </ol>
    </Dialog>
  );
}

function Passage(props: { source: Source; number: number; isMarked: boolean }) {
  const { source, number, isMarked } = props;
  const { documents } = words.value;
  const element = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isMarked) {
      element.current?.scrollIntoView({ block: "start" });
      element.current?.focus({ preventScroll: true });
    }
  }, [isMarked]);
  return (
    <li
      ref={element}
      class={isMarked ? "source is-marked" : "source"}
      tabIndex={-1}
      {...(isMarked && { "aria-current": "true" as const })}
    >
      <p class="source-head">
        <span class="source-number">{number}</span>
        <bdi class="source-name">{source.name}</bdi>
        <span class="source-where">{whereOf(source)}</span>
      </p>
      <p class="source-text" dir="auto">
        {source.text}
      </p>
      {/* Whole documents were not compared with anything. */}
      {source.score < 1 && (
        <p class="source-facts">{documents.similarity(Math.round(100 * source.score))}</p>
      )}
    </li>
  );
}

export interface SourceChipsProps {
  sources: readonly Source[];
  /** Their numbers, in this order; all where nothing was cited. */
  cited: readonly number[];
  onOpen: (number: number) => void;
}

/** At most this many stand below an answer; the panel has all. */
const MOST_CHIPS = 6;

/** Below an answer: what it cites, each a way into the panel. */
export function SourceChips({ sources, cited, onOpen }: SourceChipsProps) {
  const { documents } = words.value;
  if (sources.length === 0) {
    return null;
  }
  const shown = cited
    .flatMap((number) => {
      const source = sources[number - 1];
      return source === undefined ? [] : [{ number, source }];
    })
    .slice(0, MOST_CHIPS);
  return (
    <ul class="source-chips" aria-label={documents.sources}>
      {shown.map(({ number, source }) => (
        <li key={number}>
          <button
            class="source-chip"
            type="button"
            aria-label={documents.openSource(number, nameOf(source))}
            onClick={() => {
              onOpen(number);
            }}
          >
            <span class="source-number">{number}</span>
            <bdi class="source-name">{source.name}</bdi>
            {source.page > 0 && <span class="source-where">{documents.page(source.page)}</span>}
          </button>
        </li>
      ))}
      <li>
        <button
          class="source-chip"
          type="button"
          onClick={() => {
            onOpen(0);
          }}
        >
          <Icon name="book" />
          {documents.sourcesOf(sources.length)}
        </button>
      </li>
    </ul>
  );
}

function whereOf({ page }: Source): string {
  return page > 0 ? words.value.documents.page(page) : "";
}

function nameOf(source: Source): string {
  const where = whereOf(source);
  const comma = language.value === "ar" ? "، " : ", ";
  return where === "" ? source.name : `${source.name}${comma}${where}`;
}
