import { log } from "../log.ts";
import {
  addBuilt,
  Builder,
  type BuildJob,
  type Built,
  filesIn,
} from "./build.ts";
import { LinkError } from "./error.ts";
import type { LadderState } from "./ladder.ts";
import type { LinkTreeOptions } from "./options.ts";
import {
  type Answer,
  newShared,
  type Order,
  stopAll,
  takeSubtree,
  workersBegun,
  workersProgress,
} from "./worker.ts";

/** Files after which a second thread pays: it takes 12 ms to start. */
const ENOUGH_FILES = 1500;

/** Subtrees that there must be to share: the last to be taken decides the end. */
const ENOUGH_SUBTREES = 32;

/** How a tree is built. */
export type BuildOptions = Pick<
  LinkTreeOptions,
  "jobs" | "signal" | "onProgress"
>;

/**
 * Builds a tree, alone at first, then with a worker if it turns out to be big.
 * Every subtree is taken by exactly one thread, by a counter that they share; a
 * thread that fails makes the others stop, and its error comes back.
 */
export async function buildTree(
  job: BuildJob,
  options: BuildOptions,
): Promise<{ built: Built; threads: number }> {
  const { jobs = 2, onProgress } = options;
  const ladder: LadderState = new Map();
  let directories = 0;
  using builder = new Builder(job, ladder, () => directories++);
  const { built } = builder;
  let order: Order | undefined;
  const tell = () => {
    const more = order ? workersProgress(order) : NO_PROGRESS;
    onProgress?.({
      files: filesIn(built) + more.files,
      directories: directories + more.directories,
      bytes: built.bytes + more.bytes,
    });
  };
  const breathe = breather(options, tell);
  const queue = [""];
  let threads = 1;
  // Breadth first, so that what is left to share are large subtrees.
  for (let at = 0; at < queue.length; at++) {
    const pause = breathe?.();
    if (pause) await pause;
    if (
      jobs > 1 && queue.length - at >= ENOUGH_SUBTREES &&
      filesIn(built) >= ENOUGH_FILES
    ) {
      const subtrees = queue.slice(at);
      order = { job, ladder, subtrees, shared: newShared() };
      threads = await share(builder, order, jobs - 1, breathe);
      order = undefined; // what the workers did is in `built`
      directories = built.directories + 1;
      break;
    }
    builder.directory(queue[at]!, queue);
    queue[at] = ""; // memory stays flat
  }
  options.signal?.throwIfAborted();
  tell();
  return { built, threads };
}

const NO_PROGRESS = { files: 0, directories: 0, bytes: 0 };

/** How long nothing is heard of a signal, or said of the progress, in milliseconds. */
const BREATH = 100;

/** Takes a pause if it is time for one. */
type Breathe = () => Promise<void> | undefined;

/** Lets a signal be heard, now and then: a turn of the event loop takes 1 ms. */
function breather(
  { signal, onProgress }: BuildOptions,
  tell: () => void,
): Breathe | undefined {
  if (!signal && !onProgress) return undefined;
  let next = performance.now() + BREATH;
  return () => {
    if (performance.now() < next) return undefined;
    tell();
    return new Promise((resolve) => setTimeout(resolve, 0)).then(() => {
      signal?.throwIfAborted();
      next = performance.now() + BREATH;
    });
  };
}

async function share(
  builder: Builder,
  order: Order,
  workers: number,
  breathe: Breathe | undefined,
): Promise<number> {
  const answers = Array.from({ length: workers }, () => ask(order));
  let failed: unknown;
  try {
    for (let next; (next = takeSubtree(order)) !== undefined;) {
      builder.subtree(next);
      const pause = breathe?.();
      if (pause) await pause;
    }
  } catch (error) {
    stopAll(order);
    failed = error;
  }
  let threads = 1;
  for (const answer of await Promise.all(answers)) {
    if (!answer) continue;
    threads++;
    if ("built" in answer) addBuilt(builder.built, answer.built);
    else {
      const { message, src, dst, kind } = answer.error;
      failed ??= new LinkError(message, src, dst, kind);
    }
  }
  if (failed) throw failed;
  if (threads - 1 < workersBegun(order)) {
    const { source, destination } = order.job;
    throw new LinkError(
      `Cannot link "${source}": a worker died`,
      source,
      destination,
      "other",
    );
  }
  return threads;
}

/** Sends an order to a new worker. No answer if it could not start, or died. */
function ask(order: Order): Promise<Answer | undefined> {
  let worker: Worker;
  try {
    worker = new Worker(new URL("./worker.ts", import.meta.url), {
      type: "module",
    });
  } catch (error) {
    log.debug(() => `Building with one thread: ${error}`);
    return Promise.resolve(undefined);
  }
  const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
  worker.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    log.debug(() => `Building with one thread: ${event.message}`);
    resolve(undefined);
  };
  worker.postMessage(order);
  return promise.finally(() => worker.terminate());
}
