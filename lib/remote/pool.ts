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

  /** Does the work when there is room. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      return await work();
    } finally {
      // The place is handed on, so that nobody comes in between.
      const next = this.#queue.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
