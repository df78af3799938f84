/**
 * Notes of who holds a lock, for people: nothing is ever decided by them.
 *
 * @module
 */

import { log } from "../log.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import {
  findSiblings,
  listSiblingsIn,
  removeQuietly,
  siblingName,
} from "../fs/names.ts";
import { readText } from "../fs/read.ts";
import { hostName } from "../os/machine.ts";
import { printable } from "../os/text.ts";

/**
 * Who holds a lock, for people to read.
 *
 * @category Locks
 */
export interface LockHolder {
  /** Its process, on its host. */
  readonly pid: number;
  /** Its host, where Deno may know it (`--allow-sys=hostname`). */
  readonly host?: string;
  /** What it holds the lock for. */
  readonly purpose: string;
  /** Since when: an ISO 8601 date and time. */
  readonly since: string;
}

/**
 * Writes down who holds a lock, beside what it guards. For people only: nothing is
 * decided by it.
 *
 * @param name What is guarded.
 * @param exclusive Whether nobody else holds the lock, so that notes which are there are
 * those of processes that died.
 * @returns What removes the note. None without a purpose.
 */
export function noteHolder(
  parent: Directory,
  name: string,
  purpose: string | undefined,
  exclusive: boolean,
): Disposable | undefined {
  if (exclusive) {
    for (const note of notes(parent, name)) removeQuietly(parent, note);
  }
  if (purpose === undefined) return undefined;
  const note = siblingName(name, "holder");
  const host = hostName();
  const holder: LockHolder = {
    pid: Deno.pid,
    ...host !== undefined && { host },
    purpose,
    since: new Date().toISOString(),
  };
  try {
    using file = parent.openFile(note, "create", 0o644);
    file.write(new TextEncoder().encode(JSON.stringify(holder)));
  } catch (error) {
    log.debug(() =>
      `Nobody is told who holds "${pathIn(parent, name)}": ${error}`
    );
  }
  return { [Symbol.dispose]: () => removeQuietly(parent, note) };
}

/** Removes notes of ours whose processes are known to be dead. */
export function sweepNotes(parent: Directory, name: string): void {
  for (const note of notes(parent, name)) {
    const holder = readNote(parent, note);
    if (holder && isDead(holder)) removeQuietly(parent, note);
  }
}

/** Names of the notes that we may remove. */
function notes(parent: Directory, name: string): string[] {
  try {
    return findSiblings(parent, name, "holder", undefined);
  } catch {
    return [];
  }
}

/** Those who say that they hold a lock, the first one first. */
export function listHolders(parent: Directory, name: string): LockHolder[] {
  const holders: LockHolder[] = [];
  let names: string[] = [];
  try {
    names = listSiblingsIn(parent, name, "holder");
  } catch {
    // Nobody can be told then.
  }
  for (const note of names.slice(0, MOST)) {
    const holder = readNote(parent, note);
    if (holder && !isDead(holder)) holders.push(holder);
  }
  return holders.sort((a, b) => a.since < b.since ? -1 : 1);
}

/** More than people read. */
const MOST = 100;

/** Longer than a note of ours ever is. */
const LONGEST = 16384;

/** What a note says; it may be anybody's, so nothing in it is taken as it is. */
function readNote(parent: Directory, name: string): LockHolder | undefined {
  try {
    using file = parent.openFile(name, "read");
    const note = JSON.parse(readText(file, LONGEST));
    const { pid, host, purpose, since } = note;
    if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
    return {
      pid,
      ...typeof host === "string" && { host: printable(host) },
      purpose: printable(String(purpose)),
      since: printable(String(since), 40),
    };
  } catch {
    return undefined; // released meanwhile, half written, or no note at all
  }
}

function isDead({ pid, host }: LockHolder): boolean {
  return host !== undefined && host === hostName() && isDeadHere(pid);
}

/** Whether a process of this host is known to be gone. */
export function isDeadHere(pid: number): boolean {
  if (Deno.permissions.querySync({ name: "run" }).state !== "granted") {
    return false;
  }
  try {
    Deno.kill(pid, 0);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}
