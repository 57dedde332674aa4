/** Answers as models write them, and as no model should. */

export const EVERYTHING = `# Title

## Part

Some **bold**, *slanted*, ~~wrong~~ and \`inline\` words, a [link](https://example.com/a?b=1&c=2),
and https://example.org/auto too.

- one
- two
  - nested
- [x] done
- [ ] not done

1. first
2. second

> Quoted
> twice

---

| a | b |
|:--|--:|
| 1 | 2 |

\`\`\`python title="x.py"
print("hello")
\`\`\`
`;

export const ANSWERS: Readonly<Record<string, string>> = {
  everything: EVERYTHING,
  "a list that interrupts":
    "Here:\n- a\n- b **c**\n  more\n\n  a second paragraph\n- d\nlazy\n\nEnd",
  "lists of three kinds":
    "1. a\n2. b\n   - c\n   - d\n\n3. e\n\n\n* f\n* g\n- h\n+ i\n1) j\n2) k\n",
  "code in a list":
    "1. Do:\n\n   ```sh\n   ls -l\n\n   # no heading\n   - no item\n   ```\n\n2. Then",
  "an unclosed fence": "Text\n```js\nlet a = 1;\n\n# x\n| a | b |",
  "fences in fences": "````md\n```js\nx\n```\n````\nafter\n~~~\n```\n~~~\n",
  "a table that interrupts":
    "Before\n| a | b |\n|---|:-:|\n| `x|y` | **c** |\n| 1 |\nno pipes\n\nAfter\n",
  "no table": "| a | b |\n|---|\n\n| c\n--\n\nd | e\n-|-\nf | g\n# h",
  headings: "# a\nb\n## c ##\nd\n---\ne\n===\n#not\n####### not\n#",
  formulas:
    "Inline $a_1 * b_2 * c$ and \\(x_1\\).\n\n$$\na\n- b\n= c\n$$\n\n\\[\n\\frac{1}{2}\n\\]\ntext $$x$$ and $5 or $6.\n\n$$open\n\nend",
  definitions:
    "See [one][1], [two] and [none].\n\n- [two]\n\n[1]: https://example.com/1\n[two]: https://example.com/2 'T'\n",
  citations: "So [1] and [2], [1, 2], but not [3] or `[1]`.\n",
  quotes: "> a\nlazy\n> - b\n> - c\n>\n> ```\n> code\n> ```\n\n> next\n- list\n> quote",
  indented: "    code\n\n    more\n\ntext\n\n- a\n\n      code in item\n",
  html: "<div>\n**bold**\n</div>\n\na<br>b <b>c</b> <!-- d -->\n\n<script>alert(1)</script>\n",
  windows: "# a\r\n\r\n- b\r\n- c\r\n\r\n```js\r\nd\r\n```\r\n",
  emphasis: "***a*** **b *c* d** _e_f_ g__h__ **i\n\n* *\n** **\n*a **b* c**\n",
  rules: "a\n\n***\n\n- - -\n___\n- x\n---\ny",
  blank: "\n\n\n  \n\t\n\nx\n\n\n\n",
  nothing: "",
  "only marks": "**",
  nested: `${">".repeat(40)} deep\n\n${Array.from({ length: 40 }, (_, at) => `${"  ".repeat(at)}- x`).join("\n")}\n`,
  "a long line": `a\n${"word ".repeat(8000)}\n\nb\n`,
  "a long paragraph": `${"some words *in* a line\n".repeat(2000)}\nb\n`,
  arabic: "مرحبا **عالم** hello\n\n- واحد\n- two\n",
};
