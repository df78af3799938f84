/**
 * Does the work for all items, some at a time. The first failure aborts what is under way,
 * and is thrown when all of it has ended.
 */
export async function pool<T>(
  items: Iterable<T>,
  atOnce: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const abort = new AbortController();
  const either = AbortSignal.any([signal, abort.signal]);
  const left = items[Symbol.iterator]();
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    while (!failure) {
      const next = left.next();
      if (next.done) return;
      try {
        await work(next.value, either);
      } catch (error) {
        failure ??= { error };
        abort.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  if (failure) throw failure.error;
}

/** Room for so many at a time, whoever asks. */
export class Room {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  /** Does the work when there is room, unless the signal comes before. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      // The place is handed on, so that nobody comes in between.
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
      if (at < 0) return; // it has its turn already
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
}
