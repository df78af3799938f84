/**
 * Processes that wait for each other: a command inside one lock waits for another one, whose
 * holder runs a command that waits for the first. Neither would ever end.
 *
 * A process that waits inside a lock writes that down, beside what it waits for, in a note that it
 * keeps locked: one that can be locked is a dead one's. So a circle of locks in one folder
 * is found, such as the builds of a keyed cache.
 *
 * @module
 */

import type { Directory, OpenFile } from "../fs/directory.ts";
import {
  findSiblings,
  listSiblings,
  removeQuietly,
  siblingName,
} from "../fs/names.ts";
import { readText } from "../fs/read.ts";
import { log } from "../log.ts";
import { LockedError } from "./file.ts";
import { isHolding, keyOf, locksAround } from "./inside.ts";
import type { Holding } from "./inside.ts";

/** A note of who waits. */
interface Wait {
  /** The name of its file, which nobody else has. */
  readonly name: string;
  readonly wanted: Holding;
  /** The locks inside which it waits. */
  readonly inside: readonly Holding[];
}

/** How often others' notes are read, in milliseconds. */
const EVERY = 300;

/** Looks out for a circle as long as somebody waits. */
export class CircleWatch implements Disposable {
  readonly #parent: Directory;
  readonly #wanted: Holding;
  readonly #inside = locksAround();
  readonly #note: string;
  #file: OpenFile | undefined;
  #isTold = false;
  #next = 0;

  /**
   * @param name What the lock guards.
   * @param file The lock that is waited for.
   */
  constructor(
    parent: Directory,
    name: string,
    file: string,
    exclusive: boolean,
  ) {
    this.#parent = parent;
    this.#wanted = { lock: keyOf(parent, file), exclusive, pid: Deno.pid };
    this.#note = siblingName(name, "waits");
  }

  /**
   * To be called whenever the lock was not granted.
   *
   * @throws {LockedError} If it never will be. Of those in a circle, one is told.
   */
  check(path: string, what = `"${path}"`): void {
    // Windows: what is locked can't be read.
    if (this.#inside.length === 0 || Deno.build.os === "windows") return;
    if (performance.now() < this.#next) return;
    this.#next = performance.now() + EVERY;
    this.#tell();
    const own = {
      name: this.#note,
      wanted: this.#wanted,
      inside: this.#inside,
    };
    const circle = findCircle(own, readWaits(this.#parent));
    if (!circle || circle.some(({ name }) => name > own.name)) return;
    throw new LockedError(
      path,
      [],
      what,
      ` by a command that waits for process ${
        own.inside.at(-1)!.pid
      }, inside which this command runs: it would wait for itself`,
    );
  }

  /** Writes down who waits for what; again, if a reader was in the way. */
  #tell(): void {
    if (this.#isTold) return;
    const { wanted, inside } = { wanted: this.#wanted, inside: this.#inside };
    try {
      if (!this.#file) {
        this.#file = this.#parent.openFile(this.#note, "create", 0o644);
        const text = JSON.stringify({ wanted, inside });
        this.#file.write(new TextEncoder().encode(text));
      }
      this.#isTold = this.#file.tryLock(true);
    } catch (error) {
      log.debug(() => `Nobody is told who waits: ${error}`);
    }
  }

  [Symbol.dispose](): void {
    if (!this.#file) return;
    removeQuietly(this.#parent, this.#note);
    this.#file[Symbol.dispose]();
    this.#file = undefined;
  }
}

/** Removes notes of ours beside a directory whose processes were killed. */
export function sweepWaits(parent: Directory, name: string): void {
  try {
    for (const note of findSiblings(parent, name, "waits", undefined)) {
      using file = parent.openFile(note, "read");
      if (file.tryLock(false)) removeQuietly(parent, note);
    }
  } catch (error) {
    log.trace(() => `Notes of who waits stay: ${error}`);
  }
}

/** Those who wait for one another, and in the end for who asks; without that one. */
function findCircle(own: Wait, waits: readonly Wait[]): Wait[] | undefined {
  const others = waits.filter(({ name }) => name !== own.name);
  const seen = new Set<Wait>();
  const follow = (wanted: Holding, trail: Wait[]): Wait[] | undefined => {
    if (trail.length > 0 && isHeldIn(own, wanted)) return trail;
    for (const wait of others) {
      if (seen.has(wait) || !isHeldIn(wait, wanted)) continue;
      seen.add(wait);
      const found = follow(wait.wanted, [...trail, wait]);
      if (found) return found;
    }
    return undefined;
  };
  return follow(own.wanted, []);
}

/** Whether a lock cannot be granted until that wait is over. */
function isHeldIn({ inside }: Wait, { lock, exclusive }: Holding): boolean {
  return inside.some((held) =>
    held.lock === lock && (exclusive || held.exclusive)
  );
}

/** More than anybody nests, and longer than a note of ours is. */
const MOST = 100;
const LONGEST = 65536;

function readWaits(parent: Directory): Wait[] {
  try {
    const names = listSiblings(parent, "waits");
    return names.slice(0, MOST).flatMap((name) => readWait(parent, name) ?? []);
  } catch {
    return []; // then it waits as long as it may
  }
}

/** What a note says; it may be anybody's, so nothing in it is taken as it is. */
function readWait(parent: Directory, name: string): Wait | undefined {
  try {
    using file = parent.openFile(name, "read");
    if (file.tryLock(false)) return undefined; // nobody waits any more
    const { wanted, inside } = JSON.parse(readText(file, LONGEST));
    return isHolding(wanted) && Array.isArray(inside) && inside.every(isHolding)
      ? { name, wanted, inside }
      : undefined;
  } catch {
    return undefined; // gone meanwhile, half written, or no note at all
  }
}
