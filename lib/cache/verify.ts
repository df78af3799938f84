import { removeTree } from "../old/remove.ts";
import { osFailure } from "../error.ts";
import { log } from "../log.ts";
import { removeIfThere } from "../fs/names.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { join } from "../os/path.ts";
import { headerOf } from "./archive.ts";
import { damageOf, listBlobs, removeBlob } from "./blob.ts";
import { idOf } from "./layout.ts";
import { listPointers } from "./list.ts";
import { checkArchive, type ReadOptions } from "./manifest.ts";
import { readPointer } from "./pointer.ts";
import {
  attempt,
  hold,
  isThere,
  type Store,
  swapLock,
  useRoot,
} from "./store.ts";

/** What `Cache.verify()` found. */
export interface VerifyReport {
  /** Archives that were read and compared with their manifests. */
  readonly archives: number;
  /** Blobs that were read. */
  readonly blobs: number;
  /** Bytes that were read. */
  readonly bytes: number;
  /** What is damaged. */
  readonly damaged: readonly Damage[];
  /** Milliseconds in all. */
  readonly durationMs: number;
}

/** Something in a cache that is not as it was put. */
export interface Damage {
  /** The archive, the key or the blob. */
  readonly path: string;
  /** Its key, where that is known. */
  readonly key?: string;
  /** What is wrong, the first ten of it. */
  readonly wrong: readonly string[];
  /**
   * `quarantined`: moved to `quarantine/`, and its key is a miss; `removed`: it is no
   * use to look at; `in use`: its key is a miss, and a prune removes it later.
   */
  readonly outcome: "quarantined" | "removed" | "in use";
}

/** Options for `Cache.verify()`. */
export interface VerifyOptions {
  /** Stops the work. */
  signal?: AbortSignal;
  /** Called after each file with what has been read, of what there is. */
  onProgress?: (progress: VerifyProgress) => void;
}

/** How far `Cache.verify()` is. */
export interface VerifyProgress {
  /** Archives that were read. */
  readonly archives: number;
  /** Bytes that were read. */
  readonly bytes: number;
  /** Archives that there are. */
  readonly totalArchives: number;
  /** Their bytes. */
  readonly totalBytes: number;
}

/** Compares everything with what was put. */
export async function verify(
  store: Store,
  { signal, onProgress }: VerifyOptions,
): Promise<VerifyReport> {
  const started = performance.now();
  const { layout } = store;
  let read = 0;
  const damaged: Damage[] = [];
  let [archives, blobs, bytes] = [0, 0, 0];
  if (await layout.check()) {
    using _ = await useRoot(store);
    const names = layout.list(layout.in("archives"));
    const totalBytes = onProgress ? sizeOf(store, names) : 0;
    const onFile = (size: number) => {
      read += size;
      const totalArchives = names.length;
      onProgress?.({ archives, bytes: read, totalArchives, totalBytes });
    };
    for (const name of names) {
      const id = idOf(name);
      if (id === undefined) continue;
      signal?.throwIfAborted();
      const checked = await checkOne(store, id, {
        ...signal && { signal },
        onFile,
      });
      if (!checked) continue;
      archives++;
      bytes += checked.bytes;
      if (checked.damage) damaged.push(checked.damage);
    }
    for (const { path, name, id } of listPointers(store)) {
      if (id !== undefined && isThere(join(layout.archive(id), "tree"))) {
        continue;
      }
      if (await removePointer(store, name, path, id)) {
        const wrong = ["It points to no archive"];
        damaged.push({ path, wrong, outcome: "removed" });
      }
    }
    for (const blob of listBlobs(store)) {
      signal?.throwIfAborted();
      const wrong = await damageOf(blob);
      blobs++;
      bytes += blob.bytes;
      if (wrong === undefined) continue;
      removeBlob(blob);
      damaged.push({ path: blob.path, wrong: [wrong], outcome: "removed" });
    }
  }
  const durationMs = performance.now() - started;
  return { archives, blobs, bytes, damaged, durationMs };
}

/** What the manifests say that there is to read. */
function sizeOf(store: Store, names: readonly string[]): number {
  return names.reduce((sum, name) => {
    const id = idOf(name);
    return sum + (id === undefined ? 0 : headerOf(store, id)?.bytes ?? 0);
  }, 0);
}

async function checkOne(
  store: Store,
  id: string,
  options: ReadOptions,
): Promise<{ bytes: number; damage?: Damage } | undefined> {
  const { layout } = store;
  const archive = layout.archive(id);
  let wrong: string[];
  {
    using lease = attempt(store, layout.lease(id), false, "create");
    if (!lease) return undefined; // a prune removes it
    if (!isThere(archive)) return undefined;
    wrong = await checkArchive(archive, options);
  }
  const { bytes = 0, key } = headerOf(store, id) ?? {};
  if (wrong.length === 0) return { bytes };
  // Its key first: from then on nobody new comes.
  for (const found of listPointers(store)) {
    if (found.id === id) {
      await removePointer(store, found.name, found.path, id);
    }
  }
  const outcome = await quarantine(store, id);
  if (!outcome) return undefined;
  const damage = { path: archive, wrong, outcome };
  return { bytes, damage: key === undefined ? damage : { ...damage, key } };
}

/** Removes a pointer, if it still points there. */
async function removePointer(
  store: Store,
  name: string,
  path: string,
  id: string | undefined,
): Promise<boolean> {
  using _ = await hold(store, swapLock(store, name), `The key at "${path}"`);
  if (readPointer(path) !== id || !isThere(path)) return false;
  try {
    patiently(() => Deno.removeSync(path));
    return true;
  } catch (error) {
    if (errorKind(error) === "not-found") return false;
    throw osFailure("remove", path, error);
  }
}

async function quarantine(
  store: Store,
  id: string,
): Promise<Damage["outcome"] | undefined> {
  const { layout } = store;
  using lock = attempt(store, layout.lease(id), true, "create");
  if (!lock) return "in use";
  const [from, to] = [layout.archive(id), layout.in("quarantine", id)];
  try {
    patiently(() => Deno.renameSync(from, to));
    removeIfThere(layout.lease(id));
    return "quarantined";
  } catch (error) {
    const kind = errorKind(error);
    if (kind === "not-found") return undefined;
    log.debug(() => `Not quarantined: "${from}": ${osErrorText(error)}`);
    const left = await removeTree(from, { busyTimeout: 0 });
    if (left.length > 0) throw osFailure("quarantine", from, error);
    return "removed";
  }
}
