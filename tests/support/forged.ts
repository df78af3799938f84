/** What another writer of a shared cache can do to an archive by hand. */

import { createHash } from "node:crypto";
import { pathIn } from "./look.ts";

/** A directory, as a line of a manifest tells it. */
export interface Line {
  path?: string;
  mode?: number;
  files: [name: string, size: number, mode: number, digest: string][];
  links: [name: string, text: string][];
  directories: string[];
}

/** The one archive of a cache. */
export function archiveIn(root: string): string {
  return pathIn(root, "/manifest").slice(0, -"/manifest".length);
}

/**
 * Rewrites the manifest of an archive, and its digest with it, as somebody would who
 * knows the format.
 *
 * @param edit Changes the line of the top directory, or adds lines.
 */
export function forgeManifest(
  archive: string,
  edit: (top: Line, lines: Line[]) => void,
): void {
  const path = `${archive}/manifest`;
  const [header, ...rest] = Deno.readTextFileSync(path).trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  const top = rest.find((line: Line) => line.path === "");
  if (!top) throw new Error(`"${path}" does not tell of a directory`);
  edit(top, rest);
  const lines = rest.map((line) => JSON.stringify(line));
  const hash = createHash("sha256");
  for (const line of lines) hash.update(`${line}\n`);
  header.digest = hash.digest("hex");
  const text = [JSON.stringify(header), ...lines, ""].join("\n");
  Deno.chmodSync(path, 0o644);
  Deno.writeTextFileSync(path, text);
}
