/**
 * Puts a tree of which a cache has most files already: they are linked, not copied.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { Keeper } from "../fs/fidelity.ts";
import type { Place } from "../fs/open.ts";
import type { ListedFile } from "../link/listing.ts";
import { Candidate, placeFile } from "../link/place.ts";
import { noCounts } from "../link/report.ts";
import { placeOptions } from "../link/options.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { Breath, patiently } from "../os/patience.ts";
import { assemble, type Wanted } from "./assemble.ts";
import type { CommitOptions } from "./archive.ts";
import { type Content, digester, type DigestIn, readTree } from "./content.ts";
import { ContentStore } from "./content_store.ts";
import { namesIn } from "./root.ts";
import type { Slot } from "./store.ts";
import { NotKept } from "./walk.ts";

/** So many files are looked at before it is decided whether this pays. */
const SAMPLE = 256;

/** It does not pay, or did not work: then all is copied, which says what is wrong. */
class Otherwise extends Error {}

/**
 * Reads the source, and makes the archive's tree of what is stored and of copies of the
 * rest.
 *
 * @returns What it has in it; `undefined` if too little of it is known here, or if it
 * changes meanwhile: then nothing is in the slot that was not before, except perhaps a
 * tree to be removed.
 */
export async function putKnown(
  { root, directory: slot }: Slot,
  source: Place,
  options:
    & { signal?: AbortSignal | undefined }
    & Pick<
      CommitOptions,
      "onProgress"
    >,
): Promise<Content | undefined> {
  if (Deno.build.os === "windows") return undefined; // junctions
  const { signal, onProgress } = options;
  const files = root.ifThere("files");
  if (!files || namesIn(files).length === 0) return undefined;
  using store = new ContentStore(root, slot);
  const breath = new Breath(signal);
  let [seen, known] = [0, 0];
  const onFile = (digest: string, mode: number, size: number) => {
    if (size === 0 || seen === SAMPLE) return;
    if (store.has(digest, mode, size)) known++;
    if (++seen === SAMPLE && known * 2 < seen) throw new Otherwise();
  };
  const told = { files: 0, bytes: 0 };
  const onRead = onProgress && ((bytes: number, more: 0 | 1) => {
    told.files += more;
    told.bytes += bytes;
    onProgress({ phase: "hashing", ...told });
  });
  try {
    const { parent, name } = source;
    if (parent.look(name)?.kind !== "directory") return undefined;
    const how = { signal, onFile, onRead, isSource: true } as const;
    const content = await readTree(parent, name, how);
    if (known * 2 < seen) return undefined;
    const copier = await Copier.open(source, options);
    using _ = copier;
    const total = { totalFiles: content.files, totalBytes: content.bytes };
    const done = { files: 0, bytes: 0 };
    const onPlaced = onProgress && (([, size]: ListedFile) => {
      done.files++;
      done.bytes += size;
      onProgress({ phase: "copying", ...done, ...total });
    });
    const provide = copier.provide;
    const { lines } = content;
    const made = await assemble(slot, lines, store, provide, breath, onPlaced);
    return { ...content, diskBytes: made.diskBytes, ownBytes: made.ownBytes };
  } catch (error) {
    if (signal?.aborted && error === signal.reason) throw error;
    // What can't be read is an error, even if it could be the next time.
    const isOurs = error instanceof CacheError && !(error instanceof NotKept);
    if (isOurs && !(error.cause instanceof Otherwise)) throw error;
    log.debug(() =>
      `"${pathIn(source.parent, source.name)}" is copied: ${osErrorText(error)}`
    );
    return undefined;
  }
}

/** Copies files of a source, and checks that they are what was read before. */
class Copier implements Disposable {
  readonly #top: Directory;
  readonly #digestIn: DigestIn;
  readonly #signal: AbortSignal | undefined;
  #folder: { path: string; directory: Directory } | undefined;

  private constructor(
    top: Directory,
    digestIn: DigestIn,
    signal: AbortSignal | undefined,
  ) {
    this.#top = top;
    this.#digestIn = digestIn;
    this.#signal = signal;
  }

  static async open(
    { parent, name }: Place,
    { signal }: { signal?: AbortSignal | undefined },
  ): Promise<Copier> {
    const digestIn = await digester({ signal });
    const top = patiently(() => parent.open(name, "named"));
    return new Copier(top, digestIn, signal);
  }

  [Symbol.dispose](): void {
    this.#folder?.directory[Symbol.dispose]();
    this.#top[Symbol.dispose]();
  }

  readonly provide = async (
    { file: [listed, , , digest], folder }: Wanted,
    to: Directory,
    name: string,
  ): Promise<void> => {
    using source = new Candidate(this.#at(folder ?? ""), listed);
    const breath = new Breath(this.#signal);
    await placeFile(source, to, name, true, {
      options: placeOptions({ mode: "private" }),
      pair: this.#pair,
      counts: noCounts(),
      keeper: this.#keeper,
      control: {
        check: () => this.#signal?.throwIfAborted(),
        breathe: () => breath.due(),
      },
      made: this.#made,
      defersLimit: false,
    });
    const read = await this.#digestIn(to, name);
    if (read?.digest !== digest) throw new Otherwise("It changes meanwhile");
  };

  readonly #pair = { retired: new Map(), worked: new Set<never>() };
  readonly #keeper = new Keeper("content");
  readonly #made = new Map();

  #at(folder: string): Directory {
    if (this.#folder?.path === folder) return this.#folder.directory;
    this.#folder?.directory[Symbol.dispose]();
    this.#folder = undefined;
    let directory = this.#top.again();
    for (const name of folder.split("/").slice(1)) {
      using above = directory;
      directory = patiently(() => above.open(name));
    }
    this.#folder = { path: folder, directory };
    return directory;
  }
}
