/**
 * What a link would do, for who only wants to know.
 *
 * @module
 */

import { kindOfError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { openParent } from "../fs/open.ts";
import { listWholeAtOnce } from "../fs/list.ts";
import { Breath } from "../os/patience.ts";
import {
  type BuildJob,
  type Built,
  descend,
  nothingBuilt,
  specialFile,
} from "./build.ts";

/**
 * Counts the files that a tree would have, without trying how they could get there.
 *
 * @throws {LinkError} If there is something in it that can't be linked.
 */
export async function previewTree(
  source: Directory,
  path: string,
  { include, exclude }: Pick<BuildJob, "include" | "exclude">,
  signal: AbortSignal | undefined,
): Promise<Built & { files: number }> {
  const built = { ...nothingBuilt(), files: 0 };
  const breath = new Breath(signal);
  const folders = [""];
  for (let folder; (folder = folders.pop()) !== undefined;) {
    using from = descend(source, folder);
    for (const { name, kind } of listWholeAtOnce(from)) {
      const pause = breath.due();
      if (pause) await pause;
      const below = `${folder}/${name}`;
      const isMatch = (it: RegExp) => it.test(below.slice(1));
      if (exclude.some(isMatch)) continue;
      if (kind === "directory") {
        built.directories++;
        folders.push(below);
      } else if (kind === "symlink") built.links++;
      else if (kind !== "file") {
        throw specialFile(pathIn(from, name), `${path}${below}`);
      } else if (include.length === 0 || include.some(isMatch)) {
        built.files++;
        built.bytes += from.look(name)?.size ?? 0;
      }
    }
  }
  return built;
}

/** Whether there is nothing yet that a path could be made in. */
export function lacksParent(path: string): boolean {
  try {
    using _ = openParent(path);
    return false;
  } catch (error) {
    if (kindOfError(error) === "not-found") return true;
    throw error;
  }
}
