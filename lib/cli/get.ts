import { CacheError } from "../error.ts";
import { printable } from "../os/text.ts";
import { EXIT, report, untilSignalled } from "./ending.ts";
import { UsageError } from "./flag.ts";
import type { Call, GET } from "./flags.ts";
import { keyWithHash } from "./key.ts";
import { complain, printJson } from "./output.ts";
import { isUnchanged } from "./placing.ts";
import { openShared } from "./remote.ts";
import { isThere } from "./store.ts";

/** `rebuild-cache get KEY DST` */
export async function run(call: Call<typeof GET>): Promise<number> {
  const { dst, fallback, lookupOnly } = call.values;
  if (!lookupOnly && dst === undefined) {
    throw new UsageError("get takes KEY and DST; DST is missing");
  }
  return await untilSignalled(async (signal) => {
    const { cache, asked } = await openShared(call, signal);
    using _ = asked;
    const except = dst === undefined ? [] : [dst];
    const key = await keyWithHash(
      call,
      call.values.key,
      signal,
      cache.path,
      ...except,
    );
    const miss = async () => {
      await isThere(cache); // what is something else is an error, not a miss
      asked.check();
      if (call.values.json) {
        const result = { outcome: "miss", key, ...asked.json };
        printJson("get", { result });
      }
      complain(`"${printable(key)}" is not in the cache "${cache.path}"`);
      return EXIT.miss;
    };
    if (!lookupOnly) {
      try {
        if (await isUnchanged(call, cache, key, dst!)) return EXIT.done;
      } catch (error) {
        // A miss is told first, and the rest when it is put there.
        if (!(error instanceof CacheError)) throw error;
      }
    }
    using entry = await cache.get(key, {
      fallback,
      onRemote: asked.onRemote,
    });
    if (!entry) return await miss();
    const { outcome, matchedKey } = entry;
    const isPartial = matchedKey !== undefined;
    const known = { ...isPartial && { matchedKey }, ...asked.json };
    const hit = { outcome, key, ...known };
    const how = isPartial
      ? `Found ${printable(matchedKey)} for ${printable(key)}`
      : `Found ${printable(key)}`;
    if (lookupOnly) {
      asked.check();
      report(call, hit, () => how);
      return EXIT.done;
    }
    const { linkAny, unlessDamaged } = await import("./link.ts");
    const linking = linkAny(entry.path, dst!, call, { signal, entry });
    const linked = await unlessDamaged(linking);
    if (!linked) return await miss();
    const { result, text } = linked;
    const said = isPartial ? `${how}. ${text}` : text;
    asked.check();
    report(call, { ...hit, link: result }, () => said);
    return EXIT.done;
  });
}
