/**
 * Who comes first. Leases that overlap could keep a guard waiting for ever. So a guard that
 * waits holds a second lock, `<name>.turn.lock`, and whoever comes later waits behind it.
 * No clock is compared, and the kernel drops the lock when its process dies.
 *
 * @module
 */

import { removeQuietly } from "../fs/names.ts";
import type { Directory, OpenFile } from "../fs/directory.ts";
import { ownId } from "../fs/trust.ts";
import { kindOfError } from "../error.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { attemptLock, lockName } from "./file.ts";
import { holds, isInside } from "./inside.ts";

/**
 * How long a guard leaves the turn free after another guard has had it, in milliseconds:
 * longer than a waiting lease sleeps between two tries, so that guards, one after
 * another, can't keep a lease waiting for ever.
 */
const BETWEEN = 500;

/** The place in the queue of one who wants a lock. Disposed, it is given up. */
export class Turn implements Disposable {
  readonly #parent: Directory;
  readonly #name: string;
  #held: OpenFile | undefined;
  #notBefore = 0;

  /**
   * @param parent What the locked directory lies in.
   * @param name The locked directory's name.
   */
  constructor(parent: Directory, name: string) {
    this.#parent = parent;
    this.#name = turnName(name);
  }

  /** Whether somebody else waits for a guard, so that it is not our turn. */
  isTaken(): boolean {
    if (this.#held) return false;
    try {
      using file = attemptLock(this.#parent, this.#name, false, "existing");
      if (file) return false;
      this.#notBefore = performance.now() + BETWEEN;
      return true;
    } catch (error) {
      // Mostly there is none. One that can't be used keeps nobody away.
      this.#trace(error);
      return false;
    }
  }

  /**
   * Takes the turn, unless somebody has it, or has just had it; where there can be none,
   * nobody has.
   */
  take(): void {
    if (this.#held || performance.now() < this.#notBefore) return;
    try {
      this.#held = attemptLock(this.#parent, this.#name, true, "create");
    } catch (error) {
      this.#trace(error);
    }
  }

  [Symbol.dispose](): void {
    if (!this.#held) return;
    removeIfOurs(this.#parent, this.#name, this.#held);
    this.#held[Symbol.dispose]();
    this.#held = undefined;
  }

  #trace(error: unknown): void {
    if (kindOfError(error) === "not-found") return;
    log.trace(() => `"${this.#name}" is not locked: ${osErrorText(error)}`);
  }
}

/** For so long, in milliseconds, who has a lease holds back before the next one. */
const HOLD_BACK = 1000;

/**
 * Says when nobody's turn is waited for any more: what runs inside a lease keeps that
 * until it has ended, so that a guard that waits for it comes later anyway. In this
 * process one lease may depend on another one, or not.
 */
export function patienceOf(
  parent: Directory,
  name: string,
  wait: number,
): () => boolean {
  const file = lockName(name);
  const inside = isInside(parent, file);
  const has = holds(parent, file);
  const end = performance.now() + Math.min(HOLD_BACK, wait / 2);
  return () => inside || has && performance.now() >= end;
}

/** Removes the file of one who was killed while waiting. */
export function sweepTurn(parent: Directory, name: string): void {
  const file = turnName(name);
  try {
    using held = attemptLock(parent, file, true, "existing");
    if (held) removeIfOurs(parent, file, held);
  } catch {
    // There is none, or it is not ours to lock.
  }
}

/** While it is locked, so that nobody takes it for the file of one who waits. */
function removeIfOurs(parent: Directory, name: string, file: OpenFile): void {
  try {
    const { uid, size, links } = file.status();
    const me = ownId();
    const isOurs = me === undefined || uid === me;
    if (isOurs && size === 0 && links === 1) removeQuietly(parent, name);
  } catch (error) {
    log.trace(() => `"${file.path}" stays: ${osErrorText(error)}`);
  }
}

function turnName(name: string): string {
  return `${name}.turn.lock`;
}
