/**
 * Builds subtrees beside the main thread: takes the next one that nobody has, as
 * long as there is one.
 *
 * @module
 */

import { Builder, type BuildJob, type Built, filesIn } from "./build.ts";
import type { CacheErrorKind } from "../error.ts";
import type { LadderState } from "./ladder.ts";
import { LinkError } from "./error.ts";
import type { LinkProgress } from "./options.ts";

/** What a worker is sent. */
export interface Order {
  readonly job: BuildJob;
  readonly ladder: LadderState;
  /** Subtrees to build: paths below the source. */
  readonly subtrees: readonly string[];
  /** Of {@linkcode newShared}. */
  readonly shared: SharedArrayBuffer;
}

/** What it answers, once. */
export type Answer = { built: Built } | {
  error: { message: string; src: string; dst: string; kind: CacheErrorKind };
};

/** Places in what all threads share, 32 bits wide: the next subtree, and workers that began. */
const NEXT = 0;
const BEGUN = 1;

/** Places 64 bits wide: what workers have done. */
const FILES = 1;
const DIRECTORIES = 2;
const BYTES = 3;

/** What all threads share. */
export function newShared(): SharedArrayBuffer {
  return new SharedArrayBuffer(32);
}

/** What workers have done. */
export function workersProgress({ shared }: Order): LinkProgress {
  const done = new BigInt64Array(shared);
  return {
    files: Number(Atomics.load(done, FILES)),
    directories: Number(Atomics.load(done, DIRECTORIES)),
    bytes: Number(Atomics.load(done, BYTES)),
  };
}

/** Adds to it after each directory. */
function counter({ shared }: Order): (built: Built) => void {
  const done = new BigInt64Array(shared);
  let [files, bytes] = [0, 0];
  return (built) => {
    Atomics.add(done, FILES, BigInt(filesIn(built) - files));
    Atomics.add(done, BYTES, BigInt(built.bytes - bytes));
    Atomics.add(done, DIRECTORIES, 1n);
    files = filesIn(built);
    bytes = built.bytes;
  };
}

/** The next subtree that nobody has taken. */
export function takeSubtree({ subtrees, shared }: Order): string | undefined {
  return subtrees[Atomics.add(new Int32Array(shared), NEXT, 1)];
}

/** Takes all that are left, so that nobody goes on. */
export function stopAll({ subtrees, shared }: Order): void {
  Atomics.store(new Int32Array(shared), NEXT, subtrees.length);
}

/** How many workers have begun, and so may have taken something. */
export function workersBegun({ shared }: Order): number {
  return Atomics.load(new Int32Array(shared), BEGUN);
}

/** The worker's side: one order, one answer. */
export function answer(order: Order): Answer {
  using builder = new Builder(order.job, order.ladder, counter(order));
  Atomics.add(new Int32Array(order.shared), BEGUN, 1);
  try {
    for (let next; (next = takeSubtree(order)) !== undefined;) {
      builder.subtree(next);
    }
    return { built: builder.built };
  } catch (error) {
    stopAll(order);
    const { src, dst, kind } = error instanceof LinkError ? error : {
      src: order.job.source,
      dst: order.job.destination,
      kind: "other" as const,
    };
    const message = error instanceof Error ? error.message : String(error);
    return { error: { message, src, dst, kind } };
  }
}

// Only where this is a worker's main module: the main thread imports it, too.
const scope = globalThis as unknown as {
  WorkerGlobalScope?: unknown;
  onmessage: (event: MessageEvent<Order>) => void;
  postMessage(message: Answer): void;
};
if (scope.WorkerGlobalScope && import.meta.main) {
  scope.onmessage = ({ data }) => scope.postMessage(answer(data));
}
