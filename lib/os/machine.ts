/**
 * Which machine this is.
 *
 * @module
 */

import { sha256 } from "./sha256.ts";

let known: Promise<string> | undefined;

/**
 * A name for this machine, of which nothing can be read: in 64 hexadecimal digits. By
 * `/etc/machine-id`, which containers of a machine may share; where there is none, by
 * the host's name. What Deno may not ask for is not asked for: then all machines have
 * the same name.
 */
export function machineId(): Promise<string> {
  // The file's own words are not for others: machine-id(5).
  return known ??= sha256(`rebuild-cache ${systemId() ?? hostName() ?? ""}`);
}

const FILE = "/etc/machine-id";

function systemId(): string | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const asked = { name: "read", path: FILE } as const;
  if (Deno.permissions.querySync(asked).state !== "granted") return undefined;
  try {
    return /^[0-9a-f]{32}$/.exec(Deno.readTextFileSync(FILE).trim())?.[0];
  } catch {
    return undefined; // as in many containers
  }
}

/** The host's name, where Deno may know it. */
export function hostName(): string | undefined {
  // Asked first, because Deno would stop and ask the user on a terminal.
  const { state } = Deno.permissions.querySync({
    name: "sys",
    kind: "hostname",
  });
  return state === "granted" ? Deno.hostname() : undefined;
}

/**
 * What this process sees of the machine: in another container there may be nothing at
 * a path where there is something here. `undefined` where that is not known.
 */
export function viewOfMachine(): string | undefined {
  if (Deno.build.os !== "linux") return "all";
  const asked = { name: "read", path: VIEW } as const;
  if (Deno.permissions.querySync(asked).state !== "granted") return undefined;
  try {
    return Deno.readLinkSync(VIEW);
  } catch {
    return undefined;
  }
}

const VIEW = "/proc/self/ns/mnt";
