/** What goes on: downloads in their order, and what the server or this device is at. */
import type { Download } from "../../client/downloads.ts";
import { titleOf } from "../../client/model-cards.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import type { ModelsActions, ModelsState, Task } from "./models-types.ts";
import { progressText, taskText, taskTitle } from "./models-words.ts";

export interface WorkViewProps {
  state: Pick<ModelsState, "downloads" | "tasks">;
  actions: Pick<ModelsActions, "pause" | "resume" | "cancel" | "clearDone" | "stop" | "dismiss">;
}

export function WorkView({ state, actions }: WorkViewProps) {
  const said = words.value.models;
  const downloads = state.downloads.value;
  const tasks = state.tasks.value;
  if (downloads.length === 0 && tasks.length === 0) {
    return null;
  }
  const hasDone = [...downloads, ...tasks].some((each) => each.state === "done");
  return (
    <section class="work" aria-labelledby="models-work">
      <div class="work-head">
        <h2 class="models-heading" id="models-work">
          {said.downloads}
        </h2>
        {hasDone && (
          <button class="quiet" type="button" onClick={actions.clearDone}>
            {said.clear}
          </button>
        )}
      </div>
      <ul class="models-list" aria-label={said.working}>
        {tasks.map((task) => (
          <TaskRow key={task.id} task={task} actions={actions} />
        ))}
        {downloads.map((download) => (
          <DownloadRow key={download.name} download={download} actions={actions} />
        ))}
      </ul>
    </section>
  );
}

interface DownloadRowProps {
  download: Download;
  actions: WorkViewProps["actions"];
}

function DownloadRow({ download, actions }: DownloadRowProps) {
  const said = words.value.models;
  const { name, state, progress, error } = download;
  const title = titleOf(name);
  const goOn = state === "paused" || state === "failed";
  return (
    <li class={`work-row is-${state}`}>
      <div class="work-text">
        <span class="work-title">{title}</span>
        <span class="models-aside">{downloadText(download)}</span>
        {error !== null && <span class="work-error">{error}</span>}
      </div>
      <div class="work-buttons">
        {(state === "running" || state === "waiting") && (
          <button
            class="icon-button"
            type="button"
            aria-label={said.pauseOf(title)}
            onClick={() => {
              actions.pause(name);
            }}
          >
            <Icon name="pause" />
          </button>
        )}
        {goOn && (
          <button
            class="icon-button"
            type="button"
            aria-label={state === "failed" ? said.againOf(title) : said.resumeOf(title)}
            onClick={() => {
              actions.resume(name);
            }}
          >
            <Icon name={state === "failed" ? "retry" : "play"} />
          </button>
        )}
        {state !== "done" && (
          <button
            class="icon-button"
            type="button"
            aria-label={said.cancelOf(title)}
            onClick={() => {
              void actions.cancel(name);
            }}
          >
            <Icon name="close" />
          </button>
        )}
      </div>
      {(state === "running" || state === "paused") && (
        <Bar
          title={title}
          doneBytes={progress?.doneBytes ?? null}
          totalBytes={progress?.totalBytes ?? null}
          isStill={state === "paused"}
        />
      )}
    </li>
  );
}

function TaskRow({ task, actions }: { task: Task; actions: WorkViewProps["actions"] }) {
  const said = words.value.models;
  const { id, title, state, error, isRefused } = task;
  return (
    <li class={`work-row is-${state}`}>
      <div class="work-text">
        <span class="work-title">{taskTitle(task)}</span>
        <span class="models-aside">{state === "done" ? said.done : taskText(task)}</span>
        {task.notes.map((note) => (
          <span class="models-aside" key={note}>
            {note}
          </span>
        ))}
        {error !== null && <span class="work-error">{isRefused ? said.refused : error}</span>}
      </div>
      <div class="work-buttons">
        <button
          class="icon-button"
          type="button"
          aria-label={state === "running" ? said.stopOf(title) : said.dismissOf(title)}
          // A load has no way back.
          disabled={task.kind === "load" && state === "running"}
          onClick={() => {
            (state === "running" ? actions.stop : actions.dismiss)(id);
          }}
        >
          <Icon name="close" />
        </button>
      </div>
      {state === "running" && (
        <Bar title={title} doneBytes={task.doneBytes} totalBytes={task.totalBytes} />
      )}
    </li>
  );
}

interface BarProps {
  title: string;
  /** Null: nobody knows how far it is. */
  doneBytes: number | null;
  totalBytes: number | null;
  isStill?: boolean;
}

function Bar({ title, doneBytes, totalBytes, isStill = false }: BarProps) {
  const label = words.value.models.progressOf(title);
  return doneBytes === null || totalBytes === null || totalBytes === 0 ? (
    isStill ? null : (
      <progress class="work-bar" aria-label={label} />
    )
  ) : (
    <progress class="work-bar" max={1} value={doneBytes / totalBytes} aria-label={label} />
  );
}

function downloadText({ state, progress }: Download): string {
  const said = words.value.models;
  switch (state) {
    case "waiting":
      return said.waiting;
    case "running":
      return progressText(progress);
    case "paused":
      return progress === null || progress.totalBytes === 0
        ? said.paused
        : `${said.paused} · ${progressText({ ...progress, bytesPerSecond: 0 })}`;
    case "done":
      return said.done;
    case "failed":
      return "";
  }
}
