import { fromFileUrl } from "@std/path/from-file-url";
import { must, ROOT, run } from "./command.ts";
import { type Need, test } from "./needs.ts";
import { TempDir } from "./temp_dir.ts";

/** Set inside the namespace: the temp directory of the one test that runs there. */
const INSIDE = "REBUILD_CACHE_TEST_NAMESPACE";

/**
 * A test with a mount namespace of its own: whatever it mounts is gone when it
 * ends, however it ends. It runs in a `deno test` of its own inside `unshare`,
 * and is counted here.
 *
 * @param url The test file's `import.meta.url`.
 */
export function mountTest(
  url: string,
  name: string,
  needs: readonly Need[],
  fn: (dir: TempDir) => Promise<void>,
): void {
  const inside = Deno.env.get(INSIDE);
  if (inside !== undefined) {
    Deno.test(name, async () => {
      await fn(TempDir.at(inside));
    });
    return;
  }
  test(name, ["linux", "root", "unshare", "mount", ...needs], async () => {
    await using dir = TempDir.make();
    const map = Deno.env.get("REBUILD_CACHE_IMPORT_MAP");
    const escaped = name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    const { code, stdout, stderr } = await run([
      "unshare",
      "--mount",
      "--propagation=private",
      Deno.execPath(),
      "test",
      "-A",
      "--no-check",
      "--no-lock",
      ...map ? [`--import-map=${map}`] : [],
      `--filter=/^${escaped}$/`,
      fromFileUrl(url),
    ], { cwd: ROOT, env: { [INSIDE]: dir.path } });
    if (code !== 0 || !stdout.includes("1 passed")) {
      throw new Error(`In its namespace: ${stdout}\n${stderr}`);
    }
    // deno-lint-ignore no-console -- figures to tell
    if (stdout.includes("- output -")) console.log(stdout);
  });
}

/** File systems that a test can make. */
export type FileSystem =
  | "ext4"
  | "xfs"
  | "btrfs"
  | "btrfs-no-extref"
  | "tmpfs"
  | "overlay"
  | "exfat";

/** The programs that each needs. */
export const TOOLS: Record<FileSystem, Need[]> = {
  "ext4": ["mkfs.ext4"],
  "xfs": ["mkfs.xfs"],
  "btrfs": ["mkfs.btrfs"],
  "btrfs-no-extref": ["mkfs.btrfs"],
  "tmpfs": [],
  "overlay": [],
  // FUSE: no hard links, no symbolic links, no case, no modes.
  "exfat": ["mkfs.exfat", "mount.exfat-fuse"],
};

const MAKE: Record<FileSystem, string[]> = {
  "ext4": ["mkfs.ext4", "-q", "-F"],
  "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
  "btrfs": ["mkfs.btrfs", "-q", "-f"],
  // EMLINK after 76 links with names of 200 characters in one directory.
  "btrfs-no-extref": ["mkfs.btrfs", "-q", "-f", "-O", "^extref"],
  "tmpfs": [],
  "overlay": [],
  "exfat": ["mkfs.exfat"],
};

/**
 * Makes a file system in a sparse image of `gigabytes`, mounts it, and gives the
 * mount point. Only inside a {@linkcode mountTest}.
 */
export async function makeFileSystem(
  dir: TempDir,
  kind: FileSystem,
  gigabytes = 2,
): Promise<string> {
  const at = dir.at(`${kind}-${crypto.randomUUID().slice(0, 8)}`);
  Deno.mkdirSync(at);
  if (kind === "tmpfs") {
    await must("mount", "-t", "tmpfs", "tmpfs", at);
    return at;
  }
  if (kind === "overlay") {
    const layers = await makeFileSystem(dir, "tmpfs");
    for (const name of ["lower", "upper", "work"]) {
      Deno.mkdirSync(`${layers}/${name}`);
    }
    const options =
      `lowerdir=${layers}/lower,upperdir=${layers}/upper,workdir=${layers}/work`;
    await must("mount", "-t", "overlay", "overlay", "-o", options, at);
    return at;
  }
  const image = `${at}.img`;
  using file = Deno.openSync(image, { write: true, create: true });
  file.truncateSync(gigabytes * 2 ** 30);
  await must(...MAKE[kind], image);
  if (kind === "exfat") {
    const device = (await must("losetup", "--show", "-f", image)).trim();
    await must("mount.exfat-fuse", device, at);
    await must("losetup", "-d", device); // goes with the mount
  } else {
    await must("mount", "-o", "loop", image, at);
  }
  return at;
}
