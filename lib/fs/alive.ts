import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import type { OpenFile } from "./directory.ts";

/**
 * Locks the file that a worker keeps locked as long as it lives: whoever gets the lock
 * is that worker, or knows that it is dead.
 *
 * @param otherwise What is believed where the file system has no locks.
 */
export function lockForLife(
  file: OpenFile,
  otherwise: () => boolean = () => true,
): boolean {
  try {
    return file.tryLock(true);
  } catch (error) {
    log.debug(() => `No locks here: ${osErrorText(error)}`);
    return otherwise();
  }
}
