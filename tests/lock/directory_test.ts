import { assert, assertEquals, assertRejects } from "@std/assert";
import { clearCache } from "../../lib/clear/clear.ts";
import { CacheError } from "../../lib/error.ts";
import { openDirectory } from "../../lib/fs/open.ts";
import { guard, lease } from "../../lib/lock/directory.ts";
import { attemptLock, LockedError } from "../../lib/lock/file.ts";
import { denoRun, must, Peer, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest } from "../support/mounts.ts";
import { test } from "../support/needs.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const AT_ONCE = { wait: 0 };

Deno.test("lease() is shared, and keeps guards away until it is released", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { a: "content" } });
  const cache = dir.at("cache");
  {
    using one = await lease(cache, AT_ONCE);
    using _two = await lease(cache, AT_ONCE);
    assertEquals(one.path, cache);
    assertEquals(one.exclusive, false);
    await assertRejects(() => guard(cache, AT_ONCE), LockedError);
    await assertRejects(() => clearCache(cache, AT_ONCE), LockedError);
    assertEquals(namesIn(cache), ["a"]);
  }
  using only = await guard(cache, AT_ONCE);
  assertEquals(only.exclusive, true);
  await assertRejects(() => lease(cache, AT_ONCE), LockedError);
});

Deno.test("lease() can be taken of a directory that does not exist yet", async () => {
  await using dir = TempDir.make();
  using _ = await lease(dir.at("cache"), AT_ONCE);
  await assertRejects(() => guard(dir.at("cache"), AT_ONCE), LockedError);
  // Nor need its parent exist, as in a fresh home.
  using _deep = await lease(dir.at("no", "such", "cache"), AT_ONCE);
  await assertRejects(
    () => guard(dir.at("no", "such", "cache"), AT_ONCE),
    LockedError,
  );
  const error = await assertRejects(() => guard(dir.at("none", "cache")));
  assert(error instanceof Error && !(error instanceof LockedError));
});

Deno.test("guard() waits for a lease, gives up in time, and when it is aborted", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  const held = await lease(dir.at("cache"));
  await assertRejects(() => guard(dir.at("cache"), { wait: 50 }), LockedError);
  const aborted = AbortSignal.timeout(50);
  await assertRejects(
    () => guard(dir.at("cache"), { signal: aborted }),
    DOMException,
  );
  const waiting = guard(dir.at("cache"));
  held[Symbol.dispose]();
  using _ = await waiting;
});

Deno.test("guard() tells who holds the lease, and is granted when that one is killed", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  await using peer = Peer.support("hold.ts", "lease", dir.at("cache"));
  await peer.says("held");
  const error = await assertRejects(
    () => guard(dir.at("cache"), { wait: 0, purpose: "this" }),
    LockedError,
  );
  const [holder] = error.holders;
  assertEquals(holder?.pid, peer.pid);
  assertEquals(holder?.purpose, "a test's lease");
  assert(error.message.includes(`by process ${peer.pid} `), error.message);
  peer.kill();
  {
    using _ = await guard(dir.at("cache"), { purpose: "this" });
    assertEquals(namesIn(dir.path).length, 2); // the cache, and our own note
  }
  assertEquals(namesIn(dir.path), ["cache"]);
});

Deno.test("lease() of one process is not granted while another one holds the guard", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  await using peer = Peer.support("hold.ts", "guard", dir.at("cache"));
  await peer.says("held");
  await assertRejects(() => lease(dir.at("cache"), AT_ONCE), LockedError);
  const waiting = lease(dir.at("cache"));
  await peer.end();
  using _ = await waiting;
});

test("lease() of a symbolic link is one of what it leads to", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  dir.write({ real: {} });
  Deno.symlinkSync("real", dir.at("link"));
  using _ = await lease(dir.at("link"));
  await assertRejects(() => guard(dir.at("real"), AT_ONCE), LockedError);
});

test("attemptLock() notices that the file was replaced while it was locked", [
  "linux",
  "strace",
], async () => {
  await using dir = TempDir.make();
  const file = dir.at("cache.lock");
  Deno.writeTextFileSync(file, "");
  await using peer = new Peer([
    ...["strace", "-f", "-o", dir.at("trace"), "-e", "trace=flock"],
    ...["-e", "inject=flock:delay_enter=1000000:when=1"],
    ...peerCommand("lock_file.ts", file),
  ]);
  // strace writes the call when it begins; it locks a second later.
  await until("a call of flock", () => {
    try {
      return Deno.readTextFileSync(dir.at("trace")).includes("flock(");
    } catch {
      return false;
    }
  });
  Deno.renameSync(file, dir.at("old"));
  Deno.writeTextFileSync(file, "");
  await peer.says("held");
  using parent = openDirectory(dir.path);
  const attempt = (name: string) => attemptLock(parent, name, true, "existing");
  assertEquals(attempt("cache.lock"), undefined);
  using old = attempt("old");
  assert(old);
});

