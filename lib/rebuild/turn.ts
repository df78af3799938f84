import {
  type Directory,
  fromMilliseconds,
  inodeKey,
  isSameTime,
  type OpenFile,
  toMilliseconds,
} from "../fs/directory.ts";
import { osFailure } from "../error.ts";
import type { Place } from "../fs/open.ts";
import { ownId } from "../fs/trust.ts";
import { holdFile } from "../lock/directory.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import type { RebuildOptions } from "./rebuild.ts";

/** The right to build, which one process has at a time. */
export interface Turn extends Disposable {
  /** Whether somebody else has just built the same. */
  readonly shared: boolean;
  /** Tells those who wait that they need not build. */
  succeeded(): void;
}

/**
 * Waits until nobody else builds. The lock is the file `<dir>.rebuild.lock`. Its
 * modification time is that of the last build that succeeded, and its content says
 * what that one built: whoever finds the time changed when it is their turn asked
 * while it ran.
 */
export async function takeTurn(
  place: Place,
  path: string,
  options: RebuildOptions,
): Promise<Turn> {
  const { always = false, key = "" } = options;
  const { parent } = place;
  const name = `${place.name}.rebuild.lock`;
  const before = ask(path, () => parent.look(name))?.modified;
  const what = `The right to rebuild "${path}"`;
  using stack = new DisposableStack();
  const { file } = stack.use(
    await holdFile(parent, name, path, what, options),
  );
  const wanted = await digest(key);
  const said = read(file, path);
  const last = ask(path, () => file.status()).modified;
  const changed = before === undefined || !isSameTime(last, before);
  const standing = ask(path, () => recordOf(wanted, place));
  const held = stack.move();
  const shared = !always && changed && standing !== undefined &&
    said === standing;
  if (shared) log.debug(() => `"${path}" was built while this one waited`);
  return {
    shared,
    succeeded() {
      try {
        const record = patiently(() => recordOf(wanted, place));
        if (record === undefined) return;
        if (!isOwnRecord(file, said, parent)) {
          log.debug(() =>
            `"${file.path}" is not ours, so nothing is noted there`
          );
          return;
        }
        file.rewrite(new TextEncoder().encode(record));
        // Later than the last one, however fast that was.
        const now = Math.max(Date.now(), toMilliseconds(last) + 1);
        file.setAccess({ modified: fromMilliseconds(now) });
      } catch (error) {
        log.debug(() =>
          `Those who wait will build again: ${osErrorText(error)}`
        );
      }
    },
    [Symbol.dispose]: () => held.dispose(),
  };
}

/** Asks the operating system about the locks. */
function ask<T>(path: string, call: () => T): T {
  try {
    return patiently(call);
  } catch (error) {
    throw osFailure("rebuild", path, error);
  }
}

/** What was built, and which directory it is. `undefined` if there is none. */
function recordOf(digest: string, { parent, name }: Place) {
  const standing = parent.look(name);
  return standing?.kind === "directory"
    ? `${digest} ${inodeKey(standing) ?? "?"}`
    : undefined;
}

/** What a record looks like, or a file that has none yet. */
const RECORD = /^(?:[0-9a-f]{64} \S+)?$/;

/**
 * Whether the file is one that we made: not somebody else's, not one with another name,
 * and nothing in it but a record.
 */
function isOwnRecord(file: OpenFile, said: string, parent: Directory): boolean {
  const { uid, links } = patiently(() => file.status());
  const me = ownId();
  return parent.safe && links === 1 && (me === undefined || uid === me) &&
    RECORD.test(said);
}

/** More than a record has. */
const LONGEST = 256;

function read(file: OpenFile, path: string): string {
  const bytes = new Uint8Array(LONGEST);
  let length = 0;
  const more = () => file.read(bytes.subarray(length));
  for (let n; (n = ask(path, more)) > 0;) length += n;
  return new TextDecoder().decode(bytes.subarray(0, length));
}

async function digest(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return hash.toHex();
}
