import { must } from "./command.ts";

// A path of so many levels is longer than any call takes: one step at a time.
const MAKE = `
import os, sys
root, levels, trees, owner = sys.argv[1], *map(int, sys.argv[2:])
os.mkdir(root)
os.chown(root, owner, owner)
os.setgid(owner)
os.setuid(owner)
for tree in range(trees):
    os.chdir(root)
    os.mkdir(f"tree{tree}")
    os.chdir(f"tree{tree}")
    for level in range(levels):
        os.mkdir("d")
        os.chdir("d")
        if level % 500 == 0 or level == levels - 1:
            with open("file", "w") as file:
                file.write(str(level))
`;

const DEPTHS = `
import os, sys
for tree in sorted(os.listdir(sys.argv[1])):
    os.chdir(sys.argv[1])
    os.chdir(tree)
    level = 0
    while os.path.isdir("d"):
        os.chdir("d")
        level += 1
    print(level, open("file").read())
`;

/** Trees side by side, each of so many nested directories. */
export interface Deep {
  levels: number;
  trees: number;
}

/** Makes a directory with deep trees, with a file at the bottom and some between. */
export async function makeDeep(
  root: string,
  { levels, trees }: Deep,
  owner = 0,
): Promise<void> {
  const numbers = [levels, trees, owner].map(String);
  await must("python3", "-c", MAKE, root, ...numbers);
}

/** How deep the trees are, each with what the file at the bottom says. */
export async function depths(root: string): Promise<string[]> {
  const lines = (await must("python3", "-c", DEPTHS, root)).trim().split("\n");
  return [...new Set(lines)];
}
