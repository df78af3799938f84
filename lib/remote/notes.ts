/**
 * Notes that one process leaves for the next: empty files, or short ones. They are hints:
 * what can't be written or read is as if it were not there.
 *
 * @module
 */

import { type Directory, toMilliseconds } from "../fs/directory.ts";
import { removeQuietly, siblingName } from "../fs/names.ts";
import { openParent } from "../fs/open.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";

/** A folder of notes. It is made when the first one is written. */
export class Notes {
  readonly #folder: string | undefined;

  /** @param folder Its absolute path; `undefined`: nothing is noted. */
  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  /** When a note was written, in milliseconds since 1970. Anything but a file is no note. */
  timeOf(name: string): number | undefined {
    return this.#tried("read", name, false, (directory) => {
      const status = directory.look(name);
      if (status?.kind !== "file") return undefined;
      return toMilliseconds(status.modified);
    });
  }

  /**
   * Writes a note: whole or not at all. What else stands there is never written through.
   *
   * @returns Whether it is written.
   */
  write(name: string, text: string): boolean {
    const written = this.#tried("write", name, true, (directory) => {
      const temporary = siblingName(name, "partial");
      try {
        using file = directory.openFile(temporary, "create", 0o644);
        file.write(new TextEncoder().encode(text));
        file.close();
        directory.rename(temporary, directory, name);
        return true;
      } catch (error) {
        removeQuietly(directory, temporary);
        throw error;
      }
    });
    return written ?? false;
  }

  /** Removes a note. */
  remove(name: string): void {
    this.#tried("remove", name, false, (directory) => directory.remove(name));
  }

  #tried<T>(
    verb: string,
    name: string,
    isMade: boolean,
    use: (directory: Directory) => T,
  ): T | undefined {
    if (this.#folder === undefined) return undefined;
    try {
      using place = openParent(this.#folder);
      if (isMade) makeIfMissing(place.parent, place.name);
      using directory = place.parent.open(place.name);
      return use(directory);
    } catch (error) {
      if (isMade || errorKind(error) !== "not-found") {
        log.trace(() =>
          `Cannot ${verb} the note "${name}": ${osErrorText(error)}`
        );
      }
      return undefined;
    }
  }
}

function makeIfMissing(parent: Directory, name: string): void {
  if (parent.look(name)) return;
  try {
    parent.make(name);
  } catch (error) {
    if (errorKind(error) !== "already-exists") throw error;
  }
}
