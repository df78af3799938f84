// What people are told: who holds what they wait for, what was fallen back to, what a
// dry run would remove, and what was freed.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Peer, runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const STORE = ["--dir", "store"];

/** A cache with some keys. */
async function makeStore(dir: TempDir, ...keys: string[]): Promise<void> {
  dir.write({ src: { a: "a", b: "b" } });
  for (const key of keys) {
    const put = await runCli(["put", key, "src", ...STORE], { cwd: dir.path });
    assertEquals(put.code, 0, put.stderr);
  }
}

Deno.test("rebuild-cache prune --dry-run names the keys that would go", async () => {
  await using dir = TempDir.make();
  await makeStore(dir, "one", "two");
  const prune = ["prune", "--max-entries", "0", ...STORE];
  const dry = await runCli([...prune, "--dry-run"], { cwd: dir.path });
  assertEquals(dry.code, 0, dry.stderr);
  const lines = dry.stdout.trimEnd().split("\n");
  assertEquals(lines.length, 3, dry.stdout);
  assertMatch(
    lines.at(-1)!,
    /^Would remove 2 keys, .* on the disk\); 0 entries/,
  );
  for (const key of ["one", "two"]) {
    assert(
      lines.some((it) => it.startsWith(`  ${key} (2 B, used `)),
      dry.stdout,
    );
  }
  const ran = await runCli(prune, { cwd: dir.path });
  assertMatch(ran.stdout, /^Removed 2 keys, [^\n]*\n$/);
});

Deno.test("rebuild-cache rm names each key that went, or would go", async () => {
  await using dir = TempDir.make();
  await makeStore(dir, "one", "two");
  const rm = ["rm", "one", "two", ...STORE];
  const dry = await runCli([...rm, "--dry-run"], { cwd: dir.path });
  assertEquals(dry.stdout, "Would remove one\nWould remove two\n");
  const ran = await runCli(rm, { cwd: dir.path });
  assertEquals(ran.stdout, "Removed one\nRemoved two\n");
});

Deno.test("rebuild-cache stats prints a line for each number", async () => {
  await using dir = TempDir.make();
  await makeStore(dir, "one");
  const { code, stdout, stderr } = await runCli(["stats", ...STORE], {
    cwd: dir.path,
  });
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /^(\/|[A-Z]:\\).*\n {2}keys +1\n {2}archives +1\n/);
});

Deno.test("rebuild-cache get and ensure say which entry stood in for another", async () => {
  await using dir = TempDir.make();
  await makeStore(dir, "deps-1");
  const get = await runCli(
    ["get", "deps-2", "got", "--fallback", "deps-", ...STORE],
    { cwd: dir.path },
  );
  assertEquals(get.code, 0, get.stderr);
  assertMatch(get.stdout, /^Found deps-1 for deps-2\. Linked .*[\/\\]got: 2 /);
  const build = [Deno.execPath(), "eval", "0"];
  const ensure = await runCli(
    [
      "ensure",
      "deps-2",
      "out",
      "--fallback",
      "deps-",
      ...STORE,
      "--",
      ...build,
    ],
    { cwd: dir.path },
  );
  assertEquals(ensure.code, 0, ensure.stderr);
  assertMatch(
    ensure.stdout,
    /^Built deps-2 from deps-1\. Linked .*[\/\\]out: 2 /,
  );
});

test(
  "rebuild-cache clear -v says what it freed",
  ["posix"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { a: "x".repeat(100_000) } });
    const { code, stdout } = await runCli(["clear", "src", "-v"], {
      cwd: dir.path,
    });
    assertEquals(code, 0);
    assertMatch(
      stdout,
      /^Cleared \/.*\/src \(gone in [\d.]+ ms, freed \d+\.\d kB in [\d.]+ m?s\)\n$/,
    );
  },
);

test(
  "rebuild-cache link says that it could not link, and that a file has a fresh inode",
  ["linux"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { a: "content" } });
    const hard = ["link", "--mode", "hardlink", "--max-links", "1"];
    const fresh = await runCli([...hard, "src", "reset"], { cwd: dir.path });
    assertMatch(
      fresh.stdout,
      /: 1 hardlinked in .*; at the link limit, 1 cached file has a fresh inode\n$/,
    );
    const copied = await runCli(
      [...hard, "--on-link-limit", "copy", "src", "copy"],
      { cwd: dir.path },
    );
    assertMatch(copied.stdout, /: 1 copied in .*; no hard link: .*--max-links/);
  },
);

test(
  "rebuild-cache clear says who holds what it waits for, and with -q it does not",
  ["posix", "sh"],
  async () => {
    await using dir = TempDir.make();
    dir.write({ src: { a: "content" } });
    const options = { cwd: dir.path };
    const hold = ["use", "src", "--", "sh", "-c", "echo holding; cat"];
    await using holder = Peer.cli(hold, options);
    await holder.says("holding");
    await using quiet = Peer.cli(["clear", "src", "-q"], options);
    await using waiter = Peer.cli(["clear", "src"], options);
    await waiter.says("Waiting");
    assertMatch(waiter.heard, /^rebuild-cache: .*Waiting .*use src/);
    await holder.end();
    assertEquals((await waiter.end()).code, 0);
    const { code, heard } = await quiet.end();
    assertEquals([code, heard], [0, ""]);
  },
);

Deno.test("rebuild-cache ls --json has all of very many keys in one object", async () => {
  await using dir = TempDir.make();
  await makeStore(dir, "key");
  const bucket = dir.at("store/default-v1");
  const { name } = [...Deno.readDirSync(bucket)][0]!;
  const isLink = Deno.lstatSync(`${bucket}/${name}`).isSymlink; // not on Windows
  // More than is put together at once.
  for (let i = 0; i < 500; i++) {
    const other = `${bucket}/key-${i.toString(16).padStart(40, "0")}`;
    if (isLink) Deno.symlinkSync(Deno.readLinkSync(`${bucket}/${name}`), other);
    else Deno.copyFileSync(`${bucket}/${name}`, other);
  }
  const { stdout } = await runCli(["ls", "--json", ...STORE], {
    cwd: dir.path,
  });
  const said = JSON.parse(stdout);
  assertEquals(said.result.entries.length, 501);
  assertEquals(stdout, `${JSON.stringify(said, undefined, 2)}\n`);
});
