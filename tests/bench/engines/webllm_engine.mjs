/** WebLLM as measure.ts wants an engine; the caller brings WebLLM's own code. Node and page. */

/**
 * @param CreateMLCEngine WebLLM's.
 * @param record where its model and library are.
 */
export async function openWebLlm(CreateMLCEngine, { model, modelLib, contextWindowSize }) {
  const startedAt = performance.now();
  const engine = await CreateMLCEngine(
    "bench",
    {
      appConfig: { model_list: [{ model, model_id: "bench", model_lib: modelLib }] },
      logLevel: "WARN",
    },
    contextWindowSize === undefined ? {} : { context_window_size: contextWindowSize },
  );
  const loadSeconds = (performance.now() - startedAt) / 1000;
  const complete = async (messages, maxTokens) => {
    // Nothing is left of the answer before, as with any new conversation.
    await engine.resetChat();
    const chunks = await engine.chat.completions.create({
      messages,
      temperature: 0,
      max_tokens: maxTokens,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
    });
    const tokenTimes = [];
    let usage;
    for await (const chunk of chunks) {
      if (chunk.choices.length > 0 && chunk.choices[0].finish_reason === null) {
        tokenTimes.push(performance.now());
      }
      usage = chunk.usage ?? usage;
    }
    if (usage.completion_tokens !== maxTokens) {
      throw new Error(`WebLLM wrote ${usage.completion_tokens} tokens instead of ${maxTokens}.`);
    }
    return { promptTokens: usage.prompt_tokens, cachedTokens: 0, tokenTimes };
  };
  return { loadSeconds, engine: { complete } };
}
