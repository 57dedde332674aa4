/**
 * Which pages hold which beginnings of texts: a tree whose every node is one full page of tokens,
 * behind those of the nodes above it. Conversations that begin alike share pages. Pure.
 *
 * The tree holds its pages. When pages are wanted, the leaf that was used longest ago goes first;
 * one that a sequence holds too stays, and so does all above it.
 */
import type { PagePool } from "./page-pool.ts";

export interface PrefixNode {
  readonly page: number;
  /** Null for what was let go: nothing may be put behind it. */
  parent: PrefixNode | null;
  readonly key: string;
  readonly children: Map<string, PrefixNode>;
  usedAt: number;
}

export class PrefixTree {
  readonly #pool: PagePool;
  readonly #pageSize: number;
  /** Stands before all texts and has no page. */
  readonly #root: PrefixNode = newNode(-1, null, "");
  readonly #nodes = new Set<PrefixNode>();
  #uses = 0;

  constructor(pool: PagePool, pageSize: number) {
    this.#pool = pool;
    this.#pageSize = pageSize;
  }

  get pageCount(): number {
    return this.#nodes.size;
  }

  /** Pages that `evict` could free, one after another. */
  get evictableCount(): number {
    let count = 0;
    for (const { page } of this.#nodes) {
      // Who holds a page of the tree holds all before it, so nothing below stands in the way.
      count += this.#pool.holders(page) === 1 ? 1 : 0;
    }
    return count;
  }

  /** The nodes whose pages hold the beginning of a text, at most `maxPages`. */
  match(tokenIds: readonly number[], maxPages: number): PrefixNode[] {
    const nodes: PrefixNode[] = [];
    let node = this.#root;
    while (nodes.length < maxPages) {
      const next = node.children.get(this.#key(tokenIds, nodes.length));
      if (next === undefined) {
        break;
      }
      this.#touch(next);
      nodes.push(next);
      node = next;
    }
    return nodes;
  }

  /**
   * Put a text's page `index` behind the node of the page before it (null: it is the first).
   *
   * @returns the node that holds these tokens now; its page is another one where the tree had the
   *   same tokens already.
   */
  enter(
    parent: PrefixNode | null,
    tokenIds: readonly number[],
    index: number,
    page: number,
  ): PrefixNode {
    const above = parent ?? this.#root;
    const key = this.#key(tokenIds, index);
    const known = above.children.get(key);
    if (known !== undefined) {
      this.#touch(known);
      return known;
    }
    const node = newNode(page, above, key);
    this.#pool.hold(page);
    above.children.set(key, node);
    this.#nodes.add(node);
    this.#touch(node);
    return node;
  }

  /** Free the page that was used longest ago and that nobody else needs. @returns whether one was. */
  evict(): boolean {
    let oldest: PrefixNode | null = null;
    for (const node of this.#nodes) {
      const isFree = node.children.size === 0 && this.#pool.holders(node.page) === 1;
      if (isFree && (oldest === null || node.usedAt < oldest.usedAt)) {
        oldest = node;
      }
    }
    if (oldest === null) {
      return false;
    }
    this.#nodes.delete(oldest);
    oldest.parent?.children.delete(oldest.key);
    oldest.parent = null;
    this.#pool.release(oldest.page);
    return true;
  }

  #touch(node: PrefixNode): void {
    node.usedAt = ++this.#uses;
  }

  #key(tokenIds: readonly number[], index: number): string {
    const start = index * this.#pageSize;
    return tokenIds.slice(start, start + this.#pageSize).join(" ");
  }
}

function newNode(page: number, parent: PrefixNode | null, key: string): PrefixNode {
  return { page, parent, key, children: new Map(), usedAt: 0 };
}
