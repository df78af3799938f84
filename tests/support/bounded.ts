/** Runs of what could hang for ever, or read without an end. */

import { assert } from "@std/assert";
import { cliCommand, Peer, type RunOptions } from "./command.ts";

/** What no command here takes, also on a loaded machine. */
const SECONDS = 20;
/** What no command here needs, in kB. */
const MEMORY = 1_500_000;

/** How it went. `hung`: it was killed, because it took too long or too much. */
export interface Bounded {
  code: number;
  heard: string;
  hung: string | undefined;
}

/** Runs `rebuild-cache`, and kills it where it does not come to an end. */
export async function runBounded(
  args: string[],
  options: RunOptions = {},
): Promise<Bounded> {
  const command = cliCommand(args, options.wrap);
  await using peer = new Peer(command, options);
  const end = Date.now() + SECONDS * 1000;
  let hung: string | undefined;
  while (!peer.over && !hung) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (Date.now() > end) hung = `${args.join(" ")}: not over in ${SECONDS} s`;
    if (memoryOf(peer.pid) > MEMORY) hung = `${args.join(" ")}: reads for ever`;
  }
  if (hung && !peer.over) peer.kill("SIGKILL");
  return { ...await peer.end(), hung };
}

/** The same, and it must have ended by itself, without a stack trace. */
export async function endsOf(
  args: string[],
  options: RunOptions = {},
): Promise<Bounded> {
  const ran = await runBounded(args, options);
  assert(ran.hung === undefined, `${ran.hung}: ${ran.heard}`);
  assert(!ran.heard.includes("    at "), ran.heard);
  return ran;
}

function memoryOf(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
}
