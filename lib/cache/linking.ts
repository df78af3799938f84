/**
 * Until `link/tree.ts` has `copyTreeInto`.
 *
 * @module
 */

import { pathIn } from "../fs/directory.ts";
import type { Place } from "../fs/swap.ts";
import { linkFileHeld } from "../link/file.ts";
import { linkHeld } from "../link/tree.ts";

/** Makes a private copy of a tree or a file in a directory that is held open. */
export async function copyTreeInto(
  source: Place,
  destination: Place,
  options: { signal?: AbortSignal; onProgress?: (progress: unknown) => void } =
    {},
): Promise<void> {
  const path = pathIn(destination.parent, destination.name);
  if (source.parent.look(source.name)?.kind === "directory") {
    await linkHeld(source, path, { mutable: ["**"], ...options });
  } else await linkFileHeld(source, path, { mutable: true, ...options });
}
