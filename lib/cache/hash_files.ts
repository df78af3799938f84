import { CacheError, kindOfError, osFailure } from "../error.ts";
import type { Entry } from "../fs/directory.ts";
import { parseSiblingName } from "../fs/names.ts";
import { openDirectory, openParent } from "../fs/open.ts";
import {
  checkOptions,
  checkPath,
  checkSignal,
  checkTexts,
  checkType,
} from "../os/arguments.ts";
import { isAbsolute, toPath } from "../os/path.ts";
import { Breath, patiently } from "../os/patience.ts";
import { sha256 } from "../os/sha256.ts";
import { printable } from "../os/text.ts";
import { digestOfFile, type ReadOptions } from "./content.ts";
import { failure } from "./root.ts";

/**
 * Options for `hashFiles()`.
 *
 * @category Keyed cache
 */
export interface HashFilesOptions {
  /**
   * The directory that globs, and the names that are hashed, begin at.
   *
   * @default {"."}
   */
  root?: string | URL;
  /**
   * Files and directories that `*`, `**` and the like pass over, with all that is in
   * them: what is made from the files that are hashed, and caches. A glob that names
   * them hashes what is in them.
   *
   * @default {[]}
   */
  except?: readonly (string | URL)[];
  /** Stops the work: the promise is rejected with its reason. */
  signal?: AbortSignal;
  /** Called after each file, and each MiB of a large one, with how far it is. */
  onProgress?: (progress: HashFilesProgress) => void;
}

/**
 * How far `hashFiles()` is.
 *
 * @category Keyed cache
 */
export interface HashFilesProgress {
  /** Files that were read. */
  readonly files: number;
  /** Bytes of them that were read. */
  readonly bytes: number;
  /** Files that there are to read. */
  readonly totalFiles: number;
}

/**
 * A digest of files: what a key of a cache is made of, so that it changes when one of
 * them does.
 *
 * The names of the files below the root, with `/` on every platform, and what is in them
 * are hashed; not their times, modes and owners, nor where the root is. A file that
 * several globs match counts once. A symbolic link to a file is hashed as that file; to
 * a directory, it is not followed by `*` and `**`, nor do those match what is not in its
 * place yet, or garbage: stagings (`<name>.partial-…`) and asides (`<name>.stale-…`).
 *
 * Needs `--allow-read` for the root, and for what symbolic links lead to.
 *
 * @param globs Which files: `*`, `?`, `[…]`, `{…}` (with no slash in it), and `**` for
 * any number of directories. With a `!` in front, files and directories that are left
 * out, whatever else matches them.
 * @param options The root, what is passed over, and a signal.
 * @returns A SHA-256 in 64 lowercase hexadecimal digits.
 * @throws {CacheError} If something can't be read; of kind `not-found` if a glob matches
 * no file.
 * @throws {TypeError} Without a glob, or if an argument is of another type.
 *
 * @example A key that changes with the lockfiles
 * ```ts
 * import { hashFiles } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const root = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${root}/package-lock.json`, "{}");
 *
 * const key = `npm-${await hashFiles(["package-lock.json"], { root })}`;
 *
 * assertEquals(key.length, 68);
 * await Deno.remove(root, { recursive: true });
 * ```
 *
 * @category Keyed cache
 */
export async function hashFiles(
  globs: readonly string[],
  options: HashFilesOptions = {},
): Promise<string> {
  checkOptions(options);
  const { signal, root = ".", except = [], onProgress } = options;
  checkPath("root", root);
  checkSignal(signal);
  checkType("onProgress", onProgress, "function");
  checkGlobs(globs);
  signal?.throwIfAborted();
  // On Windows a backslash is no escape: it stands between names there.
  const slashes = globs.map(slashed);
  const wanted = slashes.filter((glob) => !glob.startsWith("!"));
  const unwanted = slashes.flatMap((glob) =>
    glob.startsWith("!") ? glob.slice(1) : []
  );
  const passed = new Set(except.map((it) => toPath(it)));
  const finder = await Finder.make(toPath(root), unwanted, passed, signal);
  for (const glob of wanted) await finder.find(glob);
  const lines: string[] = [];
  const totalFiles = finder.files.size;
  let [files, bytes] = [0, 0];
  const onRead = (more: number, file: number) => {
    files += file;
    bytes += more;
    onProgress?.({ files, bytes, totalFiles });
  };
  const breath = new Breath(signal);
  // By code unit, which is the same everywhere.
  for (const name of [...finder.files.keys()].sort()) {
    const pause = breath.due();
    if (pause) await pause;
    const digest = await digestAt(finder.files.get(name)!, signal, onRead);
    lines.push(`${JSON.stringify(name)} ${digest}\n`);
  }
  return await sha256(lines.join(""));
}

