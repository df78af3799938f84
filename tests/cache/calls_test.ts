// What each call of a cache takes and gives.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { PutProgress } from "../../lib/cache/archive.ts";
import { openCache } from "../../lib/cache/cache.ts";
import { CacheError } from "../../lib/error.ts";
import { setLogSink } from "../../lib/log.ts";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

const BUILD = [Deno.execPath(), "eval"];

Deno.test("Cache.ensure() says what became of it, and what it gives can be bound with using", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const outcomes: string[] = [];
  for (let i = 0; i < 2; i++) {
    using entry = await cache.ensure("key", (at) => dir.write({ a: "" }, at));
    outcomes.push(entry.outcome);
    assertEquals(entry.key, "key");
  }
  assertEquals(outcomes, ["built", "hit"]);
  assertEquals((await cache.prune({ maxEntries: 0 })).inUse, 0);
});

Deno.test("Cache.ensure() puts nothing when the build left an empty directory, unless it may", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const error = await assertRejects(
    () => cache.ensure("key", () => dir.write({ elsewhere: "" })),
    CacheError,
  );
  assertEquals(error.kind, "empty");
  assert(error.message.includes("allowEmpty"), error.message);
  {
    await using staging = await cache.stage("key");
    await assertRejects(() => staging.commit(), CacheError, "allowEmpty");
    dir.write({ late: "" }, staging.path);
    await staging.commit(); // it may go on
  }
  assertEquals(await cache.delete("key"), true);
  using entry = await cache.ensure("key", () => {}, { allowEmpty: true });
  assertEquals([entry.outcome, entry.files], ["built", 0]);
  using file = await cache.ensure("file", (at) => {
    Deno.removeSync(at);
    Deno.writeTextFileSync(at, "");
  });
  assertEquals([file.isFile, file.bytes], [true, 0]);
});

Deno.test("rebuild-cache ensure says that COMMAND must write to {} when it wrote nothing", async () => {
  await using dir = TempDir.make();
  const args = (...more: string[]) => [
    ...["ensure", ...more, "--dir", dir.at("cache"), "key", dir.at("out")],
    ...["--", ...BUILD, "1"],
  ];
  const { code, stderr } = await runCli(args());
  assertEquals(code, 1);
  for (const word of ["{}", "--allow-empty"]) assert(stderr.includes(word));
  assertEquals(openCache(dir.at("cache")).entries(), []);
  const allowed = await runCli(args("--allow-empty"));
  assertEquals([allowed.code, allowed.stderr], [0, ""]);
  assertEquals(namesIn(dir.at("out")), []);
});

test(
  "rebuild-cache ensure keeps files of its own when COMMAND hard-linked them from a store",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ store: { a: "content", b: "more" } });
    const { code, stderr } = await runCli([
      ...["ensure", "--dir", dir.at("cache"), "--mode", "hardlink"],
      ...["key", dir.at("out"), "--"],
      ...["sh", "-c", `ln ${dir.at("store")}/a ${dir.at("store")}/b {}`],
    ]);
    assertEquals(code, 0, stderr);
    Deno.writeTextFileSync(dir.at("store", "a"), "CHANGED");
    Deno.writeTextFileSync(dir.at("store", "b"), "CHANGED AND LONGER");
    const cache = openCache(dir.at("cache"));
    assertEquals((await cache.verify()).damaged, []);
    assertEquals(Deno.readTextFileSync(dir.at("out", "a")), "content");
  },
);

