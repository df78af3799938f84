import type { RemoteReport } from "../cache/remote.ts";
import { printable } from "../os/text.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import { UsageError } from "./flag.ts";
import type { Call, PUSH } from "./flags.ts";
import { keyWithHash } from "./key.ts";
import { complain } from "./output.ts";
import { openShared } from "./remote.ts";
import { plural, size } from "./render.ts";

/** `rebuild-cache push KEY…` and `rebuild-cache pull KEY…` */
export async function run(call: Call<typeof PUSH>): Promise<number> {
  const { command, values } = call;
  if (values.remote === undefined) {
    throw new UsageError(`${command} needs --remote URL`);
  }
  const isPush = command === "push";
  return await untilSignalled(async (signal) => {
    // Whoever says push means to write.
    const { remoteMode } = values;
    const mode = isPush && !call.typed.has("remote-mode")
      ? "read-write"
      : remoteMode;
    const both = { ...call, values: { ...values, remoteMode: mode } };
    const { cache, asked } = await openShared(both, signal);
    using _ = asked;
    const keys: { key: string; remote?: RemoteReport }[] = [];
    for (const name of new Set(values.key)) {
      const key = await keyWithHash(call, name, signal, cache.path);
      const { onRemote } = asked;
      const remote = isPush
        ? await cache.push(key, { onRemote })
        : await cache.pull(key, { onRemote });
      keys.push(remote ? { key, remote } : { key });
    }
    report(call, { path: cache.path, keys }, () => keys.flatMap(say));
    for (const { key, remote } of keys) {
      if (!remote) {
        complain(`"${printable(key)}" is not in the cache "${cache.path}"`);
      } else if (remote.outcome === "miss") {
        const { reason = "it is not there" } = remote;
        complain(`"${printable(key)}" was not pulled: ${reason}`);
      } else if (!isDone(remote)) {
        complain(`"${printable(key)}": ${remote.reason}`);
      }
    }
    if (keys.some(({ remote }) => remote && isBad(remote))) return EXIT.failed;
    return keys.every(({ remote }) => remote && isDone(remote))
      ? EXIT.done
      : EXIT.miss;
  });
}

function say(
  { key, remote }: { key: string; remote?: RemoteReport },
): string[] {
  if (!remote || !isDone(remote)) return [];
  const { outcome, files, calls, sentBytes, receivedBytes } = remote;
  const verb = outcome === "pushed" ? "Pushed" : "Pulled";
  const bytes = size(outcome === "pushed" ? sentBytes : receivedBytes);
  const how = `${plural(files, "file")}, ${bytes}, ${plural(calls, "call")}`;
  return [`${verb} ${printable(key)}: ${how}`];
}

function isDone({ outcome }: RemoteReport): boolean {
  return outcome === "pushed" || outcome === "hit";
}

function isBad({ outcome }: RemoteReport): boolean {
  return outcome === "down" || outcome === "refused" || outcome === "off";
}
