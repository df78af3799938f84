import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { clearCache } from "../../lib/clear/clear.ts";
import { sweepAsides } from "../../lib/clear/sweep.ts";
import { siblingName } from "../../lib/fs/names.ts";
import { lease } from "../../lib/lock/directory.ts";
import { setLogSink } from "../../lib/log.ts";
import { must } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { mayUse, test } from "../support/needs.ts";
import { makeManyFiles, namesIn, TempDir } from "../support/temp_dir.ts";
import { exists, until } from "../support/until.ts";

const TREE = { a: { b: { file: "x" }, empty: {} }, file: "y" };

Deno.test("clearCache() removes the directory and nothing beside it", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE, cache2: TREE, "cache.bak": "z" });
  const report = await clearCache(dir.at("cache"));
  assertEquals(report.outcome, "cleared");
  assertEquals(report.strategy, "rename");
  assertEquals([report.failures, report.swept, report.asides], [[], [], []]);
  assertEquals(report.stands, false);
  assert(report.goneMs >= 0 && report.durationMs >= report.goneMs);
  assertEquals(namesIn(dir.path), ["cache.bak", "cache2"]);
});

Deno.test("clearCache() succeeds when the directory is missing", async () => {
  await using dir = TempDir.make();
  const report = await clearCache(dir.at("cache"));
  assertEquals(report.outcome, "absent");
  assertEquals(report.strategy, undefined);
});

Deno.test("clearCache() sweeps asides of earlier runs, whether the directory exists or not", async () => {
  await using dir = TempDir.make();
  for (const cache of [TREE, undefined]) {
    const aside = siblingName("cache", "stale");
    dir.write({ [aside]: TREE, ...cache && { cache } });
    dir.write({ [siblingName("other", "stale")]: TREE });
    const report = await clearCache(dir.at("cache"));
    assertEquals(report.swept.length, 1);
  }
  assertEquals(namesIn(dir.path).length, 2); // those of "other"
});

Deno.test("clearCache() makes an empty directory again when asked to", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE });
  const report = await clearCache(dir.at("cache"), { recreate: true });
  assertEquals([report.outcome, report.stands], ["cleared", true]);
  assertEquals(namesIn(dir.at("cache")), []);
  assertEquals(namesIn(dir.path), ["cache"]);
  const fresh = await clearCache(dir.at("new"), { recreate: true });
  assertEquals([fresh.outcome, fresh.stands], ["absent", true]);
});

test("clearCache() gives the new directory the old one's mode and owner", [
  "posix",
  "root",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE });
  Deno.chownSync(dir.at("cache"), 1234, 4321);
  Deno.chmodSync(dir.at("cache"), 0o2770);
  await clearCache(dir.at("cache"), { recreate: true });
  const { mode, uid, gid } = Deno.lstatSync(dir.at("cache"));
  assertEquals([mode! & 0o7777, uid, gid], [0o2770, 1234, 4321]);
});

Deno.test("clearCache() leaves an aside when deletion is deferred, and sweepAsides() deletes it", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE });
  const report = await clearCache(dir.at("cache"), { defer: true });
  assertEquals(report.asides.length, 1);
  assertEquals(namesIn(report.asides[0]!), ["a", "file"]);
  assertEquals(namesIn(dir.path).length, 1);
  assertEquals(await sweepAsides(dir.at("cache")), []);
  assertEquals(namesIn(dir.path), []);
});

Deno.test("clearCache() changes nothing in a dry run", async () => {
  await using dir = TempDir.make();
  const aside = siblingName("cache", "stale");
  dir.write({ cache: TREE, [aside]: TREE });
  const report = await clearCache(dir.at("cache"), { dryRun: true });
  assertEquals(report.outcome, "would-clear");
  assertEquals(report.swept, [dir.at(aside)]);
  assertEquals(namesIn(dir.path), ["cache", aside]);
  assertEquals(namesIn(dir.at("cache")), ["a", "file"]);
});

Deno.test("clearCache() touches nothing and rejects with the reason when it is aborted before it begins", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: TREE });
  const reason = new Error("enough");
  const thrown = await assertRejects(() =>
    clearCache(dir.at("cache"), { signal: AbortSignal.abort(reason) })
  );
  assertEquals(thrown, reason);
  assertEquals(namesIn(dir.at("cache")), ["a", "file"]);
});