test("rebuild-cache says that there are no locks, and --no-lock goes without", [
  "linux",
  "strace",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: { a: "" } });
  const wrap = [
    ...["strace", "-f", "-o", dir.at("trace"), "-e", "trace=flock"],
    ...["-e", "inject=flock:error=ENOLCK"],
  ];
  const locked = await runCli(["--dir", dir.at("cache")], { wrap });
  assertEquals(locked.code, 1, locked.stderr);
  assert(
    locked.stderr.includes("has no locks (No locks available (os error 37))"),
    locked.stderr,
  );
  assertEquals(namesIn(dir.at("cache")), ["a"]);
  const free = await runCli(["--no-lock", "--dir", dir.at("cache")], { wrap });
  assertEquals(free.code, 0, free.stderr);
  assertEquals(namesIn(dir.path), ["trace"]);
});

mountTest(
  import.meta.url,
  "lease() holds for those who come by another mount, or can't write beside it",
  [],
  async (dir) => {
    const tmpfs = await makeFileSystem(dir, "tmpfs");
    Deno.mkdirSync(`${tmpfs}/cache`);
    Deno.mkdirSync(dir.at("bound"));
    await must("mount", "--bind", `${tmpfs}/cache`, dir.at("bound"));
    {
      using _ = await lease(dir.at("bound"));
      await assertRejects(() => guard(`${tmpfs}/cache`, AT_ONCE), LockedError);
    }
    // Nobody beside it, then: neither a lock file, nor a right to make one.
    Deno.removeSync(`${tmpfs}/cache.lock`);
    await must("mount", "-o", "remount,ro", tmpfs);
    {
      using _ = await lease(`${tmpfs}/cache`);
      await assertRejects(() => guard(dir.at("bound"), AT_ONCE), LockedError);
    }
  },
);

/** The command line of a module of tests/support. */
function peerCommand(name: string, ...args: string[]): string[] {
  return [Deno.execPath(), ...denoRun(`tests/support/${name}`), ...args];
}

Deno.test("guard() is granted although leases follow each other without a gap", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  let [stop, leases] = [false, 0];
  const users = [1, 2, 3, 4].map(async () => {
    while (!stop) {
      using _ = await lease(dir.at("cache"));
      leases++;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  await until("leases", () => leases > 20);
  for (let i = 0; i < 3; i++) {
    using _ = await guard(dir.at("cache"), { wait: 30_000 });
  }
  const before = leases;
  await until("leases", () => leases > before);
  stop = true;
  await Promise.all(users);
});

test(
  "lease() says at once that the lock file is a symbolic link, and leaves what it leads to",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    dir.write({ cache: {}, victim: "precious" });
    const before = Deno.statSync(dir.at("victim")).mtime;
    for (const target of ["victim", "nowhere", "/dev/zero"]) {
      Deno.symlinkSync(target, dir.at("cache.lock"));
      for (const take of [lease, guard]) {
        const error = await assertRejects(
          () => take(dir.at("cache"), { wait: 60_000 }),
          CacheError,
        );
        assert(!(error instanceof LockedError), error.message);
        assert(error.message.includes(dir.at("cache.lock")), error.message);
      }
      Deno.removeSync(dir.at("cache.lock"));
    }
    assertEquals(Deno.statSync(dir.at("victim")).mtime, before);
    assertEquals(Deno.readTextFileSync(dir.at("victim")), "precious");
    assertEquals(namesIn(dir.path), ["cache", "victim"]);
  },
);

test("lease() waits for no FIFO, neither in the lock's place nor in a note's", [
  "posix",
  "mkfifo",
], async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  await must("mkfifo", dir.at("cache.holder-1-0123456789ab"));
  Deno.symlinkSync("/dev/zero", dir.at("cache.holder-1-ba9876543210"));
  {
    using _ = await lease(dir.at("cache"), { purpose: "this" });
    const error: LockedError = await assertRejects(
      () => guard(dir.at("cache"), AT_ONCE),
      LockedError,
    );
    assertEquals(error.holders.map((holder) => holder.purpose), ["this"]);
  }
  Deno.removeSync(dir.at("cache.lock"));
  await must("mkfifo", dir.at("cache.lock"));
  await assertRejects(
    () => guard(dir.at("cache"), { wait: 60_000 }),
    CacheError,
    dir.at("cache.lock"),
  );
});

Deno.test("LockedError has no control characters of a holder's note, nor all of a long one", async () => {
  await using dir = TempDir.make();
  dir.write({ cache: {} });
  const evil = `\x1b[31mred\x07\r\n\u202e${"x".repeat(10_000)}`;
  const note = { pid: Deno.pid, host: evil, purpose: evil, since: evil };
  for (let i = 0; i < 300; i++) {
    const name = `cache.holder-1-${`${i}`.padStart(12, "0")}`;
    Deno.writeTextFileSync(dir.at(name), JSON.stringify(note));
  }
  using _ = await lease(dir.at("cache"));
  const { message, holders } = await assertRejects(
    () => guard(dir.at("cache"), AT_ONCE),
    LockedError,
  );
  // deno-lint-ignore no-control-regex -- they are what is looked for
  assert(!/[\x00-\x1f\u202e]/.test(message), JSON.stringify(message));
  assert(message.length < 1000 + dir.path.length, `${message.length}`);
  assert(holders.length <= 100);
});
