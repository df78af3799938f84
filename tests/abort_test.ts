// One way to stop a call, whichever it is: an aborted signal's reason comes back.
import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  type Cache,
  clearCache,
  guard,
  hashFiles,
  lease,
  linkFile,
  linkTree,
  openCache,
  rebuildCache,
  setLogSink,
  sweepAsides,
} from "../mod.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

/** What a call is stopped by. */
interface How {
  signal: AbortSignal;
}

/** SHA-256 of "content". */
const DIGEST =
  "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

const never = () => {
  throw new Error("It was called, though it was aborted");
};

/** The reason that a call is rejected with; nothing is thrown before that. */
async function reasonOf(call: () => Promise<unknown>): Promise<unknown> {
  const promise = call();
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return "it was not rejected";
}

/** All calls that take a signal, on a directory with `file`, `tree` and `cache`. */
function calls(dir: TempDir): Record<string, (how: How) => Promise<unknown>> {
  const [file, tree, dst] = [dir.at("file"), dir.at("tree"), dir.at("dst")];
  const root = dir.at("tree");
  return {
    linkFile: (how) => linkFile(file, dst, how),
    linkTree: (how) => linkTree(tree, dst, how),
    clearCache: (how) => clearCache(tree, how),
    "clearCache in a dry run": (how) =>
      clearCache(tree, { ...how, dryRun: true }),
    sweepAsides: (how) => sweepAsides(tree, how),
    rebuildCache: (how) => rebuildCache(tree, never, how),
    "rebuildCache in place": (how) =>
      rebuildCache(tree, never, { ...how, inPlace: true }),
    hashFiles: (how) => hashFiles(["**"], { ...how, root }),
    lease: (how) => lease(tree, how),
    guard: (how) => guard(tree, how),
  };
}

/** All calls of a cache that take a signal; `missing` is a key that it has not. */
function cacheCalls(
  cache: Cache,
  dir: TempDir,
): Record<string, (how: How | undefined) => Promise<unknown>> {
  const dst = dir.at("dst");
  return {
    get: (how) => cache.get("key", how),
    put: (how) => cache.put("missing", dir.at("file"), how),
    stage: (how) => cache.stage("missing", how),
    ensure: (how) => cache.ensure("missing", never, how),
    delete: (how) => cache.delete("key", how),
    prune: (how) => cache.prune({ maxEntries: 0, ...how }),
    verify: (how) => cache.verify(how),
    stats: (how) => cache.stats(how),
    blob: (how) => cache.blob(DIGEST, dst, { fetch: never, ...how }),
  };
}

Deno.test("Each call of the library rejects with the reason, and changes nothing, when it is aborted before it begins", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content", tree: { a: "1" } });
  const reason = { stop: "it" };
  const how = { signal: AbortSignal.abort(reason) };
  for (const [name, call] of Object.entries(calls(dir))) {
    assertStrictEquals(await reasonOf(() => call(how)), reason, name);
  }
  const cache = openCache(dir.at("cache"));
  await cache.put("key", dir.at("file"));
  const stopped = openCache(dir.at("cache"), how);
  const every = Object.entries(cacheCalls(cache, dir));
  for (const [name, call] of every) {
    assertStrictEquals(await reasonOf(() => call(how)), reason, name);
  }
  for (const [name, call] of Object.entries(cacheCalls(stopped, dir))) {
    const said = `${name} of a cache that was opened with the signal`;
    assertStrictEquals(await reasonOf(() => call(undefined)), reason, said);
  }
  using entry = (await cache.get("key"))!;
  const linked = await reasonOf(() => entry.link(dir.at("dst"), how));
  assertStrictEquals(linked, reason, "entry.link of a file");
  await cache.put("tree", dir.at("tree"));
  using tree = (await cache.get("tree"))!;
  const placed = await reasonOf(() => tree.link(dir.at("dst"), how));
  assertStrictEquals(placed, reason, "entry.link of a tree");
  assertEquals(namesIn(dir.path), ["cache", "file", "tree"]);
  assertEquals(namesIn(dir.at("tree")), ["a"]);
});

/** Aborts as soon as the library says that it waits for a lock. */
async function abortedWhileWaiting(
  name: string,
  call: (how: How) => Promise<unknown>,
): Promise<void> {
  const reason = { stop: name };
  const controller = new AbortController();
  const debug = (message: string) => {
    if (message.startsWith("Waiting")) controller.abort(reason);
  };
  const before = setLogSink({ debug, warn() {} });
  try {
    const said = await reasonOf(() => call({ signal: controller.signal }));
    assertStrictEquals(said, reason, name);
  } finally {
    setLogSink(before);
  }
}

Deno.test("Each call of the library that waits for a lock rejects with the reason, when it is aborted meanwhile", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content", tree: { a: "1" } });
  const free = openCache(dir.at("cache"));
  await free.put("key", dir.at("file"));
  using _tree = await guard(dir.at("tree"));
  using _cache = await guard(dir.at("cache"));
  const { linkTree, clearCache, lease, ...more } = calls(dir);
  const build = (at: string) => Deno.writeTextFileSync(`${at}/b`, "");
  const every = Object.entries({
    ...{ linkTree, clearCache, lease, guard: more.guard },
    "rebuildCache in place": more["rebuildCache in place"],
    rebuildCache: (how: How) => rebuildCache(dir.at("tree"), build, how),
    ...cacheCalls(free, dir),
  });
  for (const [name, call] of every) {
    if (name === "stats") continue; // it takes no lock
    // Windows locks no directory.
    if (name === "linkTree" && Deno.build.os === "windows") continue;
    await abortedWhileWaiting(name, call!);
  }
});

Deno.test("Each call that builds or fetches tells of the abort, and rejects with the reason, whatever the build throws then", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "1" } });
  const cache = openCache(dir.at("cache"));
  type Make = (path: string, context: How) => void;
  const all: Record<string, (make: Make, how: How) => Promise<unknown>> = {
    rebuildCache: (make, how) => rebuildCache(dir.at("tree"), make, how),
    ensure: (make, how) => cache.ensure("key", make, how),
    blob: (fetch, how) => cache.blob(DIGEST, dir.at("dst"), { fetch, ...how }),
  };
  for (const [name, call] of Object.entries(all)) {
    for (const ends of ["throws", "returns"]) {
      const reason = { stop: name };
      const controller = new AbortController();
      const make: Make = (_, { signal }) => {
        assertEquals(signal.aborted, false);
        controller.abort(reason);
        assertStrictEquals(signal.reason, reason, name);
        if (ends === "throws") throw new Error("The build was stopped");
      };
      const { signal } = controller;
      const said = await reasonOf(() => call(make, { signal }));
      assertStrictEquals(said, reason, `${name} ${ends}`);
    }
  }
  assertEquals(Deno.readTextFileSync(dir.at("tree", "a")), "1");
  assertEquals(cache.entries(), []);
});
