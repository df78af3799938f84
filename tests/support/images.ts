/** Disk images on macOS, each with a file system of its own. */

import { must, run } from "./command.ts";
import type { TempDir } from "./temp_dir.ts";

/** File systems by the names that hdiutil(1) has for them. */
export type ImageKind =
  | "APFS"
  | "Case-sensitive APFS"
  | "HFS+"
  | "ExFAT"
  | "MS-DOS";

/** Makes an image and mounts it; disposed, it is gone. */
export async function mountImage(
  dir: TempDir,
  kind: ImageKind,
  at: string = dir.at(`mounted ${kind}`),
): Promise<AsyncDisposable & { path: string }> {
  const image = dir.at(`${crypto.randomUUID()}.dmg`);
  const options = ["-size", "100m", "-fs", kind, "-volname", "TEST"];
  await must("hdiutil", "create", "-quiet", ...options, image);
  Deno.mkdirSync(at, { recursive: true });
  const mount = ["-nobrowse", "-mountpoint", at];
  await must("hdiutil", "attach", "-quiet", ...mount, image);
  return {
    path: Deno.realPathSync(at),
    async [Symbol.asyncDispose]() {
      await run(["hdiutil", "detach", "-quiet", "-force", at]);
      Deno.removeSync(image);
    },
  };
}
