import type { Call, PULL } from "./flags.ts";
import { share } from "./push.ts";

/** `rebuild-cache pull KEY…` */
export async function run(call: Call<typeof PULL>): Promise<number> {
  return await share(call, (cache, key, how) => cache.pull(key, how));
}
