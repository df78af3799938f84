// Stand-in for @std/fs/walk: see scripts/deno.
export interface WalkEntry extends Deno.DirEntry {
  path: string;
}
export interface WalkOptions {
  followSymlinks?: false;
}

export function* walkSync(
  root: string,
  options: WalkOptions = {},
): Generator<WalkEntry> {
  const { isFile, isDirectory, isSymlink } = Deno.lstatSync(root);
  const name = root.replace(/.*[\\/]/s, "");
  yield { path: root, name, isFile, isDirectory, isSymlink };
  for (const entry of Deno.readDirSync(root)) {
    const path = `${root}/${entry.name}`;
    if (entry.isDirectory) yield* walkSync(path, options);
    else yield { path, ...entry };
  }
}
