export const shell = {
  close: "Close",
  newChat: "New chat",
  menu: "Conversations",
  settings: "Settings",
  models: "Models",
  chooseModel: "Choose a model",
  modelNow: (name: string) => `Model: ${name}. Choose another one`,
  noModel: "No model",
  skip: "Skip to the conversation",
  updateReady: "A new version is here.",
  updateNow: "Use it in all tabs",
  importedModel: "imported model",
};
