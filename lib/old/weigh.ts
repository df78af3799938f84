import { join } from "../os/path.ts";

type Kind = Pick<Deno.DirEntry, "isDirectory" | "isFile">;

/**
 * The bytes of a tree, each file counted once, and how many of them the file system
 * gets back when the tree goes: those of files that have no name elsewhere.
 */
export function weigh(root: string): { bytes: number; freed: number } {
  let [bytes, freed] = [0, 0];
  const names = new Map<string, number>();
  const count = (path: string) => {
    const { dev, ino, nlink, size } = Deno.lstatSync(path);
    const inode = `${dev}:${ino}`;
    const seen = (names.get(inode) ?? 0) + 1;
    if ((nlink ?? 1) > 1) names.set(inode, seen);
    if (seen === 1) bytes += size;
    if (seen === (nlink ?? 1)) freed += size;
  };
  const open: string[] = [];
  const look = (path: string, { isDirectory, isFile }: Kind) => {
    if (isDirectory) open.push(path);
    else if (isFile) count(path);
  };
  look(root, Deno.lstatSync(root)); // not what a link leads to
  for (let path; (path = open.pop()) !== undefined;) {
    for (const entry of Deno.readDirSync(path)) {
      look(join(path, entry.name), entry);
    }
  }
  return { bytes, freed };
}
