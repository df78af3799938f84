/** How many calls may be under way at a time. */
const COUNT = 4;

/** Lets few jobs run at a time: each holds contents in memory, and a stream open. */
export class Slots {
  #free = COUNT;
  readonly #queue: (() => void)[] = [];

  /** Runs a job when there is room. */
  async run<T>(signal: AbortSignal, job: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    try {
      return await job();
    } finally {
      const next = this.#queue.shift();
      if (next) next();
      else this.#free++;
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queue.push(resolve);
    const stop = () => {
      const at = this.#queue.indexOf(resolve);
      if (at < 0) return; // It has its turn already.
      this.#queue.splice(at, 1);
      reject(signal.reason);
    };
    signal.addEventListener("abort", stop);
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /**
   * Does something with each item. What fails stops the others, by the signal that they
   * are given, and is thrown when they have ended.
   */
  async forEach<T>(
    items: readonly T[],
    signal: AbortSignal,
    job: (item: T, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const all = new AbortController();
    const stop = () => all.abort(signal.reason);
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    const failures: unknown[] = [];
    const todo = items.values(); // one for all workers
    const work = async () => {
      try {
        for (const item of todo) {
          await this.run(all.signal, () => job(item, all.signal));
        }
      } catch (error) {
        failures.push(error);
        all.abort(error);
      }
    };
    try {
      await Promise.all(items.slice(0, COUNT).map(work));
    } finally {
      signal.removeEventListener("abort", stop);
    }
    signal.throwIfAborted();
    if (failures.length > 0) throw failures[0];
  }
}
