import { removeTree } from "../old/remove.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { type Built, nothingBuilt, specialFile } from "./build.ts";
import { openCloner } from "./clone.ts";
import { verdict } from "./ladder.ts";
import type { LinkTreeOptions } from "./options.ts";

/**
 * Clones a whole tree by one call, where there is one (macOS: clonefile(2)), and
 * all of it is wanted.
 *
 * @param destination Where it is built; it does not exist.
 * @returns What was cloned. If it is `undefined`, nothing was, and the ladder shall
 * find out file by file what works.
 */
export async function cloneTree(
  source: string,
  destination: string,
  options: LinkTreeOptions,
): Promise<Built | undefined> {
  const { mode = "auto", include, exclude, mutable } = options;
  if (Deno.build.os !== "darwin") return undefined;
  if (mode !== "auto" && mode !== "clone") return undefined;
  if (include?.length || exclude?.length || mutable?.length) return undefined;
  using cloner = openCloner();
  if (!cloner) return undefined;
  try {
    const info = Deno.lstatSync(source);
    patiently(() => cloner.clone(source, destination, info));
  } catch (error) {
    await removeTree(destination, { busyTimeout: 1000 });
    if (verdict("clone", errorKind(error)) === "stop") throw error;
    log.debug(() =>
      `Cloning "${source}" file by file, since not at once: ${
        osErrorText(error)
      }`
    );
    return undefined;
  }
  const built = count(source, destination);
  const { cloned: files, directories, bytes } = built;
  options.onProgress?.({ files, directories: directories + 1, bytes });
  return built;
}

function count(source: string, destination: string): Built {
  const built = nothingBuilt();
  const open = [""];
  for (let directory; (directory = open.pop()) !== undefined;) {
    for (const entry of Deno.readDirSync(destination + directory)) {
      const path = `${directory}/${entry.name}`;
      if (entry.isDirectory) {
        built.directories++;
        open.push(path);
      } else if (entry.isSymlink) built.links++;
      else if (entry.isFile) {
        built.cloned++;
        built.bytes += Deno.lstatSync(destination + path).size;
      } else throw specialFile(source + path, destination + path);
    }
  }
  return built;
}
