import { lease, type Lock } from "../lock/directory.ts";
import { CommandFailed, runChild } from "./child.ts";
import { type Parsed, UsageError } from "./flags.ts";
import { lockOptions } from "./locks.ts";
import { printJson } from "./output.ts";
import { untilSignal } from "./signals.ts";
import { fail, untilInterrupted } from "./ending.ts";

/** `rebuild-cache use --dir DIR -- COMMAND…` */
export async function useCommand(parsed: Parsed): Promise<number> {
  // In one order, so that two who use the same do not wait for each other.
  const dirs = [...new Set(parsed.values("dir"))].sort();
  if (dirs.length === 0) throw new UsageError("No --dir was given");
  if (dirs.includes("")) throw new UsageError("--dir needs a value: --dir DIR");
  if (!parsed.run || parsed.positionals.length > 0) {
    throw new UsageError("use runs a command: use --dir DIR -- COMMAND");
  }
  using signals = untilSignal();
  const { lock, ...options } = lockOptions(parsed, signals.signal);
  using held = new DisposableStack();
  const json = parsed.count("json") > 0;
  return await untilInterrupted(signals, parsed, async () => {
    for (const dir of lock ? dirs : []) {
      held.use<Lock>(await lease(dir, options));
    }
    const { signal } = signals;
    try {
      const code = await runChild(parsed.run!, { signal, toStderr: json });
      if (json) printJson("use", { result: { code } });
      return code;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      fail(parsed, "command", error.message);
      return error.code;
    }
  });
}
