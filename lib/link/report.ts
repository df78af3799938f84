import type { NotKept } from "../fs/fidelity.ts";
import type { Failure } from "../fs/remove.ts";
import { log } from "../log.ts";
import type { LinkReport } from "./options.ts";
import type { Counts } from "./place.ts";

/** What a report tells of. */
interface Reported extends Counts {
  readonly directories: number;
  readonly links: number;
  readonly notKept: ReadonlyMap<string, NotKept>;
  /** In a dry run, the files that would be put there. */
  readonly files?: number;
}

/** A report of what was done, which is logged where it is not what was asked for. */
export function linkReport(
  path: string,
  outcome: LinkReport["outcome"],
  built: Reported,
  threads: number,
  started: number,
  failures: readonly Failure[] = [],
): LinkReport {
  const {
    fallbacks,
    notKept,
    cloned,
    hardlinked,
    symlinked,
    copied,
    created,
    links,
    directories,
    reset,
    stranded,
    bytes,
  } = built;
  for (const { from, reason, count, example } of fallbacks.values()) {
    log.debug(() => `No ${from}: ${reason} (${count}, such as "${example}")`);
  }
  for (const { what, reason, count, example } of notKept.values()) {
    log.debug(() =>
      `Not kept: ${what}: ${reason} (${count}, such as "${example}")`
    );
  }
  return {
    path,
    outcome,
    files: built.files ?? filesIn(built),
    cloned,
    hardlinked,
    symlinked,
    copied,
    created,
    links,
    directories,
    reset,
    stranded,
    linkedBytes: bytes,
    fallbacks: [...fallbacks.values()],
    notKept: [...notKept.values()],
    failures,
    threads,
    durationMs: performance.now() - started,
  };
}

/** The report that what stands there is what should stand there. */
export function unchangedTree(path: string): LinkReport {
  const started = performance.now();
  return linkReport(path, "unchanged", nothingDone(), 0, started);
}

/** Nothing done yet. */
export function nothingDone() {
  const notKept = new Map<string, NotKept>();
  return { ...noCounts(), directories: 0, links: 0, notKept };
}

/** Files that are in place. */
export function filesIn(built: Counts): number {
  return built.cloned + built.hardlinked + built.symlinked + built.copied +
    built.created;
}

/** Nothing counted yet. */
export function noCounts(): Counts {
  return {
    cloned: 0,
    hardlinked: 0,
    symlinked: 0,
    copied: 0,
    created: 0,
    reset: 0,
    stranded: 0,
    bytes: 0,
    fallbacks: new Map(),
  };
}
