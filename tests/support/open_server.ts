import type { RemoteServer } from "../../lib/cache/remote.ts";
import { openRemote } from "../../lib/remote/remote.ts";

/** A remote as a cache sees it. */
export function openServer(
  ...args: Parameters<typeof openRemote>
): RemoteServer {
  return openRemote(...args) as RemoteServer;
}
