// Every error at every call that a commit, a get, a prune and a rebuild make to change
// or to lock something, put there by strace: what stands stands, whole, and nothing is
// left that the next prune, or clear, does not remove.
import { assert, assertEquals } from "@std/assert";
import { openCache } from "../../lib/cache/cache.ts";
import type { PruneReport } from "../../lib/cache/prune_options.ts";
import type { VerifyReport } from "../../lib/cache/verify_options.ts";
import { clearCache } from "../../lib/clear/clear.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { namesIn } from "../support/temp_dir.ts";
import { Traced } from "../support/traced.ts";
import { exists } from "../support/until.ts";

const STRESS = Deno.env.get("REBUILD_CACHE_STRESS") !== undefined;

const KINDS: Record<string, string> = {
  ENOSPC: "no-space",
  EIO: "io",
  EXDEV: "cross-device",
  EACCES: "permission",
  ESTALE: "stale",
};

/** What changes or locks something, as strace expressions, and what lines it makes. */
const CALLS: [call: string, line: RegExp][] = [
  ["/^rename", /rename/],
  ["/^symlink", /symlink/],
  ["/^link", /link(at)?\(/],
  ["openat", /openat/],
  ["fsync", /fsync/],
  ["flock", /flock/],
  ["getdents64", /getdents64/],
];

interface Answer {
  done?: string | PruneReport | VerifyReport;
  error?: { name: string; message: string; kind?: string };
}

/** A cache with an old key, and one that a prune of one entry evicts. */
async function makeCache(root: string, source: string): Promise<void> {
  const cache = openCache(root);
  const { id } = await cache.put("oldest", source);
  const then = new Date(Date.now() - 1e9);
  Deno.utimeSync(`${root}/leases/${id}.lock`, then, then);
  await cache.put("key", source);
}

function isWhole(dir: string, versions: string[]): boolean {
  const version = Deno.readTextFileSync(`${dir}/version`);
  return versions.includes(version) && namesIn(dir).length === 2 &&
    Deno.readTextFileSync(`${dir}/sub/file`) === version;
}

async function checkCache(root: string, answer: Answer): Promise<void> {
  const cache = openCache(root, { wait: 0 });
  {
    using entry = await cache.get("key");
    const versions = answer.done === "committed" ? ["new"] : ["old", "new"];
    assert(entry && isWhole(entry.path, versions), "the key is lost");
  }
  const { failures } = await cache.prune();
  assertEquals(failures, []);
  assertEquals((await cache.verify()).damaged, []);
  const ids = namesIn(`${root}/archive-v1`);
  assertEquals([...Deno.readDirSync(`${root}/leases`)].length, ids.length);
  assertEquals([...Deno.readDirSync(`${root}/default-v1`)].length, ids.length);
  assertEquals([...Deno.readDirSync(`${root}/tmp`)], []);
}

for (const what of ["commit", "get", "prune", "verify", "rebuild"]) {
  mountTest(
    import.meta.url,
    `Cache keeps what it has, whatever error ${what} meets`,
    ["strace", ...TOOLS.ext4],
    async (dir) => {
      const at = await makeFileSystem(dir, "ext4", 1);
      const source = `${at}/source`;
      dir.write({
        source: { version: "old", sub: { file: "old" } },
        new: { version: "new", sub: { file: "new" } },
      }, at);
      await using traced = await Traced.start("cache_when_told.ts");
      let [runs, failed] = [0, 0];
      const once = async (call: string, inject?: string) => {
        const root = `${at}/cache-${runs++}`;
        const dst = `${root}-out`;
        if (what === "rebuild") {
          dir.write({ version: "old", sub: { file: "old" } }, mkdir(root));
        } else await makeCache(root, source);
        const ran = await traced.run(
          [what, root, `${at}/new`, dst],
          call,
          inject,
        );
        const answer = ran.answer as Answer;
        const text = `${inject}: ${JSON.stringify(answer)}`;
        try {
          if (what === "rebuild") {
            const versions = answer.done ? ["new"] : ["old", "new"];
            assert(isWhole(root, versions));
          } else await checkCache(root, answer);
          assertEquals(exists(dst), answer.done === "got");
          if (answer.done === "got") assert(isWhole(dst, ["old"]));
          assertEquals((await clearCache(root)).failures, []);
          if (exists(dst)) Deno.removeSync(dst, { recursive: true });
          for (const name of Deno.readDirSync(at)) {
            if (/^cache.*lock$/.test(name.name)) {
              Deno.removeSync(`${at}/${name.name}`);
            }
          }
          const left = namesIn(at).filter((name) => name.startsWith("cache"));
          assertEquals(left, []);
        } catch (error) {
          throw new Error(`${text}: ${error}`, { cause: error });
        }
        return { answer, calls: ran.calls, text };
      };
      for (const [call, line] of CALLS) {
        const { calls } = await once(call);
        const count = calls.filter((it) => line.test(it)).length;
        for (let nth = 1; nth <= count; nth++) {
          const all = Object.keys(KINDS);
          // In a short run, each call meets one of the errors.
          const errors = STRESS ? all : [all[(nth + runs) % all.length]!];
          for (const errno of errors) {
            const inject = `${call}:error=${errno}:when=${nth}`;
            const { answer, text } = await once(call, inject);
            if (unreadable(answer) > 0) failed++;
            if (!answer.error) continue;
            failed++;
            assertEquals(answer.error.kind, KINDS[errno], text);
          }
        }
      }
      // deno-lint-ignore no-console -- figures to tell
      console.log(`${what}: ${runs} runs, ${failed} failed as they should`);
      assert(runs > 10 && failed > 3);
    },
  );
}

/** What can't be read is reported, and never taken for damage. */
function unreadable({ done }: Answer): number {
  if (typeof done !== "object" || !("damaged" in done)) return 0;
  assertEquals(done.damaged, []);
  return done.failures.length;
}

function mkdir(path: string): string {
  Deno.mkdirSync(`${path}/sub`, { recursive: true });
  return path;
}
