/**
 * Where people, their programs and the system live: directories that are not for us to
 * clear.
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
  return variable(isWindows ? "USERPROFILE" : "HOME");
}

function variable(name: string): string | undefined {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const asked = { name: "env", variable: name } as const;
  const { state } = Deno.permissions.querySync(asked);
  return state === "granted" ? Deno.env.get(name) || undefined : undefined;
}

/**
 * Directories that the system, or all programs, can't do without. Caches lie in some of
 * them.
 */
export function systemPlaces(
  os: typeof Deno.build.os = Deno.build.os,
  get: (name: string) => string | undefined = variable,
): string[] {
  if (os === "darwin") {
    const home = get("HOME");
    return [
      ...["/Applications", "/Library", "/System", "/usr", "/private/etc"],
      ...home === undefined ? [] : [`${home}/Library/Application Support`],
    ];
  }
  if (os !== "windows") return ["/boot", "/etc", "/usr", "/var"];
  const system = get("SystemRoot") ?? "C:\\Windows";
  const given = ["LOCALAPPDATA", "APPDATA", "PUBLIC"].flatMap((it) =>
    get(it) ?? []
  );
  return [
    `${system}\\System32`, // and so what it lies in
    get("ProgramFiles") ?? "C:\\Program Files",
    get("ProgramFiles(x86)") ?? "C:\\Program Files (x86)",
    get("ProgramData") ?? "C:\\ProgramData",
    ...given,
  ];
}

/** Where programs keep what their user has set, of any user: Windows, macOS. */
const SETTINGS =
  /(?:^|[\\/])Users[\\/][^\\/]+[\\/](?:AppData(?:\\(?:Local|LocalLow|Roaming))?|Library(?:\/(?:Application Support|Keychains|Preferences))?)$/i;

/** Whether a directory, by its path without symbolic links, has a user's settings in it. */
export function hasSettings(real: string): boolean {
  return SETTINGS.test(real);
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

/** Where homes are, even those that no list has (LDAP, macOS, Windows, also on a share). */
const AMONG_HOMES =
  /^(?:\/home|\/Users|(?:[A-Z]:|\\\\[^\\]+\\[^\\]+)\\Users)$/i;

/** What is in a home directory, and in no cache. */
const AT_HOME = [
  ...[".ssh", ".bashrc", ".profile", ".gnupg", ".config"],
  ...isWindows ? ["AppData", "NTUSER.DAT"] : [],
];

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
