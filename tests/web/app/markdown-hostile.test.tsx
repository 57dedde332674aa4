// @vitest-environment jsdom
import { describe, expect, it } from "vitest";

import { en } from "../../../web/src/page/i18n/en/index.ts";
import {
  CHARACTERS_A_PIECE,
  LINES_A_PIECE,
  MOST_BLOCK_CHARACTERS,
  MOST_NESTING,
  MOST_TABLE_ROWS,
} from "../../../web/src/page/markdown/limits.ts";
import { MarkdownView } from "../../../web/src/page/markdown/view.ts";

/** What no answer may bring into the page, whatever is written in it. */
const FORBIDDEN_TAGS =
  "script, style, img, iframe, object, embed, svg:not(.icon), form, input, link, meta, base, video, audio, template, foreignObject, [style], [id], [src], [srcset], [onerror], [onclick], [onload], [formaction], [action]";

function shown(text: string, sources: { name: string; page: number }[] = []): HTMLElement {
  const root = document.createElement("div");
  document.body.append(root);
  const view = new MarkdownView(root, {
    labels: en.markdown,
    sources,
    turnMilliseconds: Number.POSITIVE_INFINITY,
  });
  view.update(text, false);
  root.remove();
  return root;
}

const ATTACKS = [
  "<script>globalThis.pwned = 1</script>",
  "<img src=x onerror=globalThis.pwned=1>",
  "<svg onload=globalThis.pwned=1><animate onbegin=1 /></svg>",
  "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=1&gt;'>",
  "<a href=javascript:alert(1)>x</a>",
  "<form action=https://evil.example><input name=a></form>",
  "<iframe srcdoc='<script>1</script>'></iframe>",
  "<style>*{display:none}</style>",
  "<div id=composer class=send style=position:fixed onclick=1>x</div>",
  '[x](https://a.example "\\" onmouseover=\\"alert(1)")',
  '![x" onerror="alert(1)](https://a.example/x.png)',
  '```"><img src=x onerror=1>\ncode</code></pre><script>1</script>\n```',
  "`</code><script>1</script>`",
  "| <img src=x onerror=1> |\n|---|\n| <script>1</script> |",
  "$$\\href{javascript:alert(1)}{x} \\text{<img src=x onerror=1>}$$",
  "&lt;script&gt;1&lt;/script&gt; &#60;img src=x onerror=1&#62;",
  '<https://a.example/?"onmouseover=1>',
  "- <b\n- onclick=1>",
  "[1]: javascript:alert(1)\n\n[x][1]",
];

