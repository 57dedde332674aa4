export const sidebar = {
  title: "Conversations",
  newChat: "New chat",
  untitled: "New conversation",
  search: "Search conversations",
  clearSearch: "Clear the search",
  groups: {
    pinned: "Pinned",
    today: "Today",
    yesterday: "Yesterday",
    week: "Last 7 days",
    earlier: "Earlier",
  },
  empty: "What you ask shows up here, and is kept in this browser.",
  found: (count: number) =>
    count === 0 ? "Nothing found." : count === 1 ? "1 conversation" : `${count} conversations`,
  answering: "An answer is being written",
  pinned: "Pinned",
  keys: "Arrow keys move, Enter opens, F2 renames, Delete deletes.",
  more: (title: string) => `More about “${title}”`,
  rename: "Rename",
  titleField: "Title of the conversation",
  pin: "Pin",
  unpin: "Unpin",
  exportMarkdown: "Save as Markdown",
  exportJson: "Save as JSON",
  delete: "Delete",
  deleted: (count: number, title: string) =>
    count === 1 ? `Deleted “${title}”.` : `Deleted ${count} conversations.`,
  undo: "Undo",
  library: "Save or load conversations",
  exportAll: "Save all as JSON",
  importFile: "Load from a file",
  imported: (added: number, known: number) =>
    added === 0
      ? known === 0
        ? "There is no conversation in that file."
        : "All conversations of that file are here already."
      : `Loaded ${added === 1 ? "1 conversation" : `${added} conversations`}.`,
  failed: "That did not work:",
  notKept: {
    refused:
      "This browser keeps nothing for this page. Conversations are gone when you close it; save what you need.",
    full: "There is no room left on this device. What is said from now on is gone when you close this page: delete something, or save what you need.",
    blocked:
      "Another tab runs an older version of this app. Close it, and your conversations appear here.",
    outdated:
      "Another tab runs a newer version of this app. Reload this page; what is said until then is not kept.",
  },
  /** In a conversation that is saved as Markdown. */
  markdown: {
    untitled: "Conversation",
    you: "You",
    model: "Model",
    system: "System prompt",
    reasoning: "Thinking",
    attachments: "Attached",
    sources: "Sources",
    page: (number: number) => `page ${number}`,
    calls: (tool: string) => `Uses ${tool}`,
    returned: (tool: string) => `Result of ${tool}`,
    unfinished: "This answer was not finished.",
  },
};