test(
  "Cache.ensure() warns of files and links that have the staging's path in them",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    const cache = openCache(dir.at("cache"));
    const warnings: string[] = [];
    setLogSink({ debug() {}, warn: (message) => warnings.push(message) });
    try {
      const build = (at: string) => {
        dir.write({
          bin: {
            activate: `VIRTUAL_ENV='${at}'\n`,
            pip: `#!${at}/bin/python\n`,
          },
          "pyvenv.cfg": "home = /usr/bin\n",
          lib: { "big.bin": "x".repeat(1 << 20) + at, "cached.pyc": `\0${at}` },
        }, at);
        Deno.symlinkSync(`${at}/bin/pip`, `${at}/bin/pip3`); // made relative
        Deno.symlinkSync(`${at}.log`, `${at}/bin/log`);
        Deno.symlinkSync("pip", `${at}/bin/pip3.12`);
      };
      using entry = await cache.ensure("venv", build);
      const all = ["bin/activate", "bin/log", "bin/pip", "lib/cached.pyc"];
      assertEquals(entry.mentions.toSorted(), all);
      assertEquals(warnings.length, 1);
      for (const word of ['"venv"', '"bin/activate"', "1 more"]) {
        assert(warnings[0]!.includes(word), warnings[0]);
      }
      using hit = await cache.ensure("venv", build);
      assertEquals([hit.outcome, hit.mentions], ["hit", []]);
      const write = (at: string) => dir.write({ a: dir.path }, at);
      using other = await cache.ensure("other", write);
      assertEquals([other.mentions, warnings.length], [[], 1]);
    } finally {
      setLogSink(undefined);
    }
  },
);

Deno.test("rebuild-cache ensure warns of a file with the staging's path in it", async () => {
  await using dir = TempDir.make();
  const script = `Deno.writeTextFileSync(Deno.args[0] + "/a", Deno.args[0])`;
  const { code, stderr } = await runCli([
    ...["ensure", "--dir", dir.at("cache"), "key", dir.at("out")],
    ...["--", ...BUILD, script, "{}"],
  ]);
  assertEquals(code, 0);
  assert(stderr.includes("warning: ") && stderr.includes('"a"'), stderr);
});

Deno.test("Cache.delete() removes a key, and leaves what is in use", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content", "no cache": { a: "" } });
  const cache = openCache(dir.at("cache"));
  assertEquals(await cache.delete("key"), false);
  assertEquals(namesIn(dir.path), ["file", "no cache"]);
  await cache.put("key", dir.at("file"));
  await cache.put("other", dir.at("file"));
  assertEquals(
    await openCache(cache.path, { bucket: "b" }).delete("key"),
    false,
  );
  {
    using entry = (await cache.get("key"))!;
    assertEquals(await cache.delete("key"), true);
    assertEquals(await cache.delete("key"), false);
    assertEquals(await cache.get("key"), undefined);
    assertEquals((await cache.prune()).unreferenced, 0);
    assertEquals(Deno.readTextFileSync(entry.path), "content");
  }
  assertEquals((await cache.prune()).unreferenced, 1);
  assertEquals(cache.entries().map(({ key }) => key), ["other"]);
  await assertRejects(
    () => openCache(dir.at("no cache")).delete("key"),
    CacheError,
  );
});

Deno.test("Cache rejects with the reason of a call's own signal, or of the cache's", async () => {
  await using dir = TempDir.make();
  dir.write({ file: "content" });
  for (const whose of ["call", "cache"]) {
    const reason = { reason: whose };
    const controller = new AbortController();
    const { signal } = controller;
    const own = whose === "call" ? { signal } : {};
    const cache = openCache(
      dir.at(whose),
      whose === "call" ? {} : { signal },
    );
    const build = (at: string, context: { signal: AbortSignal }) => {
      dir.write({ a: "" }, at);
      controller.abort(reason);
      assertEquals(context.signal.reason, reason);
      throw new Error("of the build, since it was aborted");
    };
    const reasonOf = (call: Promise<unknown>) =>
      call.then(() => "nothing", (error) => error);
    await cache.put("key", dir.at("file"), own);
    assertEquals(await reasonOf(cache.ensure("new", build, own)), reason);
    const hears = (at: string) => dir.write({ a: "" }, at);
    for (
      const call of [
        () => cache.get("key", own),
        () => cache.put("key", dir.at("file"), own),
        () => cache.stage("key", own),
        () => cache.ensure("new", hears, own),
        () => cache.delete("key", own),
      ]
    ) assertEquals(await reasonOf(call()), reason);
    assertEquals(cache.entries().map(({ key }) => key), ["key"]);
  }
});

