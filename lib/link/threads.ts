import { log } from "../log.ts";
import { addBuilt, Builder, type BuildJob, type Built } from "./build.ts";
import { LinkError } from "./error.ts";
import type { LadderState } from "./ladder.ts";
import {
  type Answer,
  newShared,
  type Order,
  stopAll,
  takeSubtree,
  workersBegun,
} from "./worker.ts";

/** Files after which a second thread pays: it takes 12 ms to start. */
const ENOUGH_FILES = 1500;

/** Subtrees that there must be to share: the last to be taken decides the end. */
const ENOUGH_SUBTREES = 32;

/**
 * Builds a tree, alone at first, then with a worker if it turns out to be big.
 * Every subtree is taken by exactly one thread, by a counter that they share; a
 * thread that fails makes the others stop, and its error comes back.
 */
export async function buildTree(
  job: BuildJob,
  jobs = 2,
  signal?: AbortSignal,
): Promise<{ built: Built; threads: number }> {
  const ladder: LadderState = new Map();
  using builder = new Builder(job, ladder);
  const { built } = builder;
  const breathe = breather(signal);
  const queue = [""];
  // Breadth first, so that what is left to share are large subtrees.
  for (let at = 0; at < queue.length; at++) {
    {
      const p = breathe?.();
      if (p) await p;
    }
    const files = built.cloned + built.hardlinked + built.symlinked +
      built.copied + built.created;
    if (
      jobs > 1 && files >= ENOUGH_FILES &&
      queue.length - at >= ENOUGH_SUBTREES
    ) {
      const order = {
        job,
        ladder,
        subtrees: queue.slice(at),
        shared: newShared(),
      };
      const threads = await share(builder, order, jobs - 1, signal);
      return { built, threads };
    }
    builder.directory(queue[at]!, queue);
    queue[at] = ""; // memory stays flat
  }
  signal?.throwIfAborted();
  return { built, threads: 1 };
}

/** How long nothing is heard of a signal, in milliseconds. */
const BREATH = 100;

/** Lets a signal be heard, now and then: a turn of the event loop takes 1 ms. */
function breather(
  signal: AbortSignal | undefined,
): (() => Promise<void> | undefined) | undefined {
  if (!signal) return undefined;
  let next = performance.now() + BREATH;
  return () => {
    if (performance.now() < next) return undefined;
    return new Promise((resolve) => setTimeout(resolve, 0)).then(() => {
      signal.throwIfAborted();
      next = performance.now() + BREATH;
    });
  };
}

async function share(
  builder: Builder,
  order: Order,
  workers: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const answers = Array.from({ length: workers }, () => ask(order));
  let failed: unknown;
  try {
    const breathe = breather(signal);
    for (let next; (next = takeSubtree(order)) !== undefined;) {
      builder.subtree(next);
      {
        const p = breathe?.();
        if (p) await p;
      }
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
