/**
 * Notes of who holds a lock, for people: nothing is ever decided by them.
 *
 * @module
 */

import { log } from "../log.ts";
import { listSiblings, removeIfThere, siblingPath } from "../fs/names.ts";
import { basename, dirname, join } from "../os/path.ts";

/** Who holds a lock, for people to read. */
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
 * @param path What is guarded.
 * @param exclusive Whether nobody else holds the lock, so that notes which are there are
 * those of processes that died.
 * @returns What removes the note. None without a purpose.
 */
export function noteHolder(
  path: string,
  purpose: string | undefined,
  exclusive: boolean,
): Disposable | undefined {
  if (exclusive) holderFiles(path).forEach(removeIfThere);
  if (purpose === undefined) return undefined;
  const file = siblingPath(path, "holder");
  const host = hostName();
  const holder: LockHolder = {
    pid: Deno.pid,
    ...host !== undefined && { host },
    purpose,
    since: new Date().toISOString(),
  };
  try {
    Deno.writeTextFileSync(file, JSON.stringify(holder), { createNew: true });
  } catch (error) {
    log.debug(() => `Nobody is told who holds "${path}": ${error}`);
  }
  return { [Symbol.dispose]: () => removeIfThere(file) };
}

function hostName(): string | undefined {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({
    name: "sys",
    kind: "hostname",
  });
  return state === "granted" ? Deno.hostname() : undefined;
}

function holderFiles(path: string): string[] {
  const parent = dirname(path);
  try {
    return listSiblings(parent, basename(path), "holder")
      .map((name) => join(parent, name));
  } catch {
    return [];
  }
}

/** Who says to hold a lock, the first one first. */
export function listHolders(path: string): LockHolder[] {
  const holders: LockHolder[] = [];
  for (const file of holderFiles(path)) {
    try {
      const holder: LockHolder = JSON.parse(Deno.readTextFileSync(file));
      if (typeof holder.pid === "number" && !isDead(holder)) {
        holders.push(holder);
      }
    } catch {
      // Released meanwhile, or half written.
    }
  }
  return holders.sort((a, b) => a.since < b.since ? -1 : 1);
}

/** Whether a process of this host is known to be gone. */
function isDead({ pid, host }: LockHolder): boolean {
  if (host === undefined || host !== hostName()) return false;
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