Deno.test("clearCache() leaves an aside and names it when it is aborted half way", async () => {
  await using dir = TempDir.make();
  makeManyFiles(dir.at("cache"), 200, 10);
  const warnings: string[] = [];
  const before = setLogSink({
    debug() {},
    warn: (text) => warnings.push(text),
  });
  try {
    const controller = new AbortController();
    const clearing = clearCache(dir.at("cache"), { signal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason); // the rename is done synchronously
    assertEquals(await assertRejects(() => clearing), reason);
  } finally {
    setLogSink(before);
  }
  const [aside, ...more] = namesIn(dir.path);
  assertEquals([more, warnings.length], [[], 1]);
  assertStringIncludes(warnings[0]!, dir.at(aside!));
  await sweepAsides(dir.at("cache"));
  assertEquals(namesIn(dir.path), []);
});

test(
  "clearCache() follows no symbolic link out of the directory",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { sub: TREE }, outside: { precious: "x" } });
    Deno.symlinkSync(dir.at("outside"), dir.at("cache", "link"));
    Deno.symlinkSync("../../outside", dir.at("cache", "sub", "link"));
    Deno.symlinkSync(
      dir.at("outside", "precious"),
      dir.at("cache", "file-link"),
    );
    await clearCache(dir.at("cache"));
    assertEquals(namesIn(dir.path), ["outside"]);
    assertEquals(namesIn(dir.at("outside")), ["precious"]);
  },
);

test(
  "clearCache() clears the target and keeps the link when a link is followed",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ real: TREE });
    Deno.symlinkSync("real", dir.at("link"));
    const report = await clearCache(dir.at("link"), {
      follow: true,
      recreate: true,
    });
    assertEquals(report.path, dir.at("real"));
    assertEquals(namesIn(dir.at("link")), []);
    assertEquals(namesIn(dir.path), ["link", "real"]);
  },
);

test(
  "clearCache() removes FIFO, socket, and names with newlines and 255 bytes",
  [
    "posix",
    "net",
    "mkfifo",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({
      cache: { "new\nline": "x", ["n".repeat(255)]: { file: "x" } },
    });
    await must("mkfifo", dir.at("cache", "fifo"));
    using _listener = Deno.listen({
      transport: "unix",
      path: dir.at("cache", "socket"),
    });
    assertEquals((await clearCache(dir.at("cache"))).failures, []);
    dir.write({ ["d".repeat(255)]: TREE });
    assertEquals(
      (await clearCache(dir.at("d".repeat(255)))).strategy,
      "rename",
    );
    assertEquals(namesIn(dir.path), []);
  },
);

test(
  "clearCache() removes names that are not valid UTF-8, in a tree of any kind",
  [
    "linux",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: TREE });
    // Without descriptors, nobody can look for mounts in a directory with such a name.
    const folder = mayUse("ffi") ? "d\\377" : "d";
    const script = `cd '${dir.at("cache")}' && mkdir "$(printf '${folder}')" &&
    touch "$(printf '${folder}/f\\376')" "$(printf 'f\\376')" "$(printf 'a/f\\376')"`;
    await must("bash", "-c", script);
    const report = await clearCache(dir.at("cache"));
    assertEquals([report.outcome, report.failures], ["cleared", []]);
    assertEquals(namesIn(dir.path), []);
  },
);

for (const thousands of [1, 5]) {
  test(
    `clearCache() removes ${thousands},000 nested levels, beside many other directories`,
    [
      "posix",
    ],
    async () => {
      await using dir = TempDir.make();
      makeManyFiles(dir.at("cache"), 100, 1);
      // A path has 4096 bytes at most, so a deeper tree is put together by renames.
      const thousand = "/d".repeat(1000);
      Deno.mkdirSync(dir.at("deep") + thousand, { recursive: true });
      for (let i = 1; i < thousands; i++) {
        Deno.mkdirSync(dir.at("upper") + thousand, { recursive: true });
        Deno.renameSync(dir.at("deep"), `${dir.at("upper")}${thousand}/deep`);
        Deno.renameSync(dir.at("upper"), dir.at("deep"));
      }
      Deno.renameSync(dir.at("deep"), dir.at("cache", "deep"));
      const report = await clearCache(dir.at("cache"));
      assertEquals([report.outcome, report.failures], ["cleared", []]);
      assertEquals(namesIn(dir.path), []);
    },
  );
}

test(
  "clearCache() removes a file that is open in another process, which keeps reading it",
  [
    "posix",
    "bash",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { file: "still here" } });
    const reader = new Deno.Command("bash", {
      args: ["-c", `exec 3<file; echo open; read -r; cat <&3`],
      cwd: dir.at("cache"),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const output = reader.stdout.getReader();
    await output.read();
    assertEquals((await clearCache(dir.at("cache"))).outcome, "cleared");
    const input = reader.stdin.getWriter();
    await input.write(new TextEncoder().encode("\n"));
    await input.close();
    const { value } = await output.read();
    assertEquals(new TextDecoder().decode(value), "still here");
    await output.cancel();
    await reader.status;
  },
);

