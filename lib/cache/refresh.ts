import { kindOfError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { removeQuietly } from "../fs/names.ts";
import { readText } from "../fs/read.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import {
  type ArchiveId,
  isId,
  type KeyName,
  newId,
  refreshName,
  temporaryName,
} from "./layout.ts";
import { failure, type Root, writeFile } from "./root.ts";
import { openRoot, type Store } from "./store.ts";

/** What is known of the refresh of a key that began last. */
interface Last {
  /** Which one it is. */
  readonly token: ArchiveId;
  /** What it put; `undefined` if it has not, or not yet. */
  readonly id: ArchiveId | undefined;
}

/**
 * A refresh of a key that somebody asks for.
 *
 * Each notes when it begins, under the key's build lock. Who has waited for that lock, and
 * finds that another one has begun since they asked and put what the key points to, need
 * not build again.
 */
export class Refresh {
  readonly #name: string;
  /** The one that had begun when this one was asked for. */
  readonly #before: ArchiveId | undefined;
  readonly #own = newId();

  /** To be asked for before the build lock is waited for. */
  constructor(store: Store, key: KeyName) {
    this.#name = refreshName(store.bucket, key);
    using root = openRoot(store);
    this.#before = root && this.#last(root)?.token;
  }

  /** Whether a key points to what was built since this was asked for. Under the lock. */
  isDone(root: Root, now: ArchiveId | undefined): boolean {
    const last = this.#last(root);
    return last !== undefined && now !== undefined && last.id === now &&
      last.token !== this.#before;
  }

  /** Notes that it begins. Under the lock. */
  begin(root: Root): void {
    this.#write(root, { token: this.#own, id: undefined });
  }

  /** Notes what it has put. Under the lock. */
  succeeded(root: Root, id: string): void {
    // A sweep may have taken the note: then nobody can say who asked when.
    if (!isId(id) || this.#last(root)?.token !== this.#own) return;
    this.#write(root, { token: this.#own, id });
  }

  #last(root: Root): Last | undefined {
    const folder = root.ifThere("locks");
    const text = folder && readNote(folder, this.#name);
    const [token, id] = text?.split(" ") ?? [];
    if (!isId(token)) return undefined;
    return { token, id: isId(id) ? id : undefined };
  }

  #write(root: Root, { token, id }: Last): void {
    const tmp = root.folder("tmp");
    const own = temporaryName(newId(), "note");
    try {
      const bytes = new TextEncoder().encode(`${token} ${id ?? "-"}`);
      writeFile(tmp, own, bytes, root.status(), false);
      const locks = root.folder("locks");
      patiently(() => tmp.rename(own, locks, this.#name));
    } catch (error) {
      removeQuietly(tmp, own);
      log.debug(() => `Those who wait will build: ${osErrorText(error)}`);
    }
  }
}

/** Two ids and a space. */
const LONGEST = 65;

function readNote(folder: Directory, name: string): string | undefined {
  try {
    using file = patiently(() => folder.openFile(name, "read"));
    return readText(file, LONGEST);
  } catch (error) {
    if (kindOfError(error) === "not-found") return undefined;
    throw failure("read", pathIn(folder, name), error);
  }
}
