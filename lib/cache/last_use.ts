/**
 * When archives and blobs were last used.
 *
 * @module
 */

import {
  type Directory,
  fromMilliseconds,
  type Status,
  type Time,
  toMilliseconds,
} from "../fs/directory.ts";
import { log } from "../log.ts";
import { osErrorText } from "../os/error.ts";
import { type ArchiveId, leaseName } from "./layout.ts";
import type { Root } from "./root.ts";

/** How exactly uses are noted, in milliseconds: not each of them is written down. */
const HOUR = 60 * 60 * 1000;

/** Whether a use of now is noted already. */
function isNoted(time: Time): boolean {
  const age = Date.now() - toMilliseconds(time);
  return age >= 0 && age < HOUR;
}

/**
 * Notes that an archive is used: its lease file's modification time, once an hour, by
 * anybody who may write to that file. One in the future, of a clock that was wrong,
 * would keep the archive for ever, so it is replaced.
 */
export function touch(root: Root, id: ArchiveId): void {
  const leases = root.folder("leases");
  const name = leaseName(id);
  try {
    const status = leases.look(name);
    if (!status || isNoted(status.modified)) return;
    if (status.links > 1) return; // not one that we made
    leases.touch(name);
  } catch (error) {
    log.trace(() => `Its use is not noted: "${name}": ${osErrorText(error)}`);
  }
}

/**
 * Corrects a note that an archive was used in the future: as if it were now, so that it
 * ages from then on.
 */
export function correct(root: Root, id: ArchiveId): void {
  const lease = root.ifThere("leases")?.look(leaseName(id));
  if (lease && toMilliseconds(lease.modified) > Date.now()) touch(root, id);
}

/**
 * When an archive was last used, in milliseconds since 1970, and never in the future.
 * Without a lease file, when the archive was put, or came here.
 */
export function lastUse(root: Root, id: ArchiveId): number {
  const lease = root.ifThere("leases")?.look(leaseName(id));
  if (lease) return Math.min(Date.now(), toMilliseconds(lease.modified));
  const archive = root.ifThere("archives")?.look(id);
  if (!archive) return 0;
  const { modified, changed } = archive;
  const time = Math.max(toMilliseconds(modified), toMilliseconds(changed));
  return Math.min(Date.now(), time);
}

/**
 * Notes that a blob is used: its access time, once an hour. (Its modification time is
 * that of all its names.)
 */
export function touchBlob(shard: Directory, name: string): void {
  try {
    const status = shard.look(name);
    if (!status || isNoted(status.accessed)) return;
    const { modified } = status;
    const accessed = fromMilliseconds(Date.now());
    shard.setAccessOf(name, { accessed, modified });
  } catch (error) {
    log.trace(() => `Its use is not noted: "${name}": ${osErrorText(error)}`);
  }
}

/**
 * When a blob was last used, or put: never in the future. A time there is of a clock
 * that was wrong, and says nothing.
 */
export function lastUseOfBlob({ accessed, modified }: Status): number {
  const now = Date.now();
  const past = [accessed, modified].map(toMilliseconds).filter((it) =>
    it <= now
  );
  return past.length > 0 ? Math.max(...past) : now;
}

/** Whether a blob says that it was used in the future. */
export function isAhead({ accessed }: Status): boolean {
  return toMilliseconds(accessed) > Date.now();
}