function checkGlobs(globs: readonly string[]): void {
  checkTexts("globs", globs ?? null);
  const isNone = globs.every((glob) => glob.startsWith("!"));
  if (!isNone && !globs.some((glob) => /^!?$/.test(glob))) return;
  throw new TypeError(
    `hashFiles() takes one glob or more, none of them empty: ${
      JSON.stringify(globs)
    }`,
  );
}

async function digestAt(
  path: string,
  signal: AbortSignal | undefined,
  onRead: ReadOptions["onRead"],
): Promise<string> {
  try {
    // A link stands for the file that it leads to.
    using place = openParent(patiently(() => realFile(path)));
    using file = patiently(() => place.parent.openFile(place.name, "read"));
    return await digestOfFile(file, signal, onRead);
  } catch (error) {
    if (signal?.aborted && error === signal.reason) throw error;
    throw failure("hash", path, error);
  }
}

function realFile(path: string): string {
  return Deno.lstatSync(path).isSymlink ? Deno.realPathSync(path) : path;
}

type GlobToRegExp =
  typeof import("@std/path/posix/glob-to-regexp").globToRegExp;

const isWindows = Deno.build.os === "windows";

/** What is in a segment that is not just a name. */
const MAGIC = /[*?[\]{}()!+@|\\]/;

class Finder {
  /** The paths of the files that were found, by their names for the digest. */
  readonly files = new Map<string, string>();
  readonly #root: string;
  readonly #unwanted: readonly RegExp[];
  readonly #passed: ReadonlySet<string>;
  readonly #toRegExp: GlobToRegExp;
  readonly #breath: Breath;
  readonly #signal: AbortSignal | undefined;
  /** Directories that were seen with the same rest of the glob. */
  #seen = new Set<string>();

