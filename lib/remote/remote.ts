/**
 * Servers that machines share.
 *
 * @module
 */

import type { Remote } from "../cache/remote.ts";
import { checkOptions, checkSignal } from "../os/arguments.ts";
import type { DoctorOptions, RemoteHealth } from "./health.ts";
import { type RemoteOptions, settingsOf } from "./options.ts";
import { SharedRemote } from "./shared_remote.ts";

export type { RemoteKind, RemoteOptions } from "./options.ts";
export type { DoctorOptions, RemoteHealth } from "./health.ts";
export {
  awsOf,
  type AwsOptions,
  type CredentialOptions,
} from "./credentials.ts";

/**
 * Opens a remote. Nothing is connected, nor loaded, before its first call.
 *
 * @param url `https://host/path` (Bazel's HTTP cache), `s3://bucket/prefix?endpoint=…&region=…`,
 * or `grpcs://host:port/instance` (the Remote Execution API); `http:` and `grpc:` to this
 * machine, or if that is allowed.
 * @throws {TypeError} If the URL or an option is invalid, or credentials would be sent in
 * clear text to another machine.
 *
 * @example Two machines
 * ```ts
 * import { openCache } from "@rebuild/cache";
 * import { openRemote } from "@rebuild/cache/remote";
 * import { assertEquals } from "@std/assert";
 *
 * const contents = new Map<string, Uint8Array<ArrayBuffer>>();
 * await using server = Deno.serve({ port: 0, onListen() {} }, async (request) => {
 *   const { pathname } = new URL(request.url);
 *   if (request.method === "PUT") contents.set(pathname, await request.bytes());
 *   const content = contents.get(pathname);
 *   return new Response(content, { status: content ? 200 : 404 });
 * });
 * using remote = openRemote(`http://127.0.0.1:${server.addr.port}`, {
 *   mode: "read-write",
 * });
 * const dir = await Deno.makeTempDir();
 * for (const machine of ["one", "two"]) {
 *   const cache = openCache(`${dir}/${machine}`, { remote });
 *   using entry = await cache.ensure("key", async (staging) => {
 *     await Deno.writeTextFile(`${staging}/made-by`, machine);
 *   });
 *   assertEquals(await Deno.readTextFile(`${entry.path}/made-by`), "one");
 * }
 * await Deno.remove(dir, { recursive: true });
 * ```
 *
 * @category Remote
 */
export function openRemote(
  url: string | URL,
  options: RemoteOptions = {},
): Remote {
  return new SharedRemote(settingsOf(url, options));
}

/**
 * Finds out what can be done with a remote: asks it, and if it may be written, sends a few
 * megabytes of noise there and back. Never throws for what the server does.
 *
 * @param remote What {@linkcode openRemote} gave.
 * @throws The signal's reason.
 *
 * @example A server that is not there
 * ```ts
 * import { doctor, openRemote } from "@rebuild/cache/remote";
 * import { assertEquals } from "@std/assert";
 *
 * using remote = openRemote("http://127.0.0.1:9999");
 * assertEquals((await doctor(remote)).reads, false);
 * ```
 *
 * @category Remote
 */
export function doctor(
  remote: Remote,
  options: DoctorOptions = {},
): Promise<RemoteHealth> {
  checkOptions(options);
  checkSignal(options.signal);
  if (remote instanceof SharedRemote) return remote.examine(options);
  throw new TypeError("remote must be one that openRemote() gave");
}