test(
  "clearCache() says of an immutable file that it is left, and removes the rest",
  [
    "linux",
    "root",
    "chattr",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { a: { keep: "x", go: "x" }, b: TREE, go: "x" } });
    await must("chattr", "+i", dir.at("cache", "a", "keep"));
    const report = await clearCache(dir.at("cache"));
    const [left] = report.failures;
    const kept = left!.path;
    await must("chattr", "-i", kept);
    assertEquals([report.outcome, report.failures.length], ["incomplete", 1]);
    assertEquals(left!.kind, "permission");
    assertEquals(kept, `${report.asides[0]}/a/keep`);
    assertEquals(namesIn(report.asides[0]!), ["a"]);
    assertEquals(namesIn(dir.path), [report.asides[0]!.split("/").at(-1)!]);
    // A later clear deletes what is left, now that it can.
    dir.write({ cache: TREE });
    assertEquals((await clearCache(dir.at("cache"))).swept, report.asides);
    assertEquals(namesIn(dir.path), []);
  },
);

test(
  "clearCache() succeeds when an aside of somebody else can't be deleted",
  [
    "linux",
    "root",
    "chattr",
  ],
  async () => {
    await using dir = TempDir.make();
    const aside = siblingName("cache", "stale");
    dir.write({ cache: TREE, [aside]: { keep: "x" } });
    await must("chattr", "+i", dir.at(aside, "keep"));
    const report = await clearCache(dir.at("cache"));
    await must("chattr", "-i", dir.at(aside, "keep"));
    assertEquals([report.outcome, report.swept], ["cleared", []]);
    assertEquals(namesIn(dir.path), [aside]);
  },
);

Deno.test(
  "clearCache() clears in scoped permissions, without asking for more",
  {
    permissions: {
      read: true,
      write: true,
      env: ["TMPDIR", "REBUILD_CACHE_TEST_DIR", "TMP", "TEMP"],
    },
  },
  async () => {
    await using dir = TempDir.make();
    makeManyFiles(dir.at("cache"), 100, 2);
    assertEquals((await clearCache(dir.at("cache"))).outcome, "cleared");
  },
);

/** The names in a directory, lock files too. */
function allIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

Deno.test("clearCache() leaves no lock file unless it was there before", async () => {
  await using dir = TempDir.make();
  for (const lock of [false, true]) {
    for (const recreate of [true, false]) {
      dir.write({ cache: TREE, ...lock && { "cache.lock": "" } });
      await clearCache(dir.at("cache"), { purpose: "a test", recreate });
      assertEquals(allIn(dir.path), [
        ...recreate ? ["cache"] : [],
        ...lock ? ["cache.lock"] : [],
      ]);
    }
  }
});

mountTest(
  import.meta.url,
  "clearCache() in place leaves no lock file",
  [],
  async (dir) => {
    const cache = await makeFileSystem(dir, "tmpfs");
    dir.write(TREE, cache);
    const before = allIn(dir.path);
    const { strategy } = await clearCache(cache);
    assertEquals([strategy, allIn(dir.path)], ["in-place", before]);
  },
);

test(
  "clearCache() removes what two of them have made in turns, and no lock is left",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    for (let round = 0; round < 10; round++) {
      dir.write({ cache: TREE });
      const clears = [1, 2, 3, 4].map(() => clearCache(dir.at("cache")));
      const outcomes = (await Promise.all(clears)).map((it) => it.outcome);
      assertEquals(outcomes.filter((it) => it === "cleared").length, 1);
      assertEquals(outcomes.filter((it) => it === "absent").length, 3);
      assertEquals(allIn(dir.path), []);
    }
  },
);

test("clearCache() and sweepAsides() leave what only bears an aside's name", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  const names = [siblingName("cache", "stale"), siblingName("cache", "stale")];
  dir.write({ cache: TREE, outside: { precious: "x" }, [names[1]!]: "a file" });
  Deno.symlinkSync("outside", dir.at(names[0]!));
  assertEquals((await clearCache(dir.at("cache"))).swept, []);
  assertEquals(await sweepAsides(dir.at("cache")), []);
  assertEquals(namesIn(dir.path), [...names, "outside"].sort());
  assertEquals(namesIn(dir.at("outside")), ["precious"]);
});

// Windows keeps the name of a lock file that is open.
test(
  "clearCache() finds nothing to clear when its parent was cleared while it waited",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ parent: { child: { file: "" } } });
    const child = dir.at("parent", "child");
    using held = await lease(child);
    const waiting = clearCache(child);
    await until("a clear that waits", () => exists(`${child}.turn.lock`));
    // A lease on what lies in a directory is none on the directory.
    assertEquals((await clearCache(dir.at("parent"))).outcome, "cleared");
    held[Symbol.dispose]();
    const { outcome, failures } = await waiting;
    assertEquals([outcome, failures], ["absent", []]);
    assertEquals(namesIn(dir.path), []);
  },
);
