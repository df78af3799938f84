/**
 * Which locks this process holds, and those that it runs inside: a command that
 * `rebuild-cache use` runs is told the lease of that. Whoever waits for a lock that is
 * held until it has ended itself would wait for nothing.
 *
 * @module
 */

import { type Directory, inodeKey } from "../fs/directory.ts";
import { isDeadHere } from "./holder.ts";
import { LockedError } from "./file.ts";

/** The variable by which a command is told what it runs inside. */
export const INSIDE = "REBUILD_CACHE_INSIDE";

/** A lock that is held, or wanted. */
export interface Holding {
  /** Which lock: its folder's inode, and its name in there. */
  readonly lock: string;
  readonly exclusive: boolean;
  /** The process that holds or wants it. */
  readonly pid: number;
}

const held = new Set<Holding>();

/** Notes that this process holds a lock, until it is disposed. */
export function noteHeld(
  parent: Directory,
  file: string,
  exclusive: boolean,
): Disposable {
  const lock = keyOf(parent, file);
  const holding: Holding = { lock, exclusive, pid: Deno.pid };
  held.add(holding);
  return { [Symbol.dispose]: () => void held.delete(holding) };
}

/** Whether this process holds the lock already. */
export function holds(parent: Directory, file: string): boolean {
  const lock = keyOf(parent, file);
  for (const holding of held) if (holding.lock === lock) return true;
  return false;
}

/** The variables for a command that runs inside the locks that are held now. */
export function insideVariables(): Record<string, string> {
  const all = [...inherited(), ...held].slice(-MOST);
  return all.length > 0 ? { [INSIDE]: JSON.stringify(all) } : {};
}

/** Whether this process runs inside that lock, held by whoever is not known to be dead. */
export function isInside(parent: Directory, file: string): boolean {
  return holderAround(parent, file) !== undefined;
}

/**
 * Refuses to wait for a lock inside which this process runs.
 *
 * @param exclusive What is wanted: whoever runs inside a shared lock may share it.
 * @param path What it locks, for the error.
 * @throws {LockedError} If it would wait for itself.
 */
export function refuseInside(
  parent: Directory,
  file: string,
  exclusive: boolean,
  path: string,
  what = `"${path}"`,
): void {
  const holding = holderAround(parent, file);
  if (!holding || !exclusive && !holding.exclusive) return;
  const { pid } = holding;
  throw new LockedError(
    path,
    [],
    what,
    ` by process ${pid}, inside which this command runs: it would wait for itself`,
  );
}

function holderAround(parent: Directory, file: string): Holding | undefined {
  const all = inherited();
  if (all.length === 0) return undefined;
  const lock = keyOf(parent, file);
  const around = all.filter((it) => it.lock === lock && !isDeadHere(it.pid));
  return around.find(({ exclusive }) => exclusive) ?? around[0];
}

/** The locks inside which this process runs, the innermost last. */
export function locksAround(): readonly Holding[] {
  return inherited().filter(({ pid }) => !isDeadHere(pid));
}

/** Which lock it is. */
export function keyOf(parent: Directory, file: string): string {
  return `${inodeKey(parent.opened) ?? parent.path}/${file}`;
}

/** More than nest in each other, and more than their variable has. */
const MOST = 100;
const LONGEST = 65536;

/** What the environment says: it may be anything, and then it says nothing. */
function inherited(): Holding[] {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({
    name: "env",
    variable: INSIDE,
  });
  const text = state === "granted" ? Deno.env.get(INSIDE) : undefined;
  if (!text || text.length > LONGEST) return [];
  try {
    const all: unknown = JSON.parse(text);
    return Array.isArray(all) ? all.slice(0, MOST).filter(isHolding) : [];
  } catch {
    return [];
  }
}

/** Whether it is one, and not something else that was read. */
export function isHolding(value: unknown): value is Holding {
  if (typeof value !== "object" || value === null) return false;
  const { lock, exclusive, pid } = value as Partial<Holding>;
  return typeof lock === "string" && typeof exclusive === "boolean" &&
    Number.isSafeInteger(pid) && pid! > 0;
}
