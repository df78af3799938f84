import { lease, type Lock } from "../lock/directory.ts";
import { runChild } from "./child.ts";
import { untilSignalled } from "./ending.ts";
import type { Call, USE } from "./flags.ts";
import { lockOptions } from "./locks.ts";
import { printJson } from "./output.ts";

/** `rebuild-cache use DIR… -- COMMAND…` */
export async function run(call: Call<typeof USE>): Promise<number> {
  const { dir, json } = call.values;
  // In one order, so that two who use the same do not wait for each other.
  const dirs = [...new Set(dir)].sort();
  return await untilSignalled(async (signal) => {
    const { lock, ...options } = lockOptions(call, signal);
    using held = new DisposableStack();
    for (const dir of lock ? dirs : []) {
      held.use<Lock>(await lease(dir, options));
    }
    const code = await runChild(call.run, { signal, toStderr: json });
    if (json) printJson("use", { result: { code } });
    return code;
  });
}
