import { lstatSync } from "node:fs";
import { run } from "./command.ts";

/** What stands at each path below a directory (which is `""`), in words. */
export type Look = Record<string, string>;

/** How closely to look: also at owner, times, links and inodes' other properties. */
export type Closeness = "content" | "everything";

/** Looks at a file or a tree. Nothing there: `{}`. */
export function look(root: string, closeness: Closeness = "content"): Look {
  const found: Look = {};
  const visit = (path: string, name: string) => {
    const info = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (!info) return;
    const what = [(info.mode & 0o7777n).toString(8)];
    if (closeness === "everything") {
      const { uid, gid, nlink, mtimeNs } = info;
      what.push(`${uid}:${gid}`, `${nlink} links`, `${mtimeNs}`);
    }
    if (info.isSymbolicLink()) what.push(`to ${Deno.readLinkSync(path)}`);
    else if (info.isFile()) what.push(`file ${Deno.readTextFileSync(path)}`);
    else if (info.isDirectory()) {
      what.push("directory");
      for (const entry of Deno.readDirSync(path)) {
        visit(
          `${path}/${entry.name}`,
          name ? `${name}/${entry.name}` : entry.name,
        );
      }
    } else what.push("something else");
    found[name] = what.join(" ");
  };
  visit(root, "");
  return found;
}

/** All that can be known of a tree, extended attributes included. */
export async function lookAtAll(root: string): Promise<Look> {
  const found = look(root, "everything");
  const { stdout } = await run([
    ...["getfattr", "-Rhd", "-m", "-", "--absolute-names", root],
  ]);
  return { ...found, "extended attributes": stdout };
}

/** Whether two looks are the same. */
export function same(one: Look, other: Look): boolean {
  return difference(one, other) === undefined;
}

/** The first thing that is not the same. */
export function difference(is: Look, should: Look): string | undefined {
  for (const path of new Set([...Object.keys(is), ...Object.keys(should)])) {
    if (is[path] !== should[path]) {
      return `"${path}" is ${is[path]}, not ${should[path]}`;
    }
  }
  return undefined;
}
