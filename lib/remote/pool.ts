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
