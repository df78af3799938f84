import { clearCache, linkFile, linkTree } from "../../mod.ts";
import { readContent } from "./model_content.ts";
import { SLOTS } from "./model_plan.ts";

/** The directory of one process of the model, which no other one uses. */
export class WorkDir {
  readonly path: string;
  /** What is put. */
  readonly source: string;
  /** Where something is got to, to be read. */
  readonly fresh: string;

  constructor(path: string) {
    this.path = path;
    this.source = `${path}/source`;
    this.fresh = `${path}/fresh`;
  }

  /** Where what was got is kept. */
  slot(name: string): string {
    return `${this.path}/${name}`;
  }

  /** Never half of it: a kill comes at any time. */
  remove(path: string): void {
    const gone = `${this.path}/gone`;
    try {
      Deno.removeSync(gone, { recursive: true });
    } catch { /* not there */ }
    try {
      Deno.renameSync(path, gone);
    } catch {
      return; // not there
    }
    Deno.removeSync(gone, { recursive: true });
  }

  /** What was got earlier is as it was, whatever became of the cache. */
  async keep(src: string, dst: string, mode: "hardlink" | "copy" | "remove") {
    if (isFileAt(src) === undefined) return { outcome: "nothing" };
    const { key, version, wrong: before } = readContent(src);
    if (mode === "remove" || src === dst) {
      this.remove(src);
      return { key, version, wrong: before, outcome: "removed" };
    }
    this.remove(dst);
    const link = isFileAt(src) ? linkFile : linkTree;
    await link(src, dst, { mode });
    const copy = readContent(dst);
    const wrong = [...before, ...copy.wrong];
    if (copy.version !== version) wrong.push(`${version}: ${copy.version}`);
    return { key, version, wrong, outcome: "linked" };
  }

  /** What a killed link left, the next one into the same place takes away. */
  async left(): Promise<string[]> {
    const places = ["fresh", ...SLOTS];
    const [tree, file] = [this.slot("a-tree"), this.slot("a-file")];
    Deno.mkdirSync(tree);
    Deno.writeTextFileSync(file, "file");
    for (const at of places.map((name) => this.slot(name))) {
      this.remove(at);
      await linkFile(file, at);
      this.remove(at);
      await linkTree(tree, at);
      await clearCache(at);
    }
    for (const name of ["source", "gone", "a-tree", "a-file"]) {
      this.remove(this.slot(name));
    }
    const known = ["a-tree", "a-file", "source", ...places];
    return namesBut(this.path, known.map((name) => `${name}.lock`));
  }
}

/** Whether there is a file, or a tree. */
export function isFileAt(path: string): boolean | undefined {
  try {
    return Deno.lstatSync(path).isFile;
  } catch {
    return undefined;
  }
}

/** Writes into what is somebody's own. Nobody else may see it. */
export function scribble(path: string): void {
  const file = isFileAt(path) ? path : `${path}/about`;
  using it = Deno.openSync(file, { read: true, write: true });
  it.writeSync(new TextEncoder().encode("scribbled"));
}

/** The names in a directory, except those that are known. */
export function namesBut(at: string, known: readonly string[] = []): string[] {
  return [...Deno.readDirSync(at)].map(({ name }) => name)
    .filter((name) => !known.includes(name));
}
