/** The models' room: all there are, ways to more of them, and what this browser keeps. */
import { useEffect, useState } from "preact/hooks";

import type { ModelCard } from "../../client/model-cards.ts";
import { words } from "../i18n/words.ts";
import { Tabs } from "../ui/tabs.tsx";
import { AddView } from "./add-view.tsx";
import { CatalogueView } from "./catalogue-view.tsx";
import "./models.css";
import type { ModelsActions, ModelsState } from "./models-types.ts";
import { StoredModels } from "./stored-models.tsx";
import { WorkView } from "./work-view.tsx";

export type ModelsPart = "all" | "add" | "storage";

export interface ModelsRoomProps {
  state: ModelsState;
  actions: ModelsActions;
  /** Somebody wants to talk with this one, which this address opens ("?model=smollm2"). */
  onChat: (card: ModelCard, address: string) => void;
  /** What shows first; "all" if left out. */
  part?: ModelsPart;
}

export function ModelsRoom({ state, actions, onChat, part: first = "all" }: ModelsRoomProps) {
  const said = words.value.models;
  const [part, setPart] = useState<ModelsPart>(first);
  useEffect(() => {
    void actions.refresh();
  }, [actions]);
  const chat = (card: ModelCard) => {
    const { stored, title } = card;
    const known = stored === null ? null : actions.addressOf(stored.id);
    onChat(card, known ?? `?model=${encodeURIComponent(title)}`);
  };
  return (
    <div class="models-room">
      <WorkView state={state} actions={actions} />
      <Tabs<ModelsPart>
        label={said.tabs}
        view={part}
        views={[
          ["all", said.all],
          ["add", said.add],
          ["storage", said.storage],
        ]}
        onView={setPart}
      >
        {part === "all" && <CatalogueView state={state} actions={actions} onChat={chat} />}
        {part === "add" && <AddView state={state} actions={actions} />}
        {part === "storage" && <StoredModels state={state} actions={actions} />}
      </Tabs>
    </div>
  );
}
