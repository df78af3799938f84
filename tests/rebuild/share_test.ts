/** Who shares the result of a rebuild, and who builds. */

import { assertEquals, assertRejects } from "@std/assert";
import { setLogSink } from "../../lib/log.ts";
import type {
  RebuildOptions,
  RebuildReport,
} from "../../lib/rebuild/options.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const SHARE = { share: "one" };

/** Rebuilds of one directory, each of which waits in its build until it may go on. */
class Rebuilds {
  /** The builds that have begun. */
  readonly begun: string[] = [];
  readonly #gates = new Map<string, PromiseWithResolvers<void>>();

  constructor(
    readonly path: string,
    readonly build: (at: string, name: string) => void = (at, name) =>
      Deno.writeTextFileSync(`${at}/${name}`, name),
  ) {}

  ask(name: string, options: RebuildOptions = {}): Promise<RebuildReport> {
    const gate = Promise.withResolvers<void>();
    this.#gates.set(name, gate);
    return rebuildCache(this.path, async (at) => {
      this.begun.push(name);
      await gate.promise;
      this.build(at, name);
    }, options);
  }

  async untilBegun(count: number): Promise<void> {
    await until(`build ${count}`, () => this.begun.length === count);
  }

  go(...names: string[]): void {
    for (const name of names) this.#gates.get(name)!.resolve();
  }
}

/** Does it, and waits until so many more have said that they wait. */
async function untilWaiting<T>(count: number, ask: () => T): Promise<T> {
  let waiting = 0;
  const before = setLogSink({
    debug: (text) => void (text.startsWith("Waiting: ") && waiting++),
    warn() {},
  });
  try {
    const asked = ask();
    await until(`${count} who wait`, () => waiting === count);
    return asked;
  } finally {
    setLogSink(before);
  }
}

async function outcomes(asked: Promise<RebuildReport>[]): Promise<string[]> {
  return (await Promise.all(asked)).map(({ outcome }) => outcome).sort();
}

Deno.test("rebuildCache() runs every build when nobody shares", async () => {
  await using dir = TempDir.make();
  const rebuilds = new Rebuilds(dir.at("cache"));
  const first = rebuilds.ask("first");
  await rebuilds.untilBegun(1);
  const others = await untilWaiting(
    3,
    () => [
      rebuilds.ask("a"),
      rebuilds.ask("b"),
      rebuilds.ask("c", SHARE),
    ],
  );
  rebuilds.go("first", "a", "b", "c");
  assertEquals((await first).outcome, "rebuilt");
  assertEquals(await outcomes(others), ["rebuilt", "rebuilt", "rebuilt"]);
  assertEquals(rebuilds.begun.toSorted(), ["a", "b", "c", "first"]);
});

Deno.test("rebuildCache() shares with those who asked before the build began, and with nobody else", async () => {
  await using dir = TempDir.make();
  const rebuilds = new Rebuilds(dir.at("cache"));
  const first = rebuilds.ask("first", SHARE);
  await rebuilds.untilBegun(1);
  const two = await untilWaiting(
    2,
    () => [rebuilds.ask("a", SHARE), rebuilds.ask("b", SHARE)],
  );
  rebuilds.go("first");
  assertEquals((await first).outcome, "rebuilt");
  await rebuilds.untilBegun(2);
  const late = await untilWaiting(1, () => [rebuilds.ask("late", SHARE)]);
  rebuilds.go("a", "b", "late");
  assertEquals(await outcomes(two), ["rebuilt", "shared"]);
  assertEquals(await outcomes(late), ["rebuilt"]);
  assertEquals(rebuilds.begun.length, 3);
  // Nobody had to wait, so nobody can have built it meanwhile.
  const again = rebuilds.ask("again", SHARE);
  rebuilds.go("again");
  assertEquals((await again).outcome, "rebuilt");
});

Deno.test("rebuildCache() does not share what another text, or nobody, shares", async () => {
  await using dir = TempDir.make();
  const rebuilds = new Rebuilds(dir.at("cache"));
  const first = rebuilds.ask("first");
  await rebuilds.untilBegun(1);
  const others = await untilWaiting(
    3,
    () => [
      rebuilds.ask("a", SHARE),
      rebuilds.ask("b", { share: "two" }),
      rebuilds.ask("c"),
    ],
  );
  rebuilds.go("first", "a", "b", "c");
  await first;
  assertEquals(await outcomes(others), ["rebuilt", "rebuilt", "rebuilt"]);
});

Deno.test("rebuildCache() does not share what failed to be built", async () => {
  await using dir = TempDir.make();
  let broken = true;
  const rebuilds = new Rebuilds(dir.at("cache"), (at) => {
    if (broken) {
      broken = false;
      throw new Error("broken");
    }
    Deno.writeTextFileSync(`${at}/new`, "new");
  });
  const first = rebuilds.ask("first", SHARE);
  await rebuilds.untilBegun(1);
  const others = await untilWaiting(
    2,
    () => [rebuilds.ask("a", SHARE), rebuilds.ask("b", SHARE)],
  );
  rebuilds.go("first", "a", "b");
  await assertRejects(() => first, Error, "broken");
  assertEquals(await outcomes(others), ["rebuilt", "shared"]);
  assertEquals(namesIn(dir.at("cache")), ["new"]);
});

/** What happens after a shared build was noted, and before its turn is over. */
const MEANWHILE: Record<string, (dir: TempDir) => void> = {
  "was cleared in place": (dir) => Deno.removeSync(dir.at("cache", "new")),
  "was cleared": (dir) => Deno.removeSync(dir.at("cache"), { recursive: true }),
  "was cleared and made again"(dir) {
    Deno.removeSync(dir.at("cache"), { recursive: true });
    Deno.mkdirSync(dir.at("cache"));
  },
  // What is believed of a lock file is what those say who can change the cache.
  "was noted in somebody else's file": (dir) =>
    Deno.chownSync(dir.at("cache.rebuild.lock"), 65534, 65534),
  "others could have noted in a sticky directory"(dir) {
    Deno.chmodSync(dir.path, 0o1777);
    Deno.chmodSync(dir.at("cache.rebuild.lock"), 0o666);
  },
};

for (const [what, happen] of Object.entries(MEANWHILE)) {
  const needs = what.includes("note") ? ["linux", "root"] as const : [];
  test(`rebuildCache() does not share what ${what}`, needs, async () => {
    await using dir = TempDir.make();
    const rebuilds = new Rebuilds(
      dir.at("cache"),
      (at) => Deno.writeTextFileSync(`${at}/new`, "new"),
    );
    const first = rebuilds.ask("first");
    await rebuilds.untilBegun(1);
    const others = await untilWaiting(
      2,
      () => [rebuilds.ask("a", SHARE), rebuilds.ask("b", SHARE)],
    );
    let happened = 0;
    const before = setLogSink({
      debug(text) {
        const isPublished = /^(Exchanged|Renamed) /.test(text);
        if (!isPublished || rebuilds.begun.length !== 2 || happened++) return;
        queueMicrotask(() => happen(dir));
      },
      warn() {},
    });
    try {
      rebuilds.go("first", "a", "b");
      await first;
      assertEquals(await outcomes(others), ["rebuilt", "rebuilt"]);
    } finally {
      setLogSink(before);
    }
    assertEquals(happened > 0, true);
    assertEquals(namesIn(dir.at("cache")), ["new"]);
  });
}
