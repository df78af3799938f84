/**
 * What the steps of a pull and of a push have in common.
 *
 * @module
 */

import type { RemoteOutcome } from "../cache/remote.ts";
import type { LostKeys } from "./breaker.ts";
import type { Engine, EngineCall } from "./engine.ts";

/** A server that answers. */
export interface Session {
  readonly name: string;
  readonly engine: Engine;
  /** Whether it may be written, as far as it says so. */
  readonly update: boolean | undefined;
  readonly call: EngineCall;
  readonly lost: LostKeys;
  /** Says how many bytes more will go over the wire. */
  expect(bytes: number): void;
}

/** What came of it. */
export interface Result {
  readonly outcome: RemoteOutcome;
  /** Files whose content went over the wire. */
  readonly files: number;
  readonly reason?: string;
}

/** Calls that run at a time, where an engine is asked for one thing after another. */
const PARALLEL = 8;

/** Does work for each item, some at a time. The first error ends it. */
export async function forEach<T>(
  items: Iterable<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failed: { error: unknown } | undefined;
  const worker = async () => {
    for (let next; !failed && !(next = iterator.next()).done;) {
      try {
        await work(next.value);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  if (failed) throw failed.error;
}

/** Bytes of all of them. */
export function bytesOf(digests: Iterable<{ readonly size: number }>): number {
  let bytes = 0;
  for (const { size } of digests) bytes += size;
  return bytes;
}
