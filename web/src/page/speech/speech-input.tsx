/** The microphone beside the question. Not there where the browser cannot hear. */
import { useEffect, useRef, useState } from "preact/hooks";

import { language, words } from "../i18n/words.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import {
  type Listening,
  type SpeechFailure,
  type SpeechPlace,
  appended,
  findRecognition,
  installSpeech,
  listen,
  placeOfSpeech,
} from "./recognition.ts";
import "./speech.css";

export interface SpeechInputProps {
  /** What stands in the field; speech is put behind it. */
  text: string;
  onText: (text: string) => void;
  /** The person agreed, on this visit or an earlier one, that sound goes to the browser's maker. */
  mayLeave: boolean;
  /** They agree now: to be remembered. */
  onAgree: () => void;
}

type State = "quiet" | "asking" | "offering" | "downloading" | "listening";

export function SpeechInput(props: SpeechInputProps) {
  const { speech } = words.value;
  const spoken = speechLanguage(language.value);
  const [place, setPlace] = useState<SpeechPlace>("none");
  const [state, setState] = useState<State>("quiet");
  const [failure, setFailure] = useState<SpeechFailure | null>(null);
  const session = useRef<Listening | null>(null);
  const onText = useRef(props.onText);
  onText.current = props.onText;
  useEffect(() => {
    let isCurrent = true;
    void placeOfSpeech(findRecognition(), spoken).then((found) => {
      if (isCurrent) {
        setPlace(found);
      }
    });
    return () => {
      isCurrent = false;
      session.current?.abort();
      session.current = null;
      setState("quiet");
    };
  }, [spoken]);
  const recognition = findRecognition();
  if (place === "none" || recognition === null) {
    return null;
  }
  const begin = (where: "device" | "remote") => {
    const before = props.text;
    setFailure(null);
    setState("listening");
    session.current = listen(recognition, {
      language: spoken,
      place: where,
      onText: (text) => {
        onText.current(appended(before, text));
      },
      onEnd: (why) => {
        session.current = null;
        setState("quiet");
        setFailure(why);
      },
    });
  };
  const press = () => {
    if (state === "listening") {
      session.current?.stop();
    } else if (place === "device") {
      begin("device");
    } else if (place === "download") {
      setState("offering");
    } else if (props.mayLeave) {
      begin("remote");
    } else {
      setState("asking");
    }
  };
  const download = async () => {
    setState("downloading");
    const isHere = await installSpeech(recognition, spoken);
    setPlace(isHere ? "device" : "remote");
    setState("quiet");
    setFailure(isHere ? null : "network");
  };
  const close = () => {
    setState("quiet");
  };
  const isListening = state === "listening";
  return (
    <>
      <button
        class={isListening ? "icon-button speech is-listening" : "icon-button speech"}
        type="button"
        aria-label={isListening ? speech.stopDictating : speech.dictate}
        aria-pressed={isListening}
        disabled={state === "downloading"}
        onClick={press}
      >
        <Icon name={isListening ? "stop" : "microphone"} />
      </button>
      <span class="speech-status" role="status">
        {isListening && <span class="hidden">{speech.listening}</span>}
        {state === "downloading" && <span class="speech-words">{speech.downloading}</span>}
        {failure !== null && (
          <span class="speech-words is-warning">{speech.failures[failure]}</span>
        )}
      </span>
      {(state === "asking" || state === "offering") && (
        <Dialog title={state === "asking" ? speech.askTitle : speech.downloadTitle} onClose={close}>
          <p class="speech-ask">{state === "asking" ? speech.ask : speech.download}</p>
          <div class="buttons is-end">
            <button class="quiet" type="button" onClick={close}>
              {speech.refuse}
            </button>
            <button
              class="primary"
              type="button"
              onClick={() => {
                if (state === "asking") {
                  props.onAgree();
                  begin("remote");
                } else {
                  void download();
                }
              }}
            >
              {state === "asking" ? speech.agree : speech.downloadAgree}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

/** The browser's own form of the page's language: "de-AT" for a German page in Austria. */
function speechLanguage(page: string): string {
  return navigator.languages.find((tag) => tag.toLowerCase().split("-")[0] === page) ?? page;
}
