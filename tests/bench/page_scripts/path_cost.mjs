/** How long one answer takes, through the page's API and by the engine itself. Milliseconds. */

/** A streamed answer of /v1/chat/completions: when its first token came and when its last frame. */
export async function askApi(model, content, tokens) {
  const startedAt = performance.now();
  const response = await fetch("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content }],
      max_tokens: tokens,
      temperature: 0,
      stream: true,
    }),
  });
  if (!(response.headers.get("transom-served-by") ?? "").startsWith("browser;")) {
    throw new Error(`HTTP ${response.status}, not of this browser: ${await response.text()}`);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  /** `times`: when each frame with text came. */
  const heard = { first: null, end: 0, chunks: 0, tokens: 0, times: [] };
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    const now = performance.now();
    heard.chunks++;
    text += value;
    const end = text.lastIndexOf("\n\n") + 2;
    // The first frame says who speaks, and nothing.
    for (const frame of text.slice(0, end).split("\n\n")) {
      if (/"content": ?"[^"]/.test(frame)) {
        heard.first ??= now - startedAt;
        heard.times.push(now);
      }
    }
    text = text.slice(end);
  }
  heard.end = performance.now() - startedAt;
  heard.tokens = heard.times.length;
  return heard;
}

/** The engine of tests/web/path-page, on the page itself. */
async function askFake(tokens, batch) {
  const startedAt = performance.now();
  let first = null;
  await window.path.answer(tokens, batch, () => {
    first ??= performance.now() - startedAt;
  });
  return { first, end: performance.now() - startedAt };
}

/**
 * Cost of the path alone, with an engine that takes no time.
 *
 * Answers of one token for the first frame; long ones, less the time to their first token, for the
 * others. The very first request is told apart.
 */
export async function fakeCost(tokens, times, batches, alone) {
  await window.path.house.ready;
  while (window.path.house.apiStartSeconds === null) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  // What is done once after the start is nobody's first request.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const veryFirst = (await askApi("bench/1", "Hi", 1)).first;
  const api = { first: [], toEngine: [], perToken: {}, chunks: {} };
  const engine = { first: [], perToken: {} };
  for (let time = 0; time < times; time++) {
    engine.first.push((await askFake(1, 1)).first);
    const startedAt = performance.now();
    api.first.push((await askApi("bench/1", "Hi", 1)).first);
    api.toEngine.push(window.path.saidAt[0] - startedAt);
  }
  const each = ({ first, end }) => (end - first) / (tokens - 1);
  for (const batch of batches) {
    engine.perToken[batch] = each(await askFake(tokens, batch));
    const heard = await askApi(`bench/${batch}`, "Hi", tokens);
    if (heard.tokens !== tokens) {
      throw new Error(`${heard.tokens} of ${tokens} tokens came`);
    }
    api.perToken[batch] = each(heard);
    api.chunks[batch] = heard.chunks;
  }
  const { times: came } = await askApi("bench/1-alone", "Hi", alone);
  api.late = came.map((time, index) => time - window.path.saidAt[index]);
  return { veryFirst, api, engine };
}

/** The same with the real engine of our page: times of short and long answers, taking turns. */
export async function realCost(model, content, tokens, times) {
  const askEngine = async (maxTokens) => {
    const startedAt = performance.now();
    const { completionTokens } = await window.transom.models.generate({
      messages: [{ role: "user", content }],
      options: { temperature: 0, maxTokens },
    });
    return { end: performance.now() - startedAt, tokens: completionTokens };
  };
  const rows = { api: { first: [], perToken: [] }, engine: { first: [], perToken: [] } };
  // The second time its prompt is in the KV cache, for both alike.
  await askEngine(2);
  await askApi(model, content, 2);
  for (let time = 0; time < times; time++) {
    for (const [name, ask] of [
      ["engine", askEngine],
      ["api", (count) => askApi(model, content, count)],
    ]) {
      const short = await ask(1);
      const long = await ask(1 + tokens);
      rows[name].first.push(short.first ?? short.end);
      rows[name].perToken.push((long.end - short.end) / tokens);
      if (long.tokens < tokens) {
        throw new Error(`the answer ended after ${long.tokens} tokens; ask for fewer`);
      }
    }
  }
  return rows;
}
