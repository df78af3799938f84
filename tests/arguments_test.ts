// What a program in JavaScript may give by mistake, for each call of the library.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as library from "../mod.ts";
import { namesIn, TempDir } from "./support/temp_dir.ts";

type Refusal = [
  call: string,
  given: unknown[],
  type: typeof TypeError | typeof RangeError,
  said: string,
];

// deno-lint-ignore no-explicit-any -- what TypeScript would refuse is what is tried
type Any = any;

const DIGEST = "0".repeat(64);
const fetch = () => {};
const web = new URL("https://example.com/x");

const CALLS: Refusal[] = [
  ["linkFile", [5, "b"], TypeError, "src must be a path"],
  ["linkFile", ["a"], TypeError, "dst must be a path"],
  ["linkFile", ["a", "b", null], TypeError, "options must be an object"],
  ["linkFile", ["a", "b", []], TypeError, "not a Array"],
  ["linkFile", ["a", "b", { mode: "hardlnik" }], TypeError, '"hardlnik"'],
  ["linkFile", ["a", "b", { ifExists: "merge" }], TypeError, '"merge"'],
  ["linkFile", ["a", "b", { maxLinks: 0 }], RangeError, "not 0"],
  ["linkFile", ["a", "b", { strict: 1 }], TypeError, "not 1"],
  ["linkFile", ["a", "b", { signal: 1 }], TypeError, "not 1"],
  ["linkTree", ["", "b"], TypeError, "src must be a path"],
  ["linkTree", ["a", web], TypeError, "https://example.com/x"],
  ["linkTree", ["a", "b", { include: "*.js" }], TypeError, '"*.js"'],
  ["linkTree", ["a", "b", { exclude: [/x/] }], TypeError, "a RegExp"],
  ["linkTree", ["a", "b", { ifExists: "update" }], TypeError, '"update"'],
  ["linkTree", ["a", "b", { jobs: 0 }], RangeError, "not 0"],
  ["linkTree", ["a", "b", { wait: NaN }], RangeError, "not NaN"],
  ["linkTree", ["a", "b", { onProgress: {} }], TypeError, "onProgress"],
  ["clearCache", [7], TypeError, "dir must be a path"],
  ["clearCache", ["a", { dryRun: "no" }], TypeError, '"no"'],
  ["rebuildCache", ["a", "make"], TypeError, '"make"'],
  ["sweepAsides", ["a", { busyTimeout: -1 }], RangeError, "not -1"],
  ["lease", [undefined], TypeError, "dir must be a path"],
  ["lease", ["a", 5], TypeError, "options must be an object"],
  ["lease", ["a", { wait: -1 }], RangeError, "not -1"],
  ["guard", [{}], TypeError, "a Object"],
  ["guard", ["a", { purpose: 1 }], TypeError, "purpose must be a string"],
  ["guard", ["a", { signal: {} }], TypeError, "AbortSignal"],
  ["probe", [5], TypeError, "dir must be a path"],
  ["probe", [".", null], TypeError, "dst must be a path"],
  ["probe", [".", ".", { links: 0 }], RangeError, "not 0"],
  ["hashFiles", ["*.js"], TypeError, '"*.js"'],
  ["hashFiles", [undefined], TypeError, "globs must be an array"],
  ["hashFiles", [[5]], TypeError, "not 5"],
  ["hashFiles", [["a"], { root: 5 }], TypeError, "root must be a path"],
  ["hashFiles", [["a"], { signal: 1 }], TypeError, "AbortSignal"],
];