  private constructor(
    root: string,
    unwanted: readonly string[],
    passed: ReadonlySet<string>,
    toRegExp: GlobToRegExp,
    signal: AbortSignal | undefined,
  ) {
    this.#root = root;
    this.#passed = passed;
    this.#toRegExp = toRegExp;
    this.#signal = signal;
    this.#breath = new Breath(signal);
    this.#unwanted = unwanted.map((glob) =>
      toRegExp(
        (isAbsolute(glob) && !/^[A-Za-z]:/.test(glob) ? "/" : "") +
          segmentsOf(glob).join("/"),
        { globstar: true },
      )
    );
  }

  static async make(
    root: string,
    unwanted: readonly string[],
    passed: ReadonlySet<string>,
    signal: AbortSignal | undefined,
  ): Promise<Finder> {
    // Only who uses globs needs it.
    const { globToRegExp } = await import("@std/path/posix/glob-to-regexp");
    return new Finder(root, unwanted, passed, globToRegExp, signal);
  }

  /** Finds the files that a glob matches. */
  async find(glob: string): Promise<void> {
    this.#seen = new Set();
    const isPath = isAbsolute(glob);
    const found = await this.#below(
      isPath ? rootOf(glob) : this.#root,
      isPath ? rootOf(glob) : "",
      segmentsOf(isPath ? glob.slice(rootOf(glob).length) : glob),
    );
    if (found) return;
    throw new CacheError(
      `Cannot hash "${printable(glob)}": it matches no file in "${this.#root}"`,
      this.#root,
      "not-found",
    );
  }

  /** Whether there is such a file in a directory, or below. */
  async #below(
    path: string,
    name: string,
    segments: readonly string[],
  ): Promise<boolean> {
    const [first, ...rest] = segments;
    if (first === undefined) return false;
    const key = `${segments.length} ${path}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    this.#signal?.throwIfAborted();
    const pause = this.#breath.due();
    if (pause) await pause;
    if (!MAGIC.test(first)) {
      const kind = kindAt(join(path, first));
      return kind !== undefined &&
        await this.#step(path, name, { name: first, kind }, rest);
    }
    let found = false;
    const isAny = first === "**";
    // It may stand for no directory at all.
    if (isAny && rest.length > 0) found = await this.#below(path, name, rest);
    const pattern = isAny ? undefined : this.#toRegExp(first);
    for (const entry of listAt(path)) {
      if (pattern && !pattern.test(entry.name)) continue;
      if (this.#isPassed(path, entry.name)) continue;
      // What is below a directory may match the same glob again.
      const next = isAny && entry.kind === "directory" ? segments : rest;
      if (isAny && next === rest && rest.length > 0) continue;
      found = await this.#step(path, name, entry, next) || found;
    }
    return found;
  }

  async #step(
    path: string,
    name: string,
    entry: Entry,
    rest: readonly string[],
  ): Promise<boolean> {
    const at = join(path, entry.name);
    const called = name === "" ? entry.name : join(name, entry.name);
    const names = [this.#nameOf(at, called), slashed(at)];
    if (this.#unwanted.some((it) => names.some((name) => it.test(name)))) {
      return false;
    }
    if (rest.length > 0) {
      return entry.kind === "directory" && await this.#below(at, called, rest);
    }
    if (entry.kind === "directory" || leadsToDirectory(at, entry)) return false;
    this.files.set(names[0]!, at);
    return true;
  }

  #isPassed(path: string, name: string): boolean {
    const kind = parseSiblingName(name)?.kind;
    return kind === "partial" || kind === "stale" ||
      this.#passed.size > 0 && this.#passed.has(toPath(join(path, name)));
  }

  /** What lies below the root has the same name however it was asked for. */
  #nameOf(path: string, called: string): string {
    const [root, at] = [slashed(join(this.#root, "")), slashed(path)];
    const isBelow = isWindows
      ? at.toLowerCase().startsWith(root.toLowerCase())
      : at.startsWith(root);
    return isBelow ? at.slice(root.length) : slashed(called);
  }
}

/** A glob's parts, without those that mean nothing. */
function segmentsOf(glob: string): string[] {
  const all = glob.split("/").filter((it) => it !== "" && it !== ".");
  return all.filter((it, i) => it !== "**" || all[i - 1] !== "**");
}

/** What an absolute path begins with; of a share on Windows, `//server/share/`. */
function rootOf(path: string): string {
  const share = isWindows && /^\/\/[^/]+\/[^/]+\//.exec(path);
  return share ? share[0] : /^(?:[A-Za-z]:)?\//.exec(path)![0];
}

function join(path: string, name: string): string {
  return path.endsWith("/") ? path + name : `${path}/${name}`;
}

function slashed(path: string): string {
  return isWindows ? path.replaceAll("\\", "/") : path;
}

function listAt(path: string): Entry[] {
  try {
    using directory = patiently(() => openDirectory(path));
    return patiently(() => directory.list());
  } catch (error) {
    throw osFailure("list", path, error);
  }
}

/** What is at a path that the user wrote: there, links are followed to directories. */
function kindAt(path: string): Entry["kind"] | undefined {
  try {
    const { isDirectory, isFile } = patiently(() => Deno.statSync(path));
    return isDirectory ? "directory" : isFile ? "file" : "other";
  } catch (error) {
    const kind = kindOfError(error);
    if (kind === "not-found" || kind === "not-directory") return undefined;
    throw osFailure("look at", path, error);
  }
}

function leadsToDirectory(path: string, { kind }: Entry): boolean {
  if (kind !== "symlink") return false;
  try {
    return patiently(() => Deno.statSync(path)).isDirectory;
  } catch (error) {
    throw osFailure("follow", path, error);
  }
}
