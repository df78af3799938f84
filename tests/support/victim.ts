/** In each file of a victim, and nowhere else. */
const SECRET = "a secret of somebody else";

/** Long enough ago that reading notes the time, but where it never does (mount(8), noatime). */
const LONG_AGO = new Date("2001-01-01");

/** Who owns things. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** What must stay as it is. */
type Seen = Omit<Deno.FileInfo, "atime">;

/**
 * A directory that nobody but its owner may enter, and that nothing may touch: it has
 * the names of the trees that the tests clear, link and merge, so that whoever is led
 * into it finds what it looks for.
 */
export class Victim {
  readonly path: string;
  readonly #owner: User;
  readonly #seen = new Map<string, Seen>();

  constructor(path: string, owner: User) {
    this.path = path;
    this.#owner = owner;
    this.#make();
  }

  #make(): void {
    const { path } = this;
    const { uid, gid } = this.#owner;
    const directories = [path, `${path}/tree`];
    for (let i = 0; i < 70; i++) directories.push(`${path}/${i}`);
    for (let i = 0; i < 12; i++) directories.push(`${path}/tree/${i}`);
    const files = directories.map((directory) => `${directory}/file`);
    // What a staging has.
    files.push(`${path}/.lock`);
    for (const it of directories) Deno.mkdirSync(it, { mode: 0o700 });
    for (const it of files) Deno.writeTextFileSync(it, SECRET, { mode: 0o600 });
    const all = [...directories, ...files];
    const now = new Date();
    for (const it of all) {
      Deno.chownSync(it, uid, gid);
      Deno.utimeSync(it, LONG_AGO, now);
    }
    this.#seen.clear();
    for (const it of all) this.#seen.set(it, Deno.lstatSync(it));
  }

  /**
   * What was done to it, in words; nothing if it is as it was. What was made in a
   * directory shows in the directory's times. A victim that was harmed is made anew.
   */
  async harm(): Promise<string[]> {
    // From within, where one sees best what was done.
    const harm = [...this.#seen].reverse().flatMap(([path, was]) => {
      const what = difference(path, was);
      return what === undefined ? [] : [`"${path}" ${what}`];
    });
    if (harm.length > 0) {
      await Deno.remove(this.path, { recursive: true });
      this.#make();
    }
    return harm;
  }
}

const KEPT = ["ino", "mode", "uid", "gid"] as const;

function difference(path: string, was: Seen): string | undefined {
  let is: Deno.FileInfo;
  try {
    is = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "is gone";
    throw error;
  }
  for (const name of KEPT) {
    if (is[name] === was[name]) continue;
    const [from, to] = [was[name], is[name]].map((it) =>
      name === "mode" ? it?.toString(8) : it
    );
    return `has another ${name}: ${to} instead of ${from}`;
  }
  // The number of links, too, changes the latter.
  if (Number(is.mtime) !== Number(was.mtime)) return "was written to";
  if (Number(is.ctime) !== Number(was.ctime)) return "was changed";
  if (is.atime?.getTime() === LONG_AGO.getTime()) return undefined;
  return is.isDirectory ? "was listed" : "was read";
}

/** Files below a directory that hold something of a victim. */
export function leaks(directory: string): string[] {
  const found: string[] = [];
  for (const { name, isDirectory, isFile } of Deno.readDirSync(directory)) {
    const path = `${directory}/${name}`;
    if (isDirectory) found.push(...leaks(path));
    else if (isFile && Deno.readTextFileSync(path).includes(SECRET)) {
      found.push(`"${path}" holds what only the victim may read`);
    }
  }
  return found;
}