const CACHE_CALLS: Refusal[] = [
  ["get", ["key", { fallback: "key" }], TypeError, "fallback must be an array"],
  ["get", ["key", { fallback: [5] }], TypeError, "not 5"],
  ["get", ["key", []], TypeError, "options must be an object"],
  ["put", ["key", ""], TypeError, "src must be a path"],
  ["stage", [5], TypeError, "key must be a string"],
  ["ensure", ["key", fetch, { refresh: "yes" }], TypeError, '"yes"'],
  ["delete", ["key", { wait: -1 }], RangeError, "not -1"],
  ["placement", ["key", 5], TypeError, "dst must be a path"],
  ["prune", [null], TypeError, "options must be an object"],
  ["prune", [{ dryRun: "yes" }], TypeError, '"yes"'],
  ["prune", [{ maxAge: -5 }], RangeError, "not -5"],
  ["prune", [{ maxSize: NaN }], RangeError, "not NaN"],
  ["prune", [{ maxSize: "1G" }], TypeError, '"1G"'],
  ["prune", [{ maxEntries: 1.5 }], RangeError, "not 1.5"],
  ["prune", [{ onProgress: 1 }], TypeError, "not 1"],
  ["verify", [5], TypeError, "options must be an object"],
  ["verify", [{ signal: 1 }], TypeError, "AbortSignal"],
  ["verify", [{ onProgress: 1 }], TypeError, "not 1"],
  ["stats", [{ signal: 1 }], TypeError, "AbortSignal"],
  ["blob", [5, "b", { fetch }], TypeError, "digest must be a string"],
  ["blob", [DIGEST, 5, { fetch }], TypeError, "dst must be a path"],
  ["blob", [DIGEST, "b"], TypeError, "options must be an object"],
  ["blob", [DIGEST, "b", {}], TypeError, "fetch must be a function"],
  ["blob", [DIGEST, "b", { fetch, size: -1 }], RangeError, "not -1"],
  ["blob", [DIGEST, "b", { fetch, executable: 1 }], TypeError, "not 1"],
  ["blob", [DIGEST, "b", { fetch, ifExists: "x" }], TypeError, '"x"'],
];

Deno.test("Each call of the library refuses arguments that are none, says what was given, and touches nothing", async () => {
  await using dir = TempDir.make();
  const cache: Any = library.openCache(dir.at("cache"));
  const tell = (call: string, error: Error, said: string) => {
    assert(error.message.includes(said), `${call}: ${error.message}`);
  };
  const before = namesIn(Deno.cwd());
  for (const [call, given, type, said] of CALLS) {
    const refused = () => (library as Any)[call](...given);
    tell(call, await assertRejects(refused, type, undefined, call), said);
  }
  for (const [call, given, type, said] of CACHE_CALLS) {
    const refused = () => cache[call](...given);
    tell(call, await assertRejects(refused, type, undefined, call), said);
  }
  assertEquals(namesIn(Deno.cwd()), before);
  assertEquals(namesIn(dir.path), []);
});

Deno.test("Entry.link() refuses invalid options, and says what may be given", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  const cache = library.openCache(dir.at("cache"));
  await cache.put("key", dir.at("file"));
  using entry: Any = await cache.get("key");
  for (
    const [given, type, said] of [
      [[], TypeError, "dst must be a path"],
      [[dir.at("dst"), null], TypeError, "options must be an object"],
      [[dir.at("dst"), { mode: 5 }], TypeError, "not 5"],
      [[dir.at("dst"), { ifExists: "now" }], TypeError, '"update", not "now"'],
      [[dir.at("dst"), { wait: -1 }], RangeError, "not -1"],
    ] as const
  ) await assertRejects(() => entry.link(...given), type, said);
  assertEquals(namesIn(dir.path), ["cache", "file"]);
});

Deno.test("openCache() and setLogSink() refuse invalid arguments, and say what was given", () => {
  const { openCache, setLogSink }: Any = library;
  for (
    const [call, type, said] of [
      [() => openCache("c", { limits: 5 }), TypeError, "limits must be"],
      [() => openCache("c", { limits: { budget: -1 } }), RangeError, "budget"],
      [() => openCache("c", { purpose: 5 }), TypeError, "purpose"],
      [() => setLogSink(null), TypeError, "sink must be an object, not null"],
      [() => setLogSink({ debug() {} }), TypeError, "sink.warn must be a"],
      [() => setLogSink("console"), TypeError, '"console"'],
    ] as const
  ) assertThrows(call, type, said);
});
