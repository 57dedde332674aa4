/**
 * Runs in our page before its own scripts: `window.moments` says when what was there, in milliseconds
 * since the navigation; `window.visit` asks for one token.
 */
const moments = {};
const mark = (name) => {
  moments[name] ??= performance.now();
};

const looking = setInterval(() => {
  const house = window.transom?.house;
  if (house === undefined || house === null) {
    return;
  }
  if (moments.script === undefined) {
    mark("script");
    house.ready.then(() => house.hasServiceWorker && mark("serviceWorker"));
    house.onNews(({ kind }) => kind === "loaded" && mark("model"));
  }
  if (house.apiStartSeconds !== null) {
    mark("python");
    clearInterval(looking);
  }
}, 5);

const until = async (name) => {
  while (moments[name] === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

const ways = {
  /** As the page does: when it says that it is ready. */
  api: async (content) => {
    await window.transom.ready;
    const askedAt = performance.now();
    const { timeToFirstTokenSeconds } = await window.transom.ask(content, {
      temperature: 0,
      maxTokens: 1,
    });
    moments.asked = askedAt;
    moments.firstToken = askedAt + timeToFirstTokenSeconds * 1000;
  },
  /** As soon as the engine has the model, while Python may be starting beside it. */
  engine: async (content) => {
    await until("model");
    await generateOne(content);
  },
  /** In a browser that lets the page have no service worker: no Python starts. */
  alone: async (content) => {
    // The page says that nobody answers; the model is there by then.
    await window.transom.ready.catch(() => undefined);
    mark("model");
    await generateOne(content);
  },
};

async function generateOne(content) {
  mark("asked");
  const messages = [{ role: "user", content }];
  await window.transom.models.generate({ messages, options: { temperature: 0, maxTokens: 1 } });
  mark("firstToken");
}

window.visit = async (way, content) => {
  await until("script");
  await ways[way](content);
  return moments;
};

/** What the service worker keeps: path and bytes, once the page is answered by it and Python is there. */
window.kept = async () => {
  await window.transom.house.ready;
  await until("python");
  const rows = [];
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      const { size } = await (await cache.match(request, { ignoreVary: true })).blob();
      rows.push([new URL(request.url).pathname, size]);
    }
  }
  return { rows, moments };
};
