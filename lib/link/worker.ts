/**
 * Builds subtrees beside the main thread: takes the next one that nobody has, as
 * long as there is one.
 *
 * @module
 */

import type { CacheErrorKind } from "../error.ts";
import { DescriptorDirectory } from "../fs/descriptors.ts";
import type { Directory } from "../fs/directory.ts";
import { PathDirectory } from "../fs/paths.ts";
import { Builder, type BuildJob, type Built } from "./build.ts";
import { LinkError } from "./error.ts";
import type { LadderState } from "./ladder.ts";
import type { LinkProgress } from "./options.ts";
import { filesIn } from "./report.ts";
import { Shared } from "./shared.ts";

/** A directory that another thread holds open: descriptors are the process's. */
export type Room = {
  path: string;
  at?: string;
  fd?: number;
  safe: boolean;
};

/** What a worker is sent. */
export interface Order {
  readonly job: BuildJob;
  readonly rooms: { source: Room; destination: Room; scratch: Room };
  readonly ladder: LadderState;
  /** Subtrees to build: paths below the source. */
  readonly subtrees: readonly string[];
  readonly shared: SharedArrayBuffer;
}

/** What it answers, once. */
export type Answer = { built: Built } | {
  error: { message: string; src: string; dst: string; kind: CacheErrorKind };
};

/** A directory, as another thread can be told of it. */
export function toRoom(directory: Directory): Room {
  const { path, safe } = directory;
  return directory instanceof DescriptorDirectory
    ? { path, safe, fd: directory.fd }
    : { path, safe, at: (directory as PathDirectory).at };
}

function fromRoom({ path, at = path, fd, safe }: Room): Directory {
  return fd === undefined
    ? new PathDirectory(at, safe, path)
    : DescriptorDirectory.held(fd, path);
}

/** Adds what was done to what all threads share, after each directory. */
function counter(shared: Shared): (built: Built) => void {
  let last: LinkProgress = { files: 0, directories: 0, bytes: 0 };
  return (built) => {
    const now = {
      files: filesIn(built),
      directories: last.directories + 1,
      bytes: built.bytes,
    };
    shared.add({
      files: now.files - last.files,
      directories: 1,
      bytes: now.bytes - last.bytes,
    });
    last = now;
  };
}

/** The worker's side: one order, one answer. */
async function answer(order: Order): Promise<Answer> {
  const { job, ladder, subtrees, rooms } = order;
  const shared = new Shared(order.shared);
  shared.begin();
  using held = new DisposableStack();
  try {
    using builder = new Builder(
      job,
      {
        source: held.use(fromRoom(rooms.source)),
        destination: held.use(fromRoom(rooms.destination)),
        scratch: held.use(fromRoom(rooms.scratch)),
      },
      ladder,
      { check: () => shared.throwIfStopped() },
      (inode) => shared.claim(inode),
      counter(shared),
    );
    for (let next; (next = shared.next()) < subtrees.length;) {
      await builder.subtree(subtrees[next]!);
    }
    return { built: builder.built };
  } catch (error) {
    shared.stop();
    const { source, destination } = rooms;
    const { src, dst, kind } = error instanceof LinkError ? error : {
      src: source.path,
      dst: destination.path,
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
  scope.onmessage = async ({ data }) => scope.postMessage(await answer(data));
}
