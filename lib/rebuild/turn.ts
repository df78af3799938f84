import {
  type Directory,
  inodeKey,
  type OpenFile,
  type Status,
  toMilliseconds,
} from "../fs/directory.ts";
import { isEmpty } from "../fs/list.ts";
import type { Place } from "../fs/open.ts";
import { readText } from "../fs/read.ts";
import { ownId } from "../fs/trust.ts";
import { holdFile } from "../lock/directory.ts";
import { log } from "../log.ts";
import { errorKind, osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { sha256 } from "../os/sha256.ts";
import { ask } from "./built.ts";
import type { RebuildOptions } from "./options.ts";

/** The right to build, which one process has at a time. */
export interface Turn extends Disposable {
  /** Whether what stands there was built for this one, too. */
  readonly shared: boolean;
  /** Notes that what stands there now was built. To be called under its guard. */
  built(): void;
}

/**
 * Waits until nobody else builds. The lock is the file `<dir>.rebuild.lock`. It says
 * which build began last, by a random id, and, when that has succeeded, what for and
 * what stood there then.
 *
 * So no clock is needed to know who asked before a build began: whoever finds its id
 * in the file when they ask came too late for it.
 */
export async function takeTurn(
  place: Place,
  path: string,
  options: RebuildOptions,
): Promise<Turn> {
  const { share, allowEmpty = false } = options;
  const { parent } = place;
  const name = `${place.name}.rebuild.lock`;
  const wanted = share === undefined ? NOBODY : await sha256(share);
  const before = share === undefined ? undefined : recordIn(parent, name);
  const what = `The right to rebuild "${path}"`;
  using stack = new DisposableStack();
  const { file } = stack.use(
    await holdFile(parent, name, path, what, options),
  );
  const said = ask(path, () => read(file), "");
  const shared = share !== undefined && before !== "unknown" &&
    ask(path, () => isFor(said, before?.id, wanted, file, place), "") &&
    (allowEmpty || !ask(path, () => isEmptyAt(place), ""));
  const held = stack.move();
  const id = crypto.randomUUID().replaceAll("-", "");
  const note = (record: BuildRecord) =>
    attempt(() => file.rewrite(new TextEncoder().encode(format(record))));
  let noted = false;
  if (shared) log.debug(() => `"${path}" was built while this one waited`);
  else if (!ask(path, () => isOwnRecord(file, said, parent), "")) {
    log.debug(() => `"${file.path}" is not ours, so nothing is noted there`);
  } else {
    noted = note({ state: "begun", id, digest: wanted, result: "-" });
  }
  return {
    shared,
    built() {
      // What nobody could know to have begun must not be shared.
      if (!noted) return;
      attempt(() => {
        const result = resultAt(place);
        if (result) note({ state: "built", id, digest: wanted, result });
      });
    },
    [Symbol.dispose]: () => held.dispose(),
  };
}

/** Does what only spares others work. Whether it could be done. */
function attempt(work: () => void): boolean {
  try {
    patiently(work);
    return true;
  } catch (error) {
    log.debug(() => `Those who wait will build again: ${osErrorText(error)}`);
    return false;
  }
}

/** What the file says of the build that began last. */
interface BuildRecord {
  readonly state: "begun" | "built";
  /** Random: no two builds have the same. */
  readonly id: string;
  /** What those have in common who share it. */
  readonly digest: string;
  /** What stood there when it had succeeded. */
  readonly result: string;
}

/** The digest of who shares with nobody. */
const NOBODY = "-".repeat(64);

/** All records are of one length, so that one takes the other's place by one write. */
const LENGTH = 256;

const RECORD = /^(begun|built) ([0-9a-f]{32}) ([0-9a-f]{64}|-{64}) (\S+) *\n$/;

function format({ state, id, digest, result }: BuildRecord): string {
  return `${state} ${id} ${digest} ${result}`.padEnd(LENGTH - 1) + "\n";
}

/** Anybody may have written it: what is no record says nothing. */
function parse(text: string): BuildRecord | undefined {
  const [, state, id, digest, result] = RECORD.exec(text) ?? [];
  if (text.length !== LENGTH || !id || !digest || !result) return undefined;
  return { state: state === "built" ? "built" : "begun", id, digest, result };
}

/** What is known before the lock is granted; `undefined` if no build has begun yet. */
function recordIn(
  parent: Directory,
  name: string,
): BuildRecord | undefined | "unknown" {
  try {
    using file = patiently(() => parent.openFile(name, "read"));
    const text = read(file);
    return text === "" ? undefined : parse(text) ?? "unknown";
  } catch (error) {
    return errorKind(error) === "not-found" ? undefined : "unknown";
  }
}

/** Whether it says that what stands there was built for who asked after `before`. */
function isFor(
  said: string,
  before: string | undefined,
  wanted: string,
  file: OpenFile,
  place: Place,
): boolean {
  const record = parse(said);
  return record?.state === "built" && record.id !== before &&
    record.digest === wanted && record.result === resultAt(place) &&
    isBelieved(file.status(), place);
}

/**
 * Which directory stands there, and as of when: one that was cleared or changed since
 * is another one. `undefined` if there is none.
 */
function resultAt({ parent, name }: Place): string | undefined {
  const standing = parent.look(name);
  if (standing?.kind !== "directory") return undefined;
  const { modified, changed } = standing;
  const times = [modified, changed].map(toMilliseconds).join("/");
  return `${inodeKey(standing) ?? "?"}/${times}`;
}

/** What was cleared within a tick of the clock that its times are taken from is empty. */
function isEmptyAt({ parent, name }: Place): boolean {
  try {
    using directory = parent.open(name, "named");
    return isEmpty(directory);
  } catch (error) {
    if (errorKind(error) === "not-found") return true;
    throw error;
  }
}

/**
 * Whether only those can have written the file who can change what stands there as
 * well. In a sticky directory others can't, but may write the locks that we share.
 */
function isBelieved({ uid, mode }: Status, { parent, name }: Place): boolean {
  const me = ownId();
  if (me === undefined) return true;
  const isSticky = (parent.status().mode & 0o1000) !== 0;
  if (isSticky && (mode & 0o022) !== 0) return false;
  return [me, 0, parent.look(name)?.uid].includes(uid);
}

/**
 * Whether the file is one that we made: not somebody else's, not one with another name,
 * and nothing in it but a record.
 */
function isOwnRecord(file: OpenFile, said: string, parent: Directory): boolean {
  const { uid, links } = file.status();
  const me = ownId();
  return parent.safe && links === 1 && (me === undefined || uid === me) &&
    (said === "" || parse(said) !== undefined);
}

function read(file: OpenFile): string {
  const patient = {
    read: (into: Uint8Array<ArrayBuffer>) => patiently(() => file.read(into)),
  };
  return readText(patient, 2 * LENGTH);
}
