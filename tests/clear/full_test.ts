// On a full file system, what frees space comes before what needs some.
import { assert, assertEquals } from "@std/assert";
import { must, run, runCli } from "../support/command.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { namesIn, type TempDir } from "../support/temp_dir.ts";

const here = import.meta.url;

/** Writes files until there is neither space nor an inode left. */
async function fill(directory: string): Promise<void> {
  const script = 'cd "$0"; dd if=/dev/zero of=big bs=64k; i=0; ' +
    "while mkdir d$i && echo x >d$i/f; do i=$((i+1)); done; " +
    "while echo x >f$i && mkdir e$i; do i=$((i+1)); done; " +
    "while : >g$i; do i=$((i+1)); done";
  await run(["sh", "-c", script, directory]);
}

/** A file system of tmpfs with room for very few files. */
async function smallTmpfs(dir: TempDir): Promise<string> {
  const at = dir.at("small");
  Deno.mkdirSync(at);
  const limits = "size=1M,nr_inodes=64";
  await must("mount", "-t", "tmpfs", "-o", limits, "tmpfs", at);
  return at;
}

const KINDS = {
  "tmpfs": smallTmpfs,
  "ext4": (dir: TempDir) => makeFileSystem(dir, "ext4", 1 / 64),
};

for (const kind of ["tmpfs", "ext4"] as const) {
  mountTest(
    here,
    `rebuild-cache --recreate frees and makes on a full ${kind}`,
    TOOLS[kind],
    async (dir) => {
      const mount = await KINDS[kind](dir);
      const cache = `${mount}/cache`;
      Deno.mkdirSync(cache);
      // Room for the lock file, and for no more.
      Deno.writeTextFileSync(`${mount}/spare`, "");
      await fill(cache);
      await assertFull(cache);
      Deno.removeSync(`${mount}/spare`);
      const { code, stderr } = await runCli(["--recreate", "--dir", cache]);
      assertEquals(code, 0, stderr);
      assertEquals(namesIn(cache), []);
      const names = namesIn(mount).filter((name) => name !== "lost+found");
      assertEquals(names, ["cache"]);
      // It is free again.
      Deno.writeFileSync(`${cache}/new`, new Uint8Array(2 ** 19));
    },
  );
}

async function assertFull(directory: string): Promise<void> {
  const { code } = await run(["mkdir", `${directory}/more`]);
  assert(code !== 0, "the file system was not filled");
}