Deno.test("Cache.ensure() rejects with the signal's reason when a build ends well after an abort", async () => {
  await using dir = TempDir.make();
  const cache = openCache(dir.at("cache"));
  const controller = new AbortController();
  const { signal } = controller;
  const build = (at: string) => {
    dir.write({ a: "" }, at);
    controller.abort("enough");
  };
  const said = await cache.ensure("key", build, { signal })
    .then(() => "nothing", (error) => error);
  assertEquals(said, "enough");
  assertEquals(cache.entries(), []);
});

Deno.test("Cache.put() and ensure() tell how far they are", async () => {
  await using dir = TempDir.make();
  dir.write({ tree: { a: "12", b: "345" } });
  const cache = openCache(dir.at("cache"));
  const told: PutProgress[] = [];
  const onProgress = (progress: PutProgress) => told.push(progress);
  await cache.put("key", dir.at("tree"), { onProgress });
  using _ = await cache.ensure(
    "new",
    (at) => dir.write({ a: "12", b: "345" }, at),
    { onProgress },
  );
  const totals = { totalFiles: 2, totalBytes: 5 };
  const hashed = [
    { phase: "hashing", files: 1, bytes: 2, ...totals },
    { phase: "hashing", files: 2, bytes: 5, ...totals },
  ] as const;
  const copied = { phase: "copying", files: 2, bytes: 5 } as const;
  assertEquals(told, [copied, ...hashed, ...hashed]);
});

Deno.test("openCache() and its calls refuse invalid arguments, and say what was given", async () => {
  await using dir = TempDir.make();
  // deno-lint-ignore no-explicit-any -- as a program in JavaScript may
  const open = openCache as any;
  for (
    const [given, type, said] of [
      [[7], TypeError, "not 7"],
      [[new URL("https://example.com/")], TypeError, "https://example.com/"],
      [[dir.path, null], TypeError, "not null"],
      [[dir.path, { durable: "yes" }], TypeError, '"yes"'],
      [[dir.path, { wait: -1 }], RangeError, "not -1"],
      [[dir.path, { signal: 1 }], TypeError, "not 1"],
      [[dir.path, { bucket: 1 }], TypeError, "not 1"],
    ] as const
  ) assertThrows(() => open(...given), type, said);
  const cache = open(dir.at("cache"));
  for (
    const [call, given, type, said] of [
      ["get", [7], TypeError, "key must be a string, not 7"],
      ["get", [], TypeError, "not undefined"],
      ["get", ["key", { wait: NaN }], RangeError, "not NaN"],
      ["put", ["key"], TypeError, "src"],
      ["put", ["key", "a", { onProgress: 1 }], TypeError, "not 1"],
      ["stage", ["key", "a"], TypeError, '"a"'],
      ["ensure", ["key"], TypeError, "build must be a function"],
      ["ensure", ["key", () => {}, { allowEmpty: 1 }], TypeError, "not 1"],
      ["ensure", ["key", () => {}, { signal: {} }], TypeError, "Object"],
      ["delete", [{}], TypeError, "Object"],
    ] as const
  ) await assertRejects(() => cache[call](...given), type, said);
  assertEquals(namesIn(dir.path), []);
});

Deno.test("Cache.put() tells how far it is within a large file", async () => {
  await using dir = TempDir.make();
  dir.write({ large: "x".repeat(20 << 20) });
  const cache = openCache(dir.at("cache"));
  const hashed: PutProgress[] = [];
  await cache.put("key", dir.at("large"), {
    onProgress: (it) => it.phase === "hashing" && hashed.push(it),
  });
  const total = { totalFiles: 1, totalBytes: 20 << 20 };
  assertEquals(hashed[0], {
    phase: "hashing",
    files: 0,
    bytes: 1 << 20,
    ...total,
  });
  assertEquals([hashed.length, hashed.at(-1)!.files], [21, 1]);
});
