/**
 * A cache with the server that it shares with other machines, if one is named.
 *
 * @module
 */

import type { Cache } from "../cache/interface.ts";
import type { Remote, RemoteReport } from "../cache/remote.ts";
import { osFailure } from "../error.ts";
import { kindOfError } from "../error.ts";
import { Ended, EXIT } from "./ending.ts";
import { UsageError } from "./flag.ts";
import type { Call, REMOTE, ROOT } from "./flags.ts";
import { plural, size } from "./render.ts";
import { openStore } from "./store.ts";

type RemoteCall = Call<{ flags: typeof REMOTE; words: [] }>;

type SharedCall = Call<{ flags: [typeof ROOT, ...typeof REMOTE]; words: [] }>;

/** Where AWS's tools are told what else to do: https://docs.aws.amazon.com/sdkref */
const AWS_CONFIG = ".aws/config";

/** What a run asked of its remote, and what came of it. */
export class Asked implements Disposable {
  readonly #remote: Remote | undefined;
  readonly #required: boolean;
  readonly #reports: RemoteReport[] = [];

  constructor(remote: Remote | undefined, required: boolean) {
    this.#remote = remote;
    this.#required = required;
  }

  [Symbol.dispose](): void {
    this.#remote?.[Symbol.dispose]();
  }

  /** For each call of the cache. With `--remote-required`, it ends one that is no help. */
  readonly onRemote = (report: RemoteReport): void => {
    this.#reports.push(report);
    const { outcome, reason = "" } = report;
    const isBad = outcome === "down" || outcome === "refused" ||
      outcome === "off" && reason.includes("down");
    if (!this.#required || !isBad) return;
    throw new Ended(EXIT.failed, "other", `The remote is required: ${reason}`);
  };

  /** What `--json` says of it: the last outcome, and the sum of the rest. */
  get json(): { remote?: RemoteReport } {
    const [first, ...more] = this.#reports;
    if (!first) return {};
    const remote = more.reduce((sum, it) => ({
      // A push that was not tried says less than why it was not.
      ...it.outcome === "off" ? sum : it,
      calls: sum.calls + it.calls,
      sentBytes: sum.sentBytes + it.sentBytes,
      receivedBytes: sum.receivedBytes + it.receivedBytes,
      files: sum.files + it.files,
      durationMs: sum.durationMs + it.durationMs,
    }), first);
    return { remote };
  }

  /** What people are told of it, before the rest. */
  get text(): string {
    return this.#reports.map(({ outcome, files, ...bytes }) => {
      const all = plural(files, "file");
      if (outcome === "hit") {
        return `Pulled ${all}, ${size(bytes.receivedBytes)}. `;
      }
      if (outcome === "pushed") {
        return `Pushed ${all}, ${size(bytes.sentBytes)}. `;
      }
      return "";
    }).join("");
  }
}

/** The cache of a call, with its remote. Dispose of what was asked. */
export async function openShared(
  call: SharedCall,
  signal: AbortSignal,
  { local = false }: { local?: boolean } = {},
): Promise<{ cache: Cache; asked: Asked }> {
  const { remote: url, remoteRequired } = call.values;
  // What only looks asks nobody else.
  if (url === undefined || local) {
    if (remoteRequired) {
      throw new UsageError("--remote-required needs --remote URL");
    }
    const asked = new Asked(undefined, false);
    return { cache: openStore(call, signal), asked };
  }
  const remote = await openNamed(call, url);
  const asked = new Asked(remote, remoteRequired);
  return { cache: openStore(call, signal, remote), asked };
}

/**
 * The modules of remotes. Their name is made here, so that no start of the program looks
 * at them, and at npm's packages, that does not need them: that takes 3 ms.
 */
export async function loadRemotes(): Promise<
  typeof import("../remote/remote.ts")
> {
  return await import(new URL("../remote/remote.ts", import.meta.url).href);
}

/** The remote of a call, with whatever the user's environment says of it. */
export async function openNamed(
  { values }: RemoteCall,
  url: string,
): Promise<Remote> {
  const { openRemote, awsOf } = await loadRemotes();
  const { remoteMode: mode, remoteInsecure: insecure } = values;
  const { remoteCa: ca, remoteCert: cert, remoteKey: key } = values;
  const { remoteSign: sign, remoteTrust, credentialHelper } = values;
  const { remoteTimeout: timeout } = values;
  const headers = Deno.env.get("REBUILD_CACHE_REMOTE_HEADER");
  const netrc = readOwn("NETRC", ".netrc");
  try {
    return openRemote(url, {
      mode,
      insecure,
      ...timeout !== undefined && {
        connectTimeout: Math.max(1, timeout * 1000),
        idleTimeout: Math.max(1, timeout * 1000),
      },
      ...ca !== undefined && { ca: read(ca) },
      ...cert !== undefined && { cert: read(cert) },
      ...key !== undefined && { key: read(key) },
      ...sign !== undefined && { sign: read(sign) },
      trust: remoteTrust.map(read),
      ...headers !== undefined && { headers },
      ...credentialHelper !== undefined && { credentialHelper },
      ...netrc !== undefined && { netrc },
      ...url.startsWith("s3:") && {
        aws: { ...awsConfig(), ...awsOf((name) => Deno.env.get(name)) },
      },
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(`--remote: ${error.message}`);
  }
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw osFailure("read", path, error);
  }
}

/** `credential_process` and the region of the user's profile. */
function awsConfig(): { credentialProcess?: string; region?: string } {
  const profile = Deno.env.get("AWS_PROFILE") ?? "default";
  const text = readOwn("AWS_CONFIG_FILE", AWS_CONFIG) ?? "";
  let isOurs = false;
  const found: { credentialProcess?: string; region?: string } = {};
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(?:profile\s+)?(.*?)\s*\]/.exec(line)?.[1];
    if (section !== undefined) isOurs = section === profile;
    const [, name, value] = /^(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (!isOurs || !value) continue;
    if (name === "credential_process") found.credentialProcess = value;
    if (name === "region") found.region = value;
  }
  return found;
}

/** A file of the user's, if it is there. */
function readOwn(variable: string, name: string): string | undefined {
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE");
  const path = Deno.env.get(variable) ?? (home && `${home}/${name}`);
  if (!path) return undefined;
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (kindOfError(error) === "not-found") return undefined;
    throw osFailure("read", path, error);
  }
}
