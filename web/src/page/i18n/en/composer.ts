export const composer = {
  message: "Message",
  placeholder: "Ask something…",
  send: "Send",
  stop: "Stop",
  keys: "Enter sends, Shift and Enter starts a new line, Escape stops.",
  keysWithCtrl: "Ctrl and Enter sends, Enter starts a new line, Escape stops.",
  tools: "Tools",
  toolsOn: (count: number) => `Tools, ${count} on`,
  options: "Prompt and parameters",
  presets: "Presets",
};
