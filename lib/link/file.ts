import { log } from "../log.ts";
import { siblingPath } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { dirname, fromFileUrl, resolve } from "../os/path.ts";
import { openCloner } from "./clone.ts";
import { LinkError, linkFailure } from "./error.ts";
import { type LinkMode, pairState } from "./ladder.ts";
import {
  type LinkFileOptions,
  type LinkFileReport,
  placeOptions,
} from "./options.ts";
import { noCounts, placeVia } from "./place.ts";

/**
 * Puts a cached file where it is needed, as cheaply as the file systems allow: by
 * a clone, a hard link, a symbolic link or a copy.
 *
 * The file appears whole or not at all, and nothing is ever written through what
 * stands at the destination: a hard link to a file elsewhere stays as it is. Mode
 * and modification time (to the millisecond) are kept. An empty file is made, not
 * linked.
 *
 * Needs `--allow-read` and `--allow-write` for both; with `symlink`, for
 * everything (Deno asks for that). Clones need `--allow-ffi`.
 *
 * @param src The cached file.
 * @param dst Where it should be. Its directory must exist.
 * @param options How to put it there.
 * @returns How it was put there.
 * @throws {LinkError} If it could not be, or, with `ifExists: "error"`, something
 * stands there (`kind` is `already-exists`).
 *
 * @example Linking a file
 * ```ts
 * import { linkFile } from "@rebuild/cache";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${dir}/cached`, "content");
 *
 * const { mode } = await linkFile(`${dir}/cached`, `${dir}/here`, {
 *   mode: "hardlink",
 * });
 *
 * assertEquals(mode, "hardlink");
 * assertEquals(await Deno.readTextFile(`${dir}/here`), "content");
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
// deno-lint-ignore require-await -- so that errors are rejections, as of linkTree
export async function linkFile(
  src: string | URL,
  dst: string | URL,
  options: LinkFileOptions = {},
): Promise<LinkFileReport> {
  const source = toPath(src);
  const destination = toPath(dst);
  const { ifExists = "error" } = options;
  const existing = lookAt(destination, source, destination);
  if (existing && ifExists === "skip") {
    return { mode: "skipped", replaced: false, reset: false };
  }
  if (existing && ifExists === "error") throw taken(source, destination);
  if (existing?.isDirectory) {
    throw new LinkError(
      `Cannot replace "${destination}": it is a directory, and "${source}" is a file`,
      source,
      destination,
      "is-directory",
    );
  }
  const info = lookAt(source, source, destination);
  if (!info?.isFile) throw notAFile(source, destination, info);

  const temporary = siblingPath(destination, "partial");
  const counts = noCounts();
  const parent = lookAt(dirname(destination), source, destination);
  const place = placeOptions(options);
  const clones = place.mode === "auto" || place.mode === "clone";
  using cloner = clones ? openCloner() : undefined;
  const context = {
    options: place,
    pair: pairState(new Map(), info.dev, parent?.dev ?? -1),
    counts,
    cloner,
  };
  const publish = ifExists === "replace"
    ? () => patiently(() => Deno.renameSync(temporary, destination))
    : () => publishNew(temporary, source, destination);
  let mode: LinkMode | undefined;
  try {
    const { mutable = false } = options;
    mode = placeVia(temporary, publish, source, info, mutable, context);
  } catch (error) {
    const known = error instanceof LinkError;
    if (known && error.kind === "already-exists") throw error;
    throw new LinkError(
      `Cannot put "${source}" at "${destination}": ${
        osErrorText(known ? error.cause ?? error : error)
      }`,
      source,
      destination,
      known ? error.kind : errorKind(error),
      error,
    );
  }
  for (const { from, reason } of counts.fallbacks.values()) {
    log.debug(() => `No ${from} of "${source}" to "${destination}": ${reason}`);
  }
  return {
    mode: mode ?? "created",
    replaced: existing !== undefined,
    reset: counts.reset > 0,
  };
}

/** A path as it is given to the OS: absolute, since a working directory may change. */
export function toPath(path: string | URL): string {
  return path instanceof URL ? fromFileUrl(path) : resolve(path);
}

/** What `lstat` says, or `undefined` if there is nothing. */
export function lookAt(
  path: string,
  source: string,
  destination: string,
): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (errorKind(error) === "not-found") return undefined;
    throw linkFailure(`Cannot look at "${path}"`, source, destination, error);
  }
}

/** The error that something stands there. */
export function taken(source: string, destination: string): LinkError {
  return new LinkError(
    `Cannot link "${source}" to "${destination}": something stands there. Say what to do with --if-exists (ifExists)`,
    source,
    destination,
    "already-exists",
  );
}

function notAFile(
  source: string,
  destination: string,
  info: Deno.FileInfo | undefined,
): LinkError {
  const [what, kind] = !info
    ? ["it does not exist", "not-found"] as const
    : info.isDirectory
    ? ["it is a directory", "is-directory"] as const
    : ["it is not a regular file", "unsupported"] as const;
  return new LinkError(
    `Cannot link "${source}": ${what}`,
    source,
    destination,
    kind,
  );
}

/**
 * Gives the file its name only if nothing stands there: a link fails then, where a
 * rename would replace. Where there are no links, a look must do.
 */
function publishNew(
  temporary: string,
  source: string,
  destination: string,
): void {
  try {
    patiently(() => Deno.linkSync(temporary, destination));
  } catch (error) {
    if (errorKind(error) === "already-exists") throw taken(source, destination);
    if (lookAt(destination, source, destination)) {
      throw taken(source, destination);
    }
    patiently(() => Deno.renameSync(temporary, destination));
  }
}
