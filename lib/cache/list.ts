import { errorKind } from "../os/error.ts";
import { join } from "../os/path.ts";
import { type Archive, headerOf, toArchive } from "./archive.ts";
import { isKeyName } from "./layout.ts";
import { readPointer } from "./pointer.ts";
import { attempt, type Store } from "./store.ts";

/** A key, and what it points to. */
export interface Listed extends Archive {
  /** When it was last used, to a day: an ISO 8601 date and time. */
  readonly lastUse: string;
  /** Whether somebody has a lease on it now. */
  readonly inUse: boolean;
}

/** A pointer as it was found. */
export interface Found {
  readonly bucket: string;
  /** Its name in the bucket's folder. */
  readonly name: string;
  readonly path: string;
  /** The archive that it points to; `undefined` if it is damaged. */
  readonly id: string | undefined;
}

/** All pointers of all buckets of this version. */
export function listPointers({ layout }: Store): Found[] {
  return layout.buckets().flatMap((bucket) =>
    layout.list(layout.bucket(bucket)).filter(isKeyName).map((name) => {
      const path = join(layout.bucket(bucket), name);
      return { bucket, name, path, id: readPointer(path) };
    })
  );
}

/** Everything that has a key, in the order of buckets and keys. */
export function listEntries(store: Store): Listed[] {
  const listed: Listed[] = [];
  for (const { id } of listPointers(store)) {
    const header = id === undefined ? undefined : headerOf(store, id);
    if (!header || id === undefined) continue;
    listed.push({
      ...toArchive(header, id),
      lastUse: new Date(lastUse(store, id)).toISOString(),
      inUse: isInUse(store, id),
    });
  }
  return listed.sort((a, b) =>
    a.bucket < b.bucket || (a.bucket === b.bucket && a.key < b.key) ? -1 : 1
  );
}

/** When an archive was last used, in milliseconds since 1970; 0 if that is not known. */
export function lastUse({ layout }: Store, id: string): number {
  try {
    return Deno.statSync(layout.lease(id)).mtime?.getTime() ?? 0;
  } catch {
    return 0;
  }
}

function isInUse(store: Store, id: string): boolean {
  try {
    using lock = attempt(store, store.layout.lease(id), true, "existing");
    return lock === undefined;
  } catch (error) {
    if (errorKind(error) === "not-found") return false;
    throw error;
  }
}
