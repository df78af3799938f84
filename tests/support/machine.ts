/** Machines that share a server: each has a cache of its own. */

import { assertEquals } from "@std/assert";
import type { RemoteReport } from "../../lib/cache/remote.ts";
import { must, type Ran, runCli } from "./command.ts";
import type { TempDir } from "./temp_dir.ts";

/** How a command went on a machine. */
export interface RanHere extends Ran {
  /** What `--json` said. */
  // deno-lint-ignore no-explicit-any -- what a program would see
  readonly json: any;
  /** Lines on standard error. */
  readonly said: readonly string[];
}

/** A machine: a cache, and where its trees are placed. */
export class Machine {
  readonly path: string;
  readonly root: string;
  readonly #env: Record<string, string>;

  /** @param env What its commands have in their environment. */
  constructor(dir: TempDir, name: string, env: Record<string, string> = {}) {
    this.path = dir.at(name);
    this.root = dir.at(name, "root");
    Deno.mkdirSync(this.path);
    // Whatever the user of this machine has in theirs.
    const user = {
      NETRC: dir.at("no-netrc"),
      REBUILD_CACHE_REMOTE_HEADER: "",
      // However slow this machine is.
      REBUILD_CACHE_REMOTE_TIMEOUT: "60",
    };
    this.#env = { ...user, ...env };
  }

  at(name: string): string {
    return `${this.path}/${name}`;
  }

  /** Runs a command on its cache. */
  async run(command: string, ...args: string[]): Promise<RanHere> {
    const given = [command, "--dir", this.root, ...args];
    const ran = await runCli(given, { cwd: this.path, env: this.#env });
    const said = ran.stderr.split("\n").filter((it) => it !== "");
    const json = ran.stdout.startsWith("{") && JSON.parse(ran.stdout);
    return { ...ran, said, json };
  }

  /** Runs it with `--json`. It must succeed and warn of nothing. */
  async done(command: string, ...args: string[]): Promise<RanHere["json"]> {
    const ran = await this.run(command, "--json", ...args);
    assertEquals([ran.code, ran.stderr], [0, ""], `${command} ${ran.stdout}`);
    return ran.json.result;
  }

  /** What lies in its `tmp/`. */
  leftovers(): string[] {
    return [...Deno.readDirSync(this.root)]
      .filter(({ name }) => name.startsWith("tmp"))
      .flatMap(({ name }) => [...Deno.readDirSync(`${this.root}/${name}`)])
      .map(({ name }) => name);
  }
}

/** What a call to a remote did, as far as it is the same each time. */
export function told(
  { outcome, files }: RemoteReport,
): Pick<RemoteReport, "outcome" | "files"> {
  return { outcome, files };
}

/** Asserts that two trees are the same to the nanosecond. Needs rsync. */
export async function assertSameTree(a: string, b: string): Promise<void> {
  const how = ["-aHn", "--delete", "--checksum", "--itemize-changes"];
  const window = "--modify-window=-1"; // nanoseconds, too
  assertEquals(await must("rsync", ...how, window, `${a}/`, `${b}/`), "");
}

/** Whether more time may be taken. */
export const STRESS = !!Deno.env.get("REBUILD_CACHE_STRESS");
