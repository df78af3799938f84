import type { Digest } from "./engine.ts";

/** What goes in one call with others, and what is too large for that. */
export interface Batches<T> {
  readonly batches: readonly (readonly T[])[];
  readonly large: readonly T[];
}

/** What a content needs in a message beside itself: its digest, a status, and the like. */
const AROUND = 96;

/** Groups contents, in their order, so that a message of each group is below a limit. */
export function inBatches<T>(
  items: readonly T[],
  digestOf: (item: T) => Digest,
  limit: number,
): Batches<T> {
  const batches: T[][] = [];
  const large: T[] = [];
  let [batch, size]: [T[], number] = [[], 0];
  for (const item of items) {
    const more = digestOf(item).size + AROUND;
    if (more > limit / 2) { // Little else would go with it.
      large.push(item);
      continue;
    }
    if (size + more > limit) {
      batches.push(batch);
      [batch, size] = [[], 0];
    }
    batch.push(item);
    size += more;
  }
  if (batch.length > 0) batches.push(batch);
  return { batches, large };
}

/** The same without those that are there twice. */
export function unique<T>(
  items: readonly T[],
  digestOf: (item: T) => Digest,
): T[] {
  const found = new Map<string, T>();
  for (const item of items) {
    const name = nameOf(digestOf(item));
    if (!found.has(name)) found.set(name, item);
  }
  return [...found.values()];
}

/** A digest as the protocol writes it in names. */
export function nameOf({ hash, size }: Digest): string {
  return `${hash}/${size}`;
}
