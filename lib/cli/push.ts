import type { Cache } from "../cache/interface.ts";
import type { RemoteReport } from "../cache/remote.ts";
import type { CallOptions } from "../cache/store.ts";
import { printable } from "../os/text.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import { UsageError } from "./flag.ts";
import type { Call, PULL, PUSH } from "./flags.ts";
import { keyWithHash } from "./key.ts";
import { complain } from "./output.ts";
import { openShared } from "./remote.ts";
import { plural, size } from "./render.ts";

/** `rebuild-cache push KEY…` */
export async function run(call: Call<typeof PUSH>): Promise<number> {
  return await share(call, (cache, key, how) => cache.push(key, how));
}

/** Asks a remote for each key, or gives it what each points to. */
export async function share(
  call: Call<typeof PUSH> | Call<typeof PULL>,
  ask: (
    cache: Cache,
    key: string,
    how: CallOptions,
  ) => Promise<RemoteReport | undefined>,
): Promise<number> {
  const { command, values } = call;
  if (values.remote === undefined) {
    throw new UsageError(`${command} needs --remote URL`);
  }
  return await untilSignalled(async (signal) => {
    const { cache, asked } = await openShared(call, signal);
    using _ = asked;
    const keys: Shared[] = [];
    for (const name of new Set(values.key)) {
      const key = await keyWithHash(call, name, signal, cache.path);
      const remote = await ask(cache, key, {});
      keys.push(remote ? { key, remote } : { key });
    }
    report(call, { path: cache.path, keys }, () => keys.flatMap(say));
    for (const { key, remote } of keys) {
      if (!remote) {
        complain(`"${printable(key)}" is not in the cache "${cache.path}"`);
      } else if (!isDone(remote)) {
        const { reason = "it is not there" } = remote;
        complain(
          `"${printable(key)}" was not ${
            command === "push" ? "pushed" : "pulled"
          }: ${reason}`,
        );
      }
    }
    if (keys.some(({ remote }) => remote && isBad(remote))) return EXIT.failed;
    return keys.every(({ remote }) => remote && isDone(remote))
      ? EXIT.done
      : EXIT.miss;
  });
}

/** A key, and what was done with it; without that, it is not here. */
interface Shared {
  readonly key: string;
  readonly remote?: RemoteReport;
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
