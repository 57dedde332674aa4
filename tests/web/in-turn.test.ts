import { expect, it } from "vitest";

import { FunctionHints } from "../../web/src/store/function-hints.ts";
import { inTurn } from "../../web/src/worker/in-turn.ts";
import { FakeDirectory, FakeFile } from "./fake-directory.ts";

const PROGRAM = `sha256:${"0".repeat(64)}` as const;

/** A file whose first writer takes longest to close, as files of a browser may. */
class SlowFile extends FakeFile {
  #writers = 0;

  override async createWritable(): Promise<object> {
    const stream = (await super.createWritable()) as { close: () => Promise<void> };
    const pause = this.#writers++ === 0 ? 20 : 0;
    const close = async () => {
      await new Promise((resolve) => setTimeout(resolve, pause));
      await stream.close();
    };
    return { ...stream, close };
  }
}

class SlowDirectory extends FakeDirectory {
  readonly #file = new SlowFile();

  override getDirectoryHandle(): Promise<FakeDirectory> {
    return Promise.resolve(this);
  }

  override getFileHandle(): Promise<FakeFile> {
    return Promise.resolve(this.#file);
  }
}

it("leaves the last of two lists of functions that are noted at once", async () => {
  const hints = await FunctionHints.open(new SlowDirectory().storage);
  const note = inTurn((names: string[]) => hints?.note(PROGRAM, names) ?? Promise.resolve());
  await Promise.all([note(["batch"]), note(["batch", "draw_all"])]);
  expect(await hints?.of(PROGRAM)).toEqual(["batch", "draw_all"]);
});
