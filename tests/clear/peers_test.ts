/**
 * Processes that clear one cache at the same time, that make it again meanwhile,
 * and that are killed in the midst of it. `REBUILD_CACHE_STRESS=1` runs them at
 * full size: 30,000 files, 20 rounds, 50 kills.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { parseSiblingName } from "../../lib/fs/names.ts";
import { cliCommand, denoRun, run, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { makeManyFiles, namesIn, TempDir } from "../support/temp_dir.ts";

const FULL = Deno.env.get("REBUILD_CACHE_STRESS") === "1";
const DIRECTORIES = FULL ? 1000 : 100;
const FILES = 30;
const ROUNDS = FULL ? 20 : 2;
const KILLS = FULL ? 50 : 8;

for (const count of [2, 8]) {
  test(
    `clearCache() shows readers no half tree when ${count} processes clear one cache and another makes it again`,
    [
      "posix",
    ],
    async () => {
      await using dir = TempDir.make();
      const cache = dir.at("cache");
      const maker = new Deno.Command(Deno.execPath(), {
        args: [
          ...denoRun("tests/support/recreate.ts"),
          cache,
          String(DIRECTORIES),
          String(FILES),
        ],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      await using _stop = {
        async [Symbol.asyncDispose]() {
          await maker.stdin.close().catch(() => {});
          await maker.status;
        },
      };
      const reader = new Reader(cache);
      for (let round = 0; round < ROUNDS; round++) {
        await reader.untilThere();
        await reader.read();
        const clears = Promise.all(
          Array.from(
            { length: count },
            () => run(cliCommand(["-q", "--dir", cache])),
          ),
        );
        let done = false;
        clears.finally(() => done = true);
        while (!done) await reader.read();
        for (const { code, stderr } of await clears) {
          assertEquals([code, stderr], [0, ""]);
        }
        const asides = namesIn(dir.path).filter((it) => parseSiblingName(it));
        assertEquals(asides, []);
      }
      await maker.stdin.close();
      const { stdout } = await maker.output();
      assert(Number(new TextDecoder().decode(stdout)) > ROUNDS / 2);
      assert(reader.checked > 50 * ROUNDS, `only ${reader.checked} reads`);
    },
  );
}

/** Reads random files, and sees whether a tree that is there is there wholly. */
class Reader {
  checked = 0;
  readonly #cache: string;

  constructor(cache: string) {
    this.#cache = cache;
  }

  async untilThere(): Promise<void> {
    while (this.#file("version") === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async read(): Promise<void> {
    for (let i = 0; i < 100; i++) {
      const directory = Math.floor(Math.random() * DIRECTORIES);
      const file = Math.floor(Math.random() * FILES);
      const before = this.#file("version");
      const content = this.#file(`${directory}/${file}`);
      const after = this.#file("version");
      // The same tree stood there all the while, so all of it must have.
      if (before === undefined || before !== after) continue;
      assertEquals(content, before);
      this.checked++;
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }

  #file(name: string): string | undefined {
    try {
      return Deno.readTextFileSync(`${this.#cache}/${name}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }
}

test(
  "clearCache() leaves the cache whole or gone when it is killed at any moment",
  [],
  async () => {
    await using dir = TempDir.make();
    const cache = dir.at("cache");
    const files = DIRECTORIES * FILES;
    makeManyFiles(cache, DIRECTORIES, FILES);
    const started = performance.now();
    assertEquals((await runCli(["--dir", cache])).code, 0);
    const duration = performance.now() - started;

    const seen = { whole: 0, gone: 0 };
    const isSeen = () => seen.whole > 0 && seen.gone > 0;
    for (let kill = 0; kill < KILLS || (!isSeen() && kill < 99); kill++) {
      makeManyFiles(cache, DIRECTORIES, FILES);
      const [program, ...args] = cliCommand(["--dir", cache]);
      const clear = new Deno.Command(program!, {
        args,
        stdout: "null",
        stderr: "null",
      }).spawn();
      // Evenly over its whole life, so that no part of it goes untried.
      // On a machine that has become busier, its life is longer, too.
      const moment = duration * (kill + Math.random()) / KILLS;
      await new Promise((resolve) => setTimeout(resolve, moment));
      try {
        clear.kill("SIGKILL");
      } catch { /* it was faster */ }
      await clear.status;
      if (namesIn(dir.path).includes("cache")) {
        seen.whole++;
        assertEquals(countFiles(cache), files);
      } else {
        seen.gone++;
      }
      assertEquals((await runCli(["--dir", cache])).code, 0);
      assertEquals(namesIn(dir.path), []);
    }
    assert(isSeen(), JSON.stringify(seen));
  },
);

function countFiles(directory: string): number {
  let count = 0;
  for (const { name, isDirectory } of Deno.readDirSync(directory)) {
    count += isDirectory ? countFiles(`${directory}/${name}`) : 1;
  }
  return count;
}
