/**
 * Where people live: directories that are not for us to clear.
 *
 * @module
 */

import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import type { Directory } from "./directory.ts";
import { splitPath } from "./open.ts";

const isWindows = Deno.build.os === "windows";

/** The working directory; `undefined` if it was deleted, or may not be known. */
export function workingDirectory(): string | undefined {
  try {
    return Deno.cwd();
  } catch (error) {
    log.debug(() => `No working directory: ${osErrorText(error)}`);
    return undefined;
  }
}

/** The home directory of who runs this; `undefined` where that is not known. */
function ownHome(): string | undefined {
  const variable = isWindows ? "USERPROFILE" : "HOME";
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}

/** The home directories that are known: one's own, and those of the users of this machine. */
export function* homes(): Generator<string> {
  const own = ownHome();
  if (own !== undefined) yield own;
  for (const line of passwd().split("\n")) {
    const [, , uid, , , home] = line.split(":"); // passwd(5)
    if (!home?.startsWith("/") || home === "/") continue;
    // Below are users of programs, whose home may be a cache: /var/cache/man.
    if (Number(uid) === 0 || Number(uid) >= 1000) yield home;
  }
}

const PASSWD = "/etc/passwd";

function passwd(): string {
  if (isWindows) return "";
  const asked = { name: "read", path: PASSWD } as const;
  if (Deno.permissions.querySync(asked).state !== "granted") return "";
  try {
    return Deno.readTextFileSync(PASSWD);
  } catch (error) {
    log.debug(() => `Cannot read ${PASSWD}: ${osErrorText(error)}`);
    return "";
  }
}

/** Where homes are, even those that no list has (LDAP, macOS, Windows). */
const AMONG_HOMES = /^(?:\/home|\/Users|[A-Z]:\\Users)$/i;

/** What is in a home directory, and in no cache. */
const AT_HOME = [".ssh", ".bashrc", ".profile", ".gnupg", ".config"];

/**
 * Whether a directory is most likely a home: by where it is and what is in it; where
 * one's own is not known (no `--allow-env`), by either.
 */
export function looksLikeHome(directory: Directory, real: string): boolean {
  const isAmongHomes = AMONG_HOMES.test(splitPath(real)[0]);
  const isKnown = ownHome() !== undefined;
  if (isKnown && !isAmongHomes) return false;
  const isFurnished = AT_HOME.some((name) => has(directory, name));
  return isKnown ? isFurnished : isAmongHomes || isFurnished;
}

function has(directory: Directory, name: string): boolean {
  try {
    return directory.look(name) !== undefined;
  } catch {
    return false; // not to be looked into, so not to be cleared either
  }
}
