const plural = new Intl.PluralRules("en");

function counted(count: number, one: string, other: string): string {
  return `${count} ${plural.select(count) === "one" ? one : other}`;
}

export const tools = {
  title: "Tools",
  names: {
    calculator: "Calculator",
    clock: "Clock",
    fetch: "Read a web page",
    python: "Python",
  } as Readonly<Record<string, string>>,
  explained: {
    calculator: "Works out arithmetic, exactly. Runs here.",
    clock: "Tells the date and time, here and elsewhere. Runs here.",
    fetch: "Reads an address of the web, after you have seen it and agreed.",
    python: "Runs small programs in a sealed sandbox of this browser.",
  } as Readonly<Record<string, string>>,
  from: (server: string) => `from ${server}`,
  state: {
    waiting: "waits for you",
    running: "running",
    done: "done",
    failed: "failed",
    refused: "not allowed",
  },
  input: "Asked with",
  nothingAsked: "Asked with nothing.",
  result: "Result",
  error: "What went wrong",
  inputOf: (tool: string) => `What ${tool} was asked with`,
  resultOf: (tool: string) => `What ${tool} answered`,
  picture: (tool: string) => `A picture from ${tool}`,

  approval: {
    question: (tool: string) => `Allow “${tool}”?`,
    fetch: "The model wants to read this address:",
    server: (server: string) => `The model wants to call a tool of “${server}”, which is at:`,
    tool: "The model wants to call this tool.",
    sends: "This is sent there:",
    leaves:
      "It leaves this device: whoever runs that host sees the request, and your network address.",
    warnings: {
      "private-address":
        "This address is on your own machine or in your own network. Allow it only if you know what is there.",
      "carries-text":
        "The address carries text after its question mark, which may tell of this conversation.",
    },
    once: "Allow once",
    always: "Always in this conversation",
    alwaysFor: (site: string) => `Always for ${site} in this conversation`,
    no: "Do not allow",
  },

  reasoning: {
    thinking: "Thinking…",
    thought: "Thought",
    thoughtBriefly: "Thought for a moment",
    thoughtFor: (time: string) => `Thought for ${time}`,
  },

  panel: {
    intro:
      "What the model may use in this conversation. Tools that reach other hosts ask you each time before they do.",
    builtins: "Of this page",
    asksFirst: "asks first",
    noTools: "This model was not taught to use tools: it may ignore them.",
    on: (count: number) => `${counted(count, "tool", "tools")} on`,
    servers: "MCP servers",
    serversExplained:
      "Servers with tools of their own, which speak the Model Context Protocol over HTTP. This browser asks them itself, only when you connect or allow a call.",
    noServers: "There is none yet.",
    addServer: "Add a server",
    serverTools: (count: number) => counted(count, "tool", "tools"),
    noServerTools: "It offers no tools.",
    notListed: "Connect, to see what it offers.",
    allOf: (server: string) => `All tools of ${server}`,
    connect: "Connect",
    refresh: "Ask again",
    edit: "Edit",
    remove: "Remove",
    removeQuestion: (server: string) => `Remove “${server}” and its token from this browser?`,
    keep: "Keep it",
    link: {
      idle: "not connected",
      connecting: "connecting…",
      connected: "connected",
      failed: "not reached",
    },
    name: "Name",
    nameHint: "As you call it. Left out: its host.",
    url: "Address",
    urlHint:
      "For example https://mcp.example.org/mcp, or http://localhost:8000/mcp on this machine.",
    token: "Token",
    tokenHint:
      "Sent as “Authorization: Bearer …”. It is kept in this browser, unencrypted, and goes to that server only.",
    headers: "More headers",
    headersHint: "One a line, such as X-Key: value. Kept as the token is.",
    save: "Save and connect",
    cancel: "Cancel",
    faults: {
      none: "That is no address. Write it in full, with https:// in front.",
      unencrypted:
        "Only https: addresses can be asked, and http: ones of this machine (localhost).",
      scheme: "Only https: addresses can be asked, and http: ones of this machine (localhost).",
      credentials:
        "The address holds a name or password. Leave them out; there is a field for a token.",
      token: "A token has no spaces, and only plain letters, digits and signs.",
      header: "Write each header as a line, such as X-Key: value.",
      "too-many-headers": "Those are more headers than servers take.",
      "too-many-servers": "There are as many servers as this page keeps. Remove one first.",
    },
    problems: {
      unreachable:
        "No answer. Either nothing runs there, or it does not let web pages ask it: the server has to allow this page's origin (CORS).",
      unauthorized:
        "The server wants a token, or another one. Signing in on a page of its own (OAuth) is not possible here: make a token there, and enter it.",
      forbidden: "The server does not allow this with the token that it was given.",
      redirected:
        "The server sends to another address, where a token is not carried. Enter that address; often only a slash at its end differs.",
      "not-mcp":
        "Something answers there, but it does not speak MCP. Look at the end of the address: often it is /mcp.",
      "hidden-session":
        "The server hides its session from web pages. It has to send “Access-Control-Expose-Headers: Mcp-Session-Id”.",
      timeout: "The server took too long.",
      refused: "The server refused.",
      failed: "That did not work.",
    },
    said: (text: string) => `The server says: ${text}`,
  },
};