describe("hostile output", () => {
  it.each(ATTACKS)("brings nothing into the page but text: %s", (text) => {
    for (const wrapped of [text, `> ${text}`, `- ${text}`, `**${text}**`, `a\n\n${text}\n\nb`]) {
      const root = shown(wrapped);
      expect([...root.querySelectorAll(FORBIDDEN_TAGS)], wrapped).toEqual([]);
      for (const element of root.querySelectorAll("*")) {
        for (const name of element.getAttributeNames()) {
          expect(name).not.toMatch(/^on/);
        }
      }
    }
    expect(globalThis).not.toHaveProperty("pwned");
  });

  it("shows raw HTML as it was written", () => {
    expect(shown("a <b>c</b> <br> &copy;").textContent).toBe("a <b>c</b>  ©");
    expect(shown("<div>\n**x**\n</div>").textContent).toContain("<div>");
    expect(shown("| a<br>b |\n|---|\n| c |").querySelector("th br")).not.toBeNull();
  });

  it.each([
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java&#115;cript:alert(1)",
    "data:text/html,<script>1</script>",
    "vbscript:x",
    "blob:https://a.example/1",
    "file:///etc/passwd",
    "//evil.example/x",
    "/v1/models",
    "#composer",
    "&#x1;javascript:alert(1)",
    "https:evil",
  ])("has no link to %s", (address) => {
    const root = shown(`[words](${address}) ![picture](${address}) <${address}>`);
    expect(root.querySelector("a")).toBeNull();
    expect(root.textContent).toContain("words");
  });

  it("follows links of the web and to people, in a tab that knows nothing of us", () => {
    const [web, mail] = shown(
      "[a](https://example.com/?a=1&b=2 'T') <someone@example.com>",
    ).querySelectorAll("a");
    expect(web?.href).toBe("https://example.com/?a=1&b=2");
    expect(web?.rel).toBe("noopener noreferrer nofollow");
    expect(web?.target).toBe("_blank");
    expect(mail?.href).toBe("mailto:someone@example.com");
  });

  it("makes images links in words, and fetches none", () => {
    const root = shown("![a cat](https://example.com/cat.png) ![](data:image/png;base64,AAAA)");
    expect(root.querySelector("img")).toBeNull();
    expect(root.querySelector("a")?.textContent).toBe("Image: a cat");
    expect(root.textContent).toContain("Image");
  });

  it("shows a line of a million characters in pieces", () => {
    const root = shown(`before\n\n${"x".repeat(1_000_000)}\n\nafter **b**`);
    const pieces = root.querySelectorAll(".md-plain .md-piece");
    expect(pieces).toHaveLength(Math.ceil(1_000_001 / CHARACTERS_A_PIECE));
    expect(root.querySelector("strong")?.textContent).toBe("b");
    expect(
      shown(`**${"x ".repeat(MOST_BLOCK_CHARACTERS / 2 - 10)}x**`).querySelector("strong"),
    ).not.toBeNull();
  });

  it("shows what is nested too deeply as it was written", () => {
    const deep = shown(`${">".repeat(1000)} deep\n\nafter`);
    expect(deep.querySelector("blockquote")).toBeNull();
    expect(deep.textContent).toContain(">>>>");
    expect(deep.textContent).toContain("after");
    const right = shown(`${">".repeat(MOST_NESTING)} right`);
    expect(right.querySelectorAll("blockquote")).toHaveLength(MOST_NESTING);
    const lists = Array.from({ length: 200 }, (_, at) => `${"  ".repeat(at)}- x`).join("\n");
    expect(shown(lists).querySelectorAll("ul").length).toBeLessThanOrEqual(MOST_NESTING + 2);
  });

  it("shows the first rows of a large table, and all when they are asked for", async () => {
    const rows = Array.from({ length: 1000 }, (_, at) => `| ${at} | b |`).join("\n");
    const root = document.createElement("div");
    document.body.append(root);
    const view = new MarkdownView(root, { labels: en.markdown, sources: [] });
    view.update(`| a | b |\n|---|---|\n${rows}\n\nafter`, false);
    expect(root.querySelectorAll("tbody tr")).toHaveLength(MOST_TABLE_ROWS);
    const button = root.querySelector<HTMLButtonElement>(".md-all-rows");
    expect(button?.textContent).toBe("Show all 1,000 rows");
    button?.click();
    await expect
      .poll(() => root.querySelectorAll("tbody tr").length, { timeout: 30_000 })
      .toBe(1000);
    expect(root.querySelector(".md-table-foot")).toBeNull();
    expect(root.querySelector("tbody tr:last-child td")?.textContent).toBe("999");
    root.remove();
  }, 60_000);

  it("lays long code out in pieces", () => {
    const code = Array.from({ length: 5000 }, (_, at) => `line ${at}`).join("\n");
    const root = shown(`\`\`\`\n${code}\n\`\`\``);
    expect(root.querySelectorAll("code .md-piece")).toHaveLength(5000 / LINES_A_PIECE);
    expect(root.querySelector("code")?.textContent).toBe(`${code}\n`);
  });

  it("says where code holds marks that turn text around", () => {
    expect(shown("```\na\u202eb\n```").textContent).toContain(en.markdown.directionMarks);
    expect(shown("```\nab\n```").textContent).not.toContain(en.markdown.directionMarks);
  });

  it("cites what there is, and not in code", () => {
    const sources = [
      { name: "a.pdf", page: 3 },
      { name: "b.txt", page: 0 },
    ];
    const root = shown("So [1], [2], [1, 2], [3] and `[1]` and [1](https://a.example).", sources);
    const cited = [...root.querySelectorAll("button.md-citation")];
    expect(cited.map((each) => each.textContent)).toEqual(["1", "2", "1", "2"]);
    expect(cited[0]?.getAttribute("aria-label")).toBe("Source 1: a.pdf, page 3");
    expect(cited[1]?.getAttribute("aria-label")).toBe("Source 2: b.txt");
    expect(shown("[1]").querySelector("button")).toBeNull();
  });

  it.each([
    ["costs $5 and $6", 0],
    ["$20 (US$) or $5-$6 or 7$", 0],
    ["US$5 and $a$", 1],
    ["$x$ and \\(y\\) and $$z$$ and \\[w\\]", 4],
    ["`$x$` and \\$x\\$ and $ x $", 0],
    [`$${"x".repeat(3000)}$`, 0],
    ["$$\nx\n\ny\n$$", 0],
  ])("knows money from formulas: %s", (text, formulas) => {
    expect(shown(text).querySelectorAll(".md-formula")).toHaveLength(formulas);
  });

  it.each([
    ["brackets", "[".repeat(20_000)],
    ["half links", "[a](b".repeat(5000)],
    ["stars", "*a ".repeat(10_000)],
    ["many stars", "*".repeat(30_000)],
    ["ticks", "`a``b```c".repeat(3000)],
    ["tags", "<a ".repeat(10_000)],
    ["comments", "<!--".repeat(8000)],
    ["dollars", "$a ".repeat(10_000)],
    ["addresses", "www.a.".repeat(5000)],
    ["mail", `${"a.".repeat(10_000)}@`],
    ["pipes", `${"|".repeat(15_000)}\n${"|-".repeat(7000)}`],
    [
      "definitions",
      Array.from({ length: 2000 }, (_, at) => `[${at}]: https://a.example`).join("\n"),
    ],
    ["entities", "&#x".repeat(10_000)],
    ["escapes", "\\".repeat(30_000)],
    ["tildes", "~~a ".repeat(8000)],
    ["lists in lists", "- ".repeat(15_000)],
    ["mixed", "**_[`<$".repeat(4000)],
  ])(
    "is read in time that grows with it: %s",
    (_name, text) => {
      // No clock is right on every machine: eight times as long must not take fifty times as long.
      const time = (part: string) => {
        const before = performance.now();
        shown(part);
        return performance.now() - before;
      };
      time(text.slice(0, text.length / 8));
      const short = Math.max(20, time(text.slice(0, text.length / 8)));
      // A machine stands still now and then, but not every time.
      expect([1, 2, 3].some(() => time(text) < short * 64)).toBe(true);
    },
    120_000,
  );
});
