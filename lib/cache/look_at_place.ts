import { CacheError, kindOfError, osFailure } from "../error.ts";
import { refuseToReplace } from "../fs/guard_rails.ts";
import { openParent } from "../fs/open.ts";
import { isSameInode, type Status } from "../fs/directory.ts";
import { STANDS_THERE } from "../link/error.ts";
import { toPath } from "../os/path.ts";
import type { Archive } from "./archive.ts";
import { count } from "./counters.ts";
import { headerOf, toArchive } from "./header.ts";
import { touch } from "./last_use.ts";
import { nameOf, TREE } from "./layout.ts";
import { archiveAt, type PlacedHere } from "./placed.ts";
import { readPointer } from "./pointer.ts";
import { look, type Root } from "./root.ts";
import { openRoot, type Store } from "./store.ts";

/**
 * What stands where something of a cache is to be.
 *
 * @category Keyed cache
 */
export type Placement =
  /** `free`: nothing. `outdated`: what this cache put there, of another archive. */
  | { readonly state: "free" | "outdated" }
  /** What the key points to. */
  | {
    readonly state: "current";
    readonly archive: Archive;
    /** Whether it is a file. */
    readonly isFile: boolean;
  };

/**
 * Looks at a place before something long is done for it. Neither the tree nor the list
 * of its files is read.
 */
export async function lookAtPlace(
  store: Store,
  key: string,
  dst: string | URL,
): Promise<Placement> {
  const name = await nameOf(key);
  const path = toPath(dst);
  using root = openRoot(store);
  const standing = await openedAt(root, path);
  if (!standing) return { state: "free" };
  const bucket = root!.bucketIfThere(store.bucket);
  const { id } = standing;
  if (bucket && readPointer(bucket, name) === id) {
    const header = headerOf(root!, id);
    if (header && header.key === key && header.bucket === store.bucket) {
      touch(root!, id);
      count(root!, "hits");
      using archive = root!.folder("archives").open(id);
      const isFile = look(archive, TREE)?.kind === "file";
      return { state: "current", archive: toArchive(header, id), isFile };
    }
  }
  using place = openParent(path);
  refuseToReplace(place.parent, place.name, path);
  return { state: "outdated" };
}

async function openedAt(root: Root | undefined, path: string) {
  try {
    return await oursAt(root, path, () => {
      throw new CacheError(
        `Cannot put anything at "${path}": ${STANDS_THERE}`,
        path,
        "already-exists",
      );
    });
  } catch (error) {
    if (error instanceof CacheError) throw error;
    // Its parents are made.
    if (kindOfError(error) === "not-found") return undefined;
    throw osFailure("look at", path, error);
  }
}

/** How often a place is looked at that a peer replaces meanwhile. */
const TRIES = 10;

/**
 * What stands at a path, if this cache put it there; `undefined` for nothing.
 *
 * @param refuse Called if something else stands there.
 */
export async function oursAt(
  root: Root | undefined,
  path: string,
  refuse: () => never,
): Promise<PlacedHere & { status: Status } | undefined> {
  using place = openParent(path);
  const { parent, name } = place;
  for (let tries = 0;; tries++) {
    const status = name === "" ? parent.status() : parent.look(name);
    if (!status) return undefined;
    const here = root && name !== "" &&
      await archiveAt(root, { parent, name }, status);
    if (here) return { ...here, status };
    // A peer may have replaced it meanwhile.
    const now = name === "" ? status : parent.look(name);
    const isSame = now !== undefined && isSameInode(now, status);
    if (isSame || tries > TRIES) return refuse();
  }
}
