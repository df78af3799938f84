import { type Directory, pathIn } from "../fs/directory.ts";
import { openDirectory } from "../fs/open.ts";
import { removeTree } from "../fs/remove.ts";
import { TREE } from "../fs/staging.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { cloneOnMacos, hasMacosCalls } from "../os/macos.ts";
import { patiently } from "../os/patience.ts";
import { type Built, nothingBuilt, specialFile } from "./build.ts";
import { verdict } from "./ladder.ts";
import { dropPower } from "./place.ts";
import type { LinkTreeOptions } from "./options.ts";

/**
 * Clones a whole tree by one call, where there is one (macOS: clonefile(2)), and
 * all of it is wanted.
 *
 * @param tree The path of what is made, which does not exist.
 * @returns What was cloned. If it is `undefined`, nothing was, and the ladder shall
 * find out file by file what works.
 */
export async function cloneTree(
  source: string,
  staging: Directory,
  tree: string,
  options: LinkTreeOptions,
): Promise<Built | undefined> {
  const { mode = "auto", include, exclude, mutable } = options;
  if (!hasMacosCalls()) return undefined;
  if (mode === "hardlink" || mode === "symlink" || mode === "copy") {
    return undefined;
  }
  if (include?.length || exclude?.length || mutable?.length) return undefined;
  try {
    patiently(() => cloneOnMacos(source, tree, "all"));
  } catch (error) {
    await removeTree(staging, TREE, { busyTimeout: 1000 });
    if (verdict("clone", errorKind(error)) === "stop") throw error;
    log.debug(() =>
      `Cloning "${source}" file by file, since not at once: ${
        osErrorText(error)
      }`
    );
    return undefined;
  }
  const built = nothingBuilt();
  using directory = staging.open(TREE);
  count(directory, source, built);
  const { cloned: files, directories, bytes } = built;
  options.onProgress?.({ files, directories: directories + 1, bytes });
  return built;
}

function count(directory: Directory, source: string, built: Built): void {
  for (const { name, kind } of directory.list()) {
    if (kind === "directory") {
      built.directories++;
      using inner = directory.open(name);
      count(inner, `${source}/${name}`, built);
    } else if (kind === "symlink") built.links++;
    else if (kind === "file") {
      const made = directory.look(name);
      built.cloned++;
      built.bytes += made?.size ?? 0;
      if (made && made.mode & 0o6000) {
        using from = openDirectory(source);
        const status = from.look(name);
        if (status) dropPower(status, directory, name, "all");
      }
    } else throw specialFile(`${source}/${name}`, pathIn(directory, name));
  }
}
