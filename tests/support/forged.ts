/** What another writer of a shared cache can do to an archive by hand. */

import { createHash } from "node:crypto";
import { pathIn } from "./look.ts";

/** A directory, as a line of a manifest tells it. */
export interface Line {
  path: string | null;
  mode: number;
  files: [
    name: string,
    size: number,
    mode: number,
    digest: string,
    seconds: number,
    nanoseconds: number,
    group?: number,
  ][];
  links: [name: string, text: string, seconds?: number, nanoseconds?: number][];
  directories: string[];
  modified?: [seconds: number, nanoseconds: number];
}

/** The one archive of a cache. */
export function archiveIn(root: string): string {
  return pathIn(root, "/manifest").slice(0, -"/manifest".length);
}

/**
 * Rewrites the manifest of an archive, and each checksum in it, as somebody would who
 * knows the format.
 *
 * @param edit Changes the line of the top directory, or adds lines.
 */
export function forgeManifest(
  archive: string,
  edit: (top: Line, lines: Line[]) => void,
): void {
  const path = `${archive}/manifest`;
  const was = Deno.readTextFileSync(path);
  const [first, ...rest] = was.trimEnd().split("\n");
  const header = JSON.parse(first!);
  if (header.version !== 4) throw new Error(`"${path}" has another format`);
  rest.pop(); // the checksum
  const lines = rest.map(parse);
  // As it is written when nothing was forged: or the format is not known.
  if (manifest(header, lines) !== was) {
    throw new Error(`"${path}" is not known`);
  }
  const top = lines.find((line) => line.path === "");
  if (!top) throw new Error(`"${path}" does not tell of a directory`);
  edit(top, lines);
  Deno.chmodSync(path, 0o644);
  Deno.writeTextFileSync(path, manifest(header, lines));
}

function parse(line: string): Line {
  const [path, ...rest] = line.split("\t");
  return { path: JSON.parse(path!), ...JSON.parse(rest.join("\t")) };
}

function manifest(header: { digest: string }, lines: readonly Line[]): string {
  const listing = lines.map(({ path, mode, files, links, ...more }) => {
    const { directories, modified } = more;
    const rest = { mode, files, links, directories, modified };
    return `${JSON.stringify(path)}\t${JSON.stringify(rest)}\n`;
  }).join("");
  header.digest = sha256(
    lines.map(({ path, mode, files, links, directories }) => {
      const rest = {
        mode,
        files: files.map((file) => file.slice(0, 4)),
        links: links.map((link) => link.slice(0, 2)),
        directories,
      };
      return `${JSON.stringify(path)}\t${JSON.stringify(rest)}\n`;
    }).join(""),
  );
  const body = `${JSON.stringify(header)}\n${listing}`;
  return `${body}${sha256(body)}\n`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
