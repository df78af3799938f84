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

/** Bytes of all of them. */
export function bytesOf(digests: Iterable<{ readonly size: number }>): number {
  let bytes = 0;
  for (const { size } of digests) bytes += size;
  return bytes;
}
