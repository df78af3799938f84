import type { RemoteServer } from "../../lib/cache/remote.ts";
import { openRemote, type RemoteOptions } from "../../lib/remote/remote.ts";

/** A remote as a cache sees it. */
export function openServer(
  url: string | URL,
  options: RemoteOptions = {},
): RemoteServer {
  // However slow this machine is.
  const patient = { connectTimeout: 60_000, idleTimeout: 60_000 };
  return openRemote(url, { ...patient, ...options }) as RemoteServer;
}
