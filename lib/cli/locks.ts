import type { LockOptions } from "../lock/file.ts";
import { UsageError } from "./flag.ts";
import type { Call, LOCKS } from "./flags.ts";

/** A call of a command that takes locks. */
export type LockCall = Call<{ flags: typeof LOCKS; words: [] }>;

/** What the flags of {@linkcode LOCKS} say. */
export function lockOptions(
  { values, typed, line }: LockCall,
  signal: AbortSignal,
): LockOptions & { lock: boolean } {
  const { ifBusy, wait, noLock } = values;
  if (typed.has("wait") && ifBusy !== "wait") {
    throw new UsageError(`--wait makes no sense with --if-busy ${ifBusy}`);
  }
  return {
    lock: !noLock,
    purpose: line,
    signal,
    ...ifBusy !== "wait"
      ? { wait: 0 }
      : wait !== undefined && { wait: wait * 1000 },
  };
}
